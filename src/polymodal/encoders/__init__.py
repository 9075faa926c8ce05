"""How arrays become tokens, by modality and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from polymodal.encoders.audio import build_audio_cnn, build_audio_gru, build_audio_transformer
from polymodal.encoders.image import build_image_cnn, build_image_resnet
from polymodal.encoders.points import (
    build_points_gru,
    build_points_pointnet,
    build_points_tcn,
    build_points_transformer,
)
from polymodal.encoders.pretrained import Pretrained
from polymodal.encoders.pretrained_audio import build_pretrained_audio
from polymodal.encoders.pretrained_image import build_pretrained_image
from polymodal.encoders.pretrained_text import build_pretrained_text
from polymodal.encoders.pretrained_video import build_pretrained_video
from polymodal.encoders.series import (
    build_series_gru,
    build_series_lstm,
    build_series_tcn,
    build_series_transformer,
)
from polymodal.encoders.tabular import (
    build_ft_transformer,
    build_tabular_mlp,
    build_tabular_periodic,
    build_tabular_piecewise,
)
from polymodal.encoders.text import (
    build_text_bag,
    build_text_cnn,
    build_text_gru,
    build_text_lstm,
    build_text_transformer,
)
from polymodal.encoders.vector import build_vector_mlp
from polymodal.encoders.video import build_video_cnn, build_video_gru, build_video_r2plus1d
from polymodal.encoders.vit import build_image_vit
from polymodal.encoders.waveform import build_waveform_cnn
from polymodal.errors import parameter_error
from polymodal.nn.builders import Size, check_sizes


class EncoderEntry(NamedTuple):
    """A row of the table of encoders.

    Attributes:
        build: Builder, called with the fitted modality, the width and its sizes by name.
        summary: One line.
        paper: Where it comes from.
    """

    build: Callable[..., nn.Module]
    summary: str
    paper: str


PRETRAINED: dict[str, EncoderEntry] = {
    "text": EncoderEntry(
        build_pretrained_text, "checkpoint: BERT, RoBERTa, DistilBERT and their kin", "Devlin et al. 2019"
    ),
    "image": EncoderEntry(
        build_pretrained_image,
        "checkpoint: ViT, DINOv2, CLIP, SigLIP, ConvNeXt, ResNet",
        "Dosovitskiy et al. 2021; Oquab et al. 2023; Radford et al. 2021",
    ),
    "audio": EncoderEntry(
        build_pretrained_audio,
        "checkpoint: wav2vec 2.0, HuBERT, Whisper, AST",
        "Baevski et al. 2020; Hsu et al. 2021; Radford et al. 2022",
    ),
    "video": EncoderEntry(build_pretrained_video, "checkpoint: VideoMAE", "Tong et al. 2022"),
}
"""Encoders of each modality that read a checkpoint others trained: frozen, with low-rank adapters, or fine-tuned."""

ENCODERS: dict[str, dict[str, EncoderEntry]] = {
    "tabular": {
        "mlp": EncoderEntry(build_tabular_mlp, "perceptron over numbers and categories", "Gorishniy et al. 2021"),
        "piecewise": EncoderEntry(
            build_tabular_piecewise, "perceptron over piecewise-linear numbers", "Gorishniy et al. 2022"
        ),
        "periodic": EncoderEntry(build_tabular_periodic, "perceptron over periodic numbers", "Gorishniy et al. 2022"),
        "ft_transformer": EncoderEntry(build_ft_transformer, "transformer over cells", "Gorishniy et al. 2021"),
    },
    "text": {
        "cnn": EncoderEntry(build_text_cnn, "filters over 2 to 5 words, strongest answers", "Kim 2014"),
        "lstm": EncoderEntry(build_text_lstm, "LSTM in both directions", "Hochreiter and Schmidhuber 1997"),
        "gru": EncoderEntry(build_text_gru, "GRU in both directions", "Cho et al. 2014"),
        "transformer": EncoderEntry(build_text_transformer, "pre-norm transformer layers", "Vaswani et al. 2017"),
        "bag": EncoderEntry(build_text_bag, "mean of word vectors", "Joulin et al. 2017"),
        "pretrained": PRETRAINED["text"],
    },
    "image": {
        "cnn": EncoderEntry(build_image_cnn, "four convolution stages, a grid of tokens", "LeCun et al. 1998"),
        "resnet": EncoderEntry(build_image_resnet, "residual blocks, a grid of tokens", "He et al. 2016"),
        "vit": EncoderEntry(build_image_vit, "transformer over patches", "Dosovitskiy et al. 2021"),
        "pretrained": PRETRAINED["image"],
    },
    "audio": {
        "cnn": EncoderEntry(build_audio_cnn, "convolutions over time and frequency", "Hershey et al. 2017"),
        "gru": EncoderEntry(build_audio_gru, "GRU over frames in both directions", "Cho et al. 2014"),
        "transformer": EncoderEntry(build_audio_transformer, "transformer over stacked frames", "Gong et al. 2021"),
        "waveform": EncoderEntry(build_waveform_cnn, "convolutions over samples", "Dai et al. 2017"),
        "pretrained": PRETRAINED["audio"],
    },
    "video": {
        "cnn": EncoderEntry(
            build_video_cnn, "convolutions over frames and changes, attention in time", "Wang et al. 2016 (TSN)"
        ),
        "gru": EncoderEntry(
            build_video_gru, "convolutions over frames and changes, GRU in time", "Donahue et al. 2015"
        ),
        "r2plus1d": EncoderEntry(build_video_r2plus1d, "convolutions over space and time in turn", "Tran et al. 2018"),
        "pretrained": PRETRAINED["video"],
    },
    "vector": {
        "mlp": EncoderEntry(build_vector_mlp, "perceptron over the vector", "Rumelhart et al. 1986"),
    },
    "series": {
        "tcn": EncoderEntry(build_series_tcn, "dilated convolutions over time", "Bai et al. 2018"),
        "gru": EncoderEntry(build_series_gru, "GRU over patches, both directions", "Cho et al. 2014"),
        "lstm": EncoderEntry(
            build_series_lstm, "LSTM over patches, both directions", "Hochreiter and Schmidhuber 1997"
        ),
        "transformer": EncoderEntry(build_series_transformer, "transformer over patches", "Nie et al. 2023"),
    },
    "points": {
        "gru": EncoderEntry(build_points_gru, "PointNet for each frame, GRU over frames", "Qi et al. 2017"),
        "tcn": EncoderEntry(build_points_tcn, "PointNet for each frame, dilated convolutions", "Qi et al. 2017"),
        "transformer": EncoderEntry(build_points_transformer, "PointNet for each frame, transformer", "Qi et al. 2017"),
        "pointnet": EncoderEntry(build_points_pointnet, "PointNet over all points as one set", "Qi et al. 2017"),
    },
}

DEFAULT_ENCODER: dict[str, str] = {
    "tabular": "mlp",
    "text": "cnn",
    "image": "cnn",
    "audio": "cnn",
    "video": "cnn",
    "vector": "mlp",
    "series": "tcn",
    "points": "gru",
}


def default_encoder(modality: str, fitted: Any) -> str:
    """Return the name of the encoder a stream gets when none is asked for.

    Args:
        modality: Name of the stream's modality.
        fitted: The fitted modality; audio kept as a waveform and single point clouds have encoders of their own.

    Returns:
        A name in ``ENCODERS[modality]``.
    """
    if modality == "audio" and fitted.is_waveform:
        return "waveform"
    if modality == "points" and fitted.num_frames == 1:
        return "pointnet"
    return DEFAULT_ENCODER[modality]


def build_encoder(modality: str, name: str | None, fitted: Any, width: int, sizes: Mapping[str, Size]) -> nn.Module:
    """Build an encoder by name.

    Args:
        modality: Name of the stream's modality.
        name: Name in ``ENCODERS[modality]``, None for the default, or the folder or hub name (with a
            slash) of a pretrained checkpoint, where the modality can read one.
        fitted: The fitted modality.
        width: Width of the tokens.
        sizes: Keyword arguments of the builder.

    Returns:
        A module from ``ColumnBatch`` to ``Tokens``.

    Raises:
        ConfigError: If the name or a size is unknown, or a size cannot work.
    """
    if name is None:
        name = default_encoder(modality, fitted)
    entries = ENCODERS[modality]
    if is_checkpoint(name) and "pretrained" in entries:
        name, sizes = "pretrained", {**sizes, "checkpoint": name}
    if name not in entries:
        raise parameter_error("encoder", f"the modality {modality!r}", f"one of: {', '.join(entries)}", name)
    check_kind(modality, name, fitted)
    check_sizes(entries[name].build, f"the {modality} encoder {name!r}", sizes)
    return entries[name].build(fitted, width, **sizes)


def check_kind(modality: str, name: str, fitted: Any) -> None:
    """Check that an audio encoder gets what it reads: spectra, or samples.

    Args:
        modality: Name of the stream's modality.
        name: Name of the encoder.
        fitted: The fitted modality.

    Raises:
        ConfigError: If it does not.
    """
    if modality == "audio" and name != "pretrained" and (name == "waveform") != fitted.is_waveform:
        others = [other for other in ENCODERS["audio"] if other not in ("waveform", "pretrained")]
        fitting = "waveform" if fitted.is_waveform else f"one of: {', '.join(others)}"
        raise parameter_error("encoder", f"audio with the features {fitted.features!r}", fitting, name)


def is_checkpoint(name: str) -> bool:
    """Return whether an encoder's name means a pretrained checkpoint.

    Args:
        name: What the user gave.

    Returns:
        True for anything with a slash: a folder or a hub name.
    """
    return "/" in name or "\\" in name


__all__ = [
    "DEFAULT_ENCODER",
    "ENCODERS",
    "PRETRAINED",
    "EncoderEntry",
    "Pretrained",
    "build_encoder",
    "default_encoder",
    "is_checkpoint",
]
