"""Encoders: from the arrays of a stream to tokens, by modality and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from polymodal.config import Hyperparameter, part_name
from polymodal.encoders.audio import AudioCNN, AudioGRU, AudioTransformer, spectra_mismatch
from polymodal.encoders.geo import GeoSphere
from polymodal.encoders.image import ImageCNN, ImageResNet
from polymodal.encoders.points import PointSet, PointsGRU, PointsTCN, PointsTransformer, is_sequence
from polymodal.encoders.pretrained import Pretrained
from polymodal.encoders.pretrained_audio import PretrainedAudio
from polymodal.encoders.pretrained_image import PretrainedImage
from polymodal.encoders.pretrained_text import PretrainedText
from polymodal.encoders.pretrained_video import PretrainedVideo
from polymodal.encoders.series import SeriesGRU, SeriesLSTM, SeriesTCN, SeriesTransformer
from polymodal.encoders.tabular import FTTransformer, TabularMLP, TabularPeriodic, TabularPiecewise
from polymodal.encoders.text import TextBag, TextCNN, TextGRU, TextLSTM, TextTransformer
from polymodal.encoders.vector import VectorMLP
from polymodal.encoders.video import VideoCNN, VideoGRU, VideoR2Plus1D
from polymodal.encoders.vit import ImageViT
from polymodal.encoders.waveform import WaveformCNN, waveform_mismatch
from polymodal.errors import parameter_error
from polymodal.nn.builders import build
from polymodal.plugins import ENCODER_GROUP, PartTables


class EncoderEntry(NamedTuple):
    """A row of the table of encoders.

    Attributes:
        build: The class, or a function that makes the module: called with the fitted modality, the width and, by name,
            its hyperparameters, which are its keyword-only parameters.
        summary: One line.
        paper: The paper.
        mismatch: From a fitted modality whose arrays it cannot encode to a description of them, from others to None;
            None where it can encode all.
        suits: Whether it is a good default for a fitted modality; None: for all.
        exports: Whether it can be exported as a graph of a bundle.
    """

    build: Callable[..., nn.Module]
    summary: str
    paper: str
    mismatch: Callable[[Any], str | None] | None = None
    suits: Callable[[Any], bool] | None = None
    exports: bool = True

    def mismatch_of(self, fitted: Any) -> str | None:
        """Return the description of arrays that it cannot encode.

        Args:
            fitted: The fitted modality.

        Returns:
            None where it can encode them.
        """
        return None if self.mismatch is None else self.mismatch(fitted)

    def is_default_for(self, fitted: Any) -> bool:
        """Return whether it can be the default encoder.

        Args:
            fitted: The fitted modality.

        Returns:
            True where it can encode the arrays of the modality and suits them.
        """
        return self.mismatch_of(fitted) is None and (self.suits is None or self.suits(fitted))


EncoderChoice = str | EncoderEntry | Callable[..., nn.Module] | None
"""A name in ``ENCODERS[modality]`` or a checkpoint's, a row, class or function given directly, None for the default."""

PRETRAINED: dict[str, EncoderEntry] = {
    "text": EncoderEntry(PretrainedText, "checkpoint: BERT, RoBERTa, DistilBERT and similar", "Devlin et al. 2019"),
    "image": EncoderEntry(
        PretrainedImage,
        "checkpoint: ViT, DINOv2, CLIP, SigLIP, ConvNeXt, ResNet",
        "Dosovitskiy et al. 2021; Oquab et al. 2023; Radford et al. 2021",
    ),
    "audio": EncoderEntry(
        PretrainedAudio,
        "checkpoint: wav2vec 2.0, HuBERT, Whisper, AST",
        "Baevski et al. 2020; Hsu et al. 2021; Radford et al. 2022",
    ),
    "video": EncoderEntry(PretrainedVideo, "checkpoint: VideoMAE", "Tong et al. 2022"),
}
"""The encoders with pretrained checkpoints of each modality: frozen, with low-rank adapters, or fine-tuned."""

ENCODERS = PartTables(
    ENCODER_GROUP,
    EncoderEntry,
    {
        "tabular": {
            "mlp": EncoderEntry(TabularMLP, "MLP over numbers and categories", "Gorishniy et al. 2021"),
            "piecewise": EncoderEntry(TabularPiecewise, "MLP over piecewise-linear numbers", "Gorishniy et al. 2022"),
            "periodic": EncoderEntry(
                TabularPeriodic, "MLP over periodic embeddings of numbers", "Gorishniy et al. 2022"
            ),
            "ft_transformer": EncoderEntry(FTTransformer, "transformer over cells", "Gorishniy et al. 2021"),
        },
        "text": {
            "cnn": EncoderEntry(TextCNN, "convolutions over 2 to 5 words, max pooling over time", "Kim 2014"),
            "lstm": EncoderEntry(TextLSTM, "bidirectional LSTM", "Hochreiter and Schmidhuber 1997"),
            "gru": EncoderEntry(TextGRU, "bidirectional GRU", "Cho et al. 2014"),
            "transformer": EncoderEntry(TextTransformer, "pre-norm transformer layers", "Vaswani et al. 2017"),
            "bag": EncoderEntry(TextBag, "mean of word vectors", "Joulin et al. 2017"),
            "pretrained": PRETRAINED["text"],
        },
        "image": {
            "cnn": EncoderEntry(ImageCNN, "four convolution stages, a grid of tokens", "LeCun et al. 1998"),
            "resnet": EncoderEntry(ImageResNet, "residual blocks, a grid of tokens", "He et al. 2016"),
            "vit": EncoderEntry(ImageViT, "transformer over patches", "Dosovitskiy et al. 2021"),
            "pretrained": PRETRAINED["image"],
        },
        "audio": {
            "cnn": EncoderEntry(
                AudioCNN, "convolutions over time and frequency", "Hershey et al. 2017", mismatch=spectra_mismatch
            ),
            "gru": EncoderEntry(
                AudioGRU, "bidirectional GRU over frames", "Cho et al. 2014", mismatch=spectra_mismatch
            ),
            "transformer": EncoderEntry(
                AudioTransformer, "transformer over stacked frames", "Gong et al. 2021", mismatch=spectra_mismatch
            ),
            "waveform": EncoderEntry(
                WaveformCNN, "convolutions over samples", "Dai et al. 2017", mismatch=waveform_mismatch
            ),
            "pretrained": PRETRAINED["audio"],
        },
        "video": {
            "cnn": EncoderEntry(
                VideoCNN, "convolutions over frames and differences, attention", "Wang et al. 2016 (TSN)"
            ),
            "gru": EncoderEntry(VideoGRU, "convolutions over frames and differences, GRU", "Donahue et al. 2015"),
            "r2plus1d": EncoderEntry(VideoR2Plus1D, "alternating convolutions over space and time", "Tran et al. 2018"),
            "pretrained": PRETRAINED["video"],
        },
        "vector": {
            "mlp": EncoderEntry(VectorMLP, "MLP over the vector", "Rumelhart et al. 1986"),
        },
        "series": {
            "tcn": EncoderEntry(SeriesTCN, "dilated convolutions over time", "Bai et al. 2018"),
            "gru": EncoderEntry(SeriesGRU, "bidirectional GRU over patches", "Cho et al. 2014"),
            "lstm": EncoderEntry(SeriesLSTM, "bidirectional LSTM over patches", "Hochreiter and Schmidhuber 1997"),
            "transformer": EncoderEntry(SeriesTransformer, "transformer over patches", "Nie et al. 2023"),
        },
        "points": {
            "gru": EncoderEntry(
                PointsGRU, "PointNet for each frame, GRU over frames", "Qi et al. 2017", suits=is_sequence
            ),
            "tcn": EncoderEntry(
                PointsTCN, "PointNet for each frame, dilated convolutions", "Qi et al. 2017", suits=is_sequence
            ),
            "transformer": EncoderEntry(
                PointsTransformer, "PointNet for each frame, transformer", "Qi et al. 2017", suits=is_sequence
            ),
            "pointnet": EncoderEntry(PointSet, "PointNet over all points as one set", "Qi et al. 2017"),
        },
        "geo": {
            "sphere": EncoderEntry(GeoSphere, "MLP over sinusoids of many wavelengths", "Mai et al. 2020 (Space2Vec)")
        },
    },
)
"""Modality of a stream to its encoders by name; the first one that suits the fitted modality is the default."""


def default_encoder(modality: str, fitted: Any) -> str:
    """Return the name of the default encoder of a stream.

    Args:
        modality: Name of the stream's modality.
        fitted: The fitted modality.

    Returns:
        The first name in ``ENCODERS[modality]`` whose row suits the fitted modality.
    """
    entries = ENCODERS[modality]
    return next((name for name in entries if entries[name].is_default_for(fitted)), next(iter(entries)))


def encoder_name(modality: str, name: str | None, fitted: Any) -> str:
    """Return the name of an encoder in the table.

    Args:
        modality: Name of the stream's modality.
        name: What the user gave: a name in the table, a checkpoint's folder or hub name, or None.
        fitted: The fitted modality.

    Returns:
        A name in ``ENCODERS[modality]``, unless the user gave another.
    """
    if name is None:
        return default_encoder(modality, fitted)
    return "pretrained" if is_checkpoint(name) and "pretrained" in ENCODERS[modality] else name


def encoder_entry(modality: str, choice: EncoderChoice, fitted: Any) -> EncoderEntry:
    """Return the row of an encoder.

    Args:
        modality: Name of the stream's modality.
        choice: Name in ``ENCODERS[modality]`` or a checkpoint's, a row, class or function given directly, or None for
            the default.
        fitted: The fitted modality.

    Returns:
        The row.

    Raises:
        ConfigError: If there is no encoder of that name.
    """
    if isinstance(choice, EncoderEntry):
        return choice
    if callable(choice):
        return EncoderEntry(choice, "given directly", "")
    name, entries = encoder_name(modality, choice, fitted), ENCODERS[modality]
    if name not in entries:
        expected = f"one of: {', '.join(entries)}"
        raise parameter_error("encoder", f"the modality {modality!r}", expected, name, entries)
    return entries[name]


def build_encoder(
    modality: str, choice: EncoderChoice, fitted: Any, width: int, hyperparameters: Mapping[str, Hyperparameter]
) -> nn.Module:
    """Build an encoder.

    Args:
        modality: Name of the stream's modality.
        choice: Name in ``ENCODERS[modality]``, None for the default, the folder or hub name (with a slash) of a
            pretrained checkpoint, where the modality can read one, or a row, class or function given directly.
        fitted: The fitted modality.
        width: Width of the tokens.
        hyperparameters: Name to value; the others keep their defaults.

    Returns:
        A module from ``ColumnBatch`` to ``Tokens``.

    Raises:
        ConfigError: If the name or a hyperparameter is unknown, or a value cannot work.
    """
    entry, name = encoder_entry(modality, choice, fitted), part_name(choice)
    if choice is None or isinstance(choice, str):
        name = encoder_name(modality, choice, fitted)
        if choice is not None and choice != name:
            hyperparameters = {**hyperparameters, "checkpoint": choice}
    _check_mismatch(modality, entry, name, fitted)
    return build(entry.build, f"the {modality} encoder {name!r}", fitted, width, hyperparameters)


def _check_mismatch(modality: str, entry: EncoderEntry, name: str, fitted: Any) -> None:
    mismatch = entry.mismatch_of(fitted)
    if mismatch is None:
        return
    rows = ENCODERS[modality].items()
    able = [other for other, row in rows if row.mismatch is not None and row.mismatch_of(fitted) is None]
    expected = f"one of: {', '.join(able)}" if len(able) > 1 else next(iter(able), "left out")
    raise parameter_error("encoder", mismatch, expected, name)


def is_checkpoint(name: str) -> bool:
    """Return whether an encoder's name is that of a pretrained checkpoint.

    Args:
        name: What the user gave.

    Returns:
        True for anything with a slash: a folder or a hub name.
    """
    return "/" in name or "\\" in name


__all__ = [
    "ENCODERS",
    "PRETRAINED",
    "EncoderChoice",
    "EncoderEntry",
    "Pretrained",
    "build_encoder",
    "default_encoder",
    "encoder_entry",
    "encoder_name",
    "is_checkpoint",
]
