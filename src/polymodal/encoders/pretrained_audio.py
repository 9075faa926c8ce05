"""Pretrained audio encoders: wav2vec 2.0, HuBERT, Whisper's encoder, AST (torch).

Shape legend: B rows of the batch, S samples, F frames, M mel bands, T outputs, D width of an output,
W width of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from polymodal.arrays import Column
from polymodal.encoders.backbone import load_config
from polymodal.encoders.checkpoint_adapter import CheckpointAdapter, batches_by_length, lengths_in_use, row_chunks
from polymodal.encoders.checkpoint_settings import AudioPreprocessing, audio_preprocessing
from polymodal.encoders.pooling import SequencePooler
from polymodal.encoders.pretrained import Pretrained
from polymodal.encoders.pretrained_text import hidden_states_at
from polymodal.encoders.segments import is_split, split_segments
from polymodal.encoders.steps import mask_steps
from polymodal.errors import ConfigError
from polymodal.nn.layers import lengths_in_use as steps_in_use
from polymodal.nn.layers import steps_present
from polymodal.tokens import ColumnBatch

if TYPE_CHECKING:
    from polymodal.modalities.audio import Audio

LAYERS = (2 / 3, 1.0)
"""Relative depths of the hidden states that are used of a frozen checkpoint.

The last layers of checkpoints trained on masked prediction hold less information on words and speakers than those
below: Yang et al. 2021 (SUPERB), arXiv 2105.01051; Pasad et al. 2021, arXiv 2107.04734.
"""
BATCH_SAMPLES = 960_000
BATCH_SPECTRA = 8
OUTPUTS_PER_SEGMENT = 8
"""Outputs of a frozen checkpoint that are kept of each segment of the longest clip: one about every second."""

RunFunction = Callable[[Any, ColumnBatch, "AudioCheckpointAdapter"], tuple[list[Tensor], Tensor]]


@dataclass(frozen=True, kw_only=True)
class AudioCheckpointAdapter(CheckpointAdapter):
    """Checkpoints of raw samples or of log-mel spectra.

    Attributes:
        config: Its configuration.
        preprocessing: Its audio preprocessing.
        segment_steps: Longer clips are run in segments of so many steps; 0: clips are never split.
    """

    config: Any
    preprocessing: AudioPreprocessing
    segment_steps: int = 0

    modality: ClassVar[str] = "audio"

    @property
    def dim(self) -> int:
        """Width of an output: D."""
        return int(self.config.hidden_size) * len(self.layers)

    @property
    def runs_in_one_pass(self) -> bool:
        """False where ``run_wav2vec2`` takes one forward pass for each length of clips."""
        return getattr(self.config, "feat_extract_norm", "") != "group"

    def run(self, backbone: Any, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint and normalise the outputs of each layer.

        Args:
            backbone: The checkpoint.
            column: float ``[B, S, 1]`` or ``[B, F, M]`` with lengths.

        Returns:
            Outputs ``[B, T, D]`` and int64 ``[B]``, how many are in use.
        """
        if not is_split(column, self.segment_steps):
            return self._run_segments(backbone, column)
        segments, lengths_BN = split_segments(column, self.segment_steps)
        found_RTD, used = self._in_parts(backbone, segments)
        used = torch.where(segments.present, used, 0)
        found_BTD = found_RTD.reshape(column.values.shape[0], -1, found_RTD.shape[2])
        return found_BTD, used.reshape(lengths_BN.shape).sum(dim=1)

    def _in_parts(self, backbone: Any, segments: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint on segments; without gradients on a few at a time, and not on those that are not there."""
        segments = replace(segments, lengths=steps_in_use(segments).clamp(min=1))
        if torch.compiler.is_exporting():
            return self._run_segments(backbone, segments)
        rows = segments.present.nonzero().squeeze(1)
        size = len(rows) if torch.is_grad_enabled() else self._segments_at_once
        found, used = zip(
            *(self._run_segments(backbone, segments.take(part)) for part in torch.split(rows, size)), strict=True
        )
        most = max(part.shape[1] for part in found)
        found_RTD = torch.cat([functional.pad(part, (0, 0, 0, most - part.shape[1])) for part in found])
        values = found_RTD.new_zeros(len(segments), *found_RTD.shape[1:]).index_copy(0, rows, found_RTD)
        return values, torch.zeros_like(segments.present, dtype=torch.int64).index_copy(0, rows, torch.cat(used))

    def _run_segments(self, backbone: Any, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        found, lengths = RUN_FUNCTIONS[self.config.model_type](backbone, column, self)
        scaled = [functional.layer_norm(layer.float(), layer.shape[2:]) for layer in found]
        return torch.cat(scaled, dim=2), lengths

    @property
    def _segments_at_once(self) -> int:
        return max(1, BATCH_SAMPLES // self.segment_steps) if self._reads_samples else BATCH_SPECTRA

    @property
    def _reads_samples(self) -> bool:
        return self.preprocessing.settings["features"] in ("waveform", "samples")

    def max_outputs(self, column: Column) -> int:
        """Return an upper bound of the number of outputs of the longest clip.

        Args:
            column: Clips with lengths.

        Returns:
            Maximum number of outputs per row.
        """
        steps = int(lengths_in_use(column).max(initial=1))
        return steps + 2 * (1 + steps // self.segment_steps if self.segment_steps else 1)

    def batches(self, column: Column) -> Iterator[NDArray[np.int64]]:
        """Batch clips of similar length; spectra are all padded to one length.

        Args:
            column: Clips with lengths.

        Returns:
            Row indices of each batch.
        """
        if self._reads_samples:
            return batches_by_length(lengths_in_use(column), BATCH_SAMPLES)
        return row_chunks(column, BATCH_SPECTRA)


def run_wav2vec2(backbone: Any, column: ColumnBatch, adapter: AudioCheckpointAdapter) -> tuple[list[Tensor], Tensor]:
    """Run wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477) and related models.

    Where the first convolution is normalised over the whole clip, padding would change the outputs; then there is a
    forward pass for each length of clips.

    Args:
        backbone: The checkpoint.
        column: float ``[B, S, 1]`` with lengths.
        adapter: Gives configuration and layers.

    Returns:
        Outputs of each layer, and how many are in use.
    """
    samples_BS1, lengths = mask_steps(column)
    least = receptive_field(adapter.config)
    lengths = lengths.clamp(min=least)
    missing = torch.sym_max(0, least - samples_BS1.shape[1])  # type: ignore[no-untyped-call]
    samples_BS = functional.pad(samples_BS1.squeeze(2), (0, missing))
    samples_BS = samples_BS.to(backbone.dtype)
    used: Tensor = backbone._get_feat_extract_output_lengths(lengths)
    is_group_norm = adapter.config.feat_extract_norm == "group"
    if not is_group_norm or torch.compiler.is_exporting():
        mask_BS = steps_present(lengths, samples_BS.shape[1])
        with _masked_norm(backbone, lengths) if is_group_norm else nullcontext():
            found = backbone(samples_BS, attention_mask=mask_BS.long(), output_hidden_states=True)
        return hidden_states_at(found, adapter.layers), used
    places, parts = [], []
    for length in sorted(set(lengths.tolist())):
        rows = (lengths == length).nonzero().squeeze(1)
        found = backbone(samples_BS[rows, :length], output_hidden_states=True)
        missing = int(used.max()) - found.last_hidden_state.shape[1]
        parts.append([functional.pad(layer, (0, 0, 0, missing)) for layer in hidden_states_at(found, adapter.layers)])
        places.append(rows)
    order = torch.cat(places).argsort()
    return [torch.cat(layer)[order] for layer in zip(*parts, strict=True)], used


@contextmanager
def _masked_norm(backbone: Any, lengths: Tensor) -> Iterator[None]:
    """Let padding have no effect on the group norm of the first convolution, for exported graphs of a single pass."""
    first = backbone.feature_extractor.conv_layers[0]
    used = (lengths - first.conv.kernel_size[0]) // first.conv.stride[0] + 1

    def normalise(norm: Any, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        (map_BCT,) = inputs
        keep_B1T = steps_present(used, map_BCT.shape[2]).unsqueeze(1)
        count_B11 = used[:, None, None]
        mean = torch.where(keep_B1T, map_BCT, 0).sum(dim=2, keepdim=True) / count_B11
        centred = torch.where(keep_B1T, map_BCT - mean, 0)
        variance = centred.square().sum(dim=2, keepdim=True) / count_B11
        scaled: Tensor = centred * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]
        return scaled

    hook = first.layer_norm.register_forward_hook(normalise)
    try:
        yield
    finally:
        hook.remove()


def receptive_field(config: Any) -> int:
    """Return how many samples the first output of wav2vec 2.0's convolutions needs.

    Args:
        config: With ``conv_kernel`` and ``conv_stride``.

    Returns:
        Samples.
    """
    field = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        field = (field - 1) * stride + kernel
    return field


def run_whisper(backbone: Any, column: ColumnBatch, adapter: AudioCheckpointAdapter) -> tuple[list[Tensor], Tensor]:
    """Run Whisper's encoder (Radford et al. 2022, arXiv 2212.04356) on clips padded with silence.

    Args:
        backbone: The checkpoint.
        column: float ``[B, F, M]`` with lengths; the minimum of a clip is used as silence.
        adapter: Gives configuration and layers.

    Returns:
        Outputs of each layer, and how many belong to the clip.
    """
    frames_BFM, lengths = mask_steps(column)
    num_frames = 2 * int(adapter.config.max_source_positions)
    inside_BF1 = steps_present(lengths, frames_BFM.shape[1]).unsqueeze(2)
    silence_B11 = torch.where(inside_BF1, frames_BFM, torch.inf).amin(dim=(1, 2), keepdim=True)
    filled_BFM = pad_frames(frames_BFM, lengths, num_frames, silence_B11)
    found = backbone.encoder(filled_BFM.transpose(1, 2).to(backbone.dtype), output_hidden_states=True)
    return hidden_states_at(found, adapter.layers), (lengths.clamp(max=num_frames) + 1) // 2


def run_ast(backbone: Any, column: ColumnBatch, adapter: AudioCheckpointAdapter) -> tuple[list[Tensor], Tensor]:
    """Run AST (Gong et al. 2021, arXiv 2104.01778); patches of one time are averaged over frequency.

    Args:
        backbone: The checkpoint.
        column: float ``[B, F, M]`` with lengths.
        adapter: Gives configuration, layers and the value of padding.

    Returns:
        Outputs of each layer: the class token, the distillation token, and one a time step; and how many
        belong to the clip.
    """
    config = adapter.config
    frames_BFM, lengths = mask_steps(column)
    num_frames = int(config.max_length)
    filled_BFM = pad_frames(
        frames_BFM, lengths, num_frames, torch.tensor(adapter.preprocessing.padding, device=lengths.device)
    )
    found = backbone(filled_BFM.to(backbone.dtype), output_hidden_states=True)
    num_times = (num_frames - config.patch_size) // config.time_stride + 1
    used = (lengths - config.patch_size) // config.time_stride + 1
    layers = [_mean_over_frequency(layer, num_times) for layer in hidden_states_at(found, adapter.layers)]
    return layers, used.clamp(1, num_times) + 2


def pad_frames(frames_BFM: Tensor, lengths: Tensor, num_frames: int, padding: Tensor) -> Tensor:
    """Pad or truncate spectra to a number of frames.

    Args:
        frames_BFM: ``[B, F, M]``.
        lengths: int64 ``[B]``, frames in use.
        num_frames: Frames of the output; longer ones are truncated.
        padding: Value after the frames in use; broadcasts to the frames.

    Returns:
        ``[B, num_frames, M]``.
    """
    frames_BFM = functional.pad(frames_BFM, (0, 0, 0, num_frames))[:, :num_frames]
    return torch.where(steps_present(lengths, num_frames).unsqueeze(2), frames_BFM, padding)


def _mean_over_frequency(hidden_BTD: Tensor, num_times: int) -> Tensor:
    special_BTD, patches_BTD = hidden_BTD[:, :2], hidden_BTD[:, 2:]
    patches_BFTD = patches_BTD.reshape(hidden_BTD.shape[0], -1, num_times, hidden_BTD.shape[2])
    return torch.cat([special_BTD, patches_BFTD.mean(dim=1)], dim=1)


RUN_FUNCTIONS: dict[str, RunFunction] = {
    "wav2vec2": run_wav2vec2,
    "hubert": run_wav2vec2,
    "whisper": run_whisper,
    "audio-spectrogram-transformer": run_ast,
}
"""Model type to the function that returns the hidden states of the layers, and how many outputs are in use."""


class PretrainedAudio(Pretrained):
    """A pretrained audio checkpoint and its pooler."""

    def __init__(
        self,
        fitted: Audio,
        width: int,
        *,
        checkpoint: str = "",
        tuning: str = "frozen",
        rank: int = 0,
        max_tokens: int = 64,
        backbone_rate: float = 0.0,
        dropout: float = 0.1,
    ) -> None:
        """Load the checkpoint's configuration and build the pooler.

        Args:
            fitted: The fitted modality, with the preprocessing of the checkpoint.
            width: W.
            checkpoint: Folder or hub name of the checkpoint.
            tuning: ``frozen``, ``lora`` (low-rank adapters) or ``full`` (fine-tuned whole).
            rank: Rank of the adapters; 0 means 8.
            max_tokens: Maximum number of outputs kept per clip of a frozen checkpoint; longer sequences are
                average-pooled. Where training clips have several segments, at least 8 for each of the longest.
            backbone_rate: Learning rate of the adapters or of the top layer of the checkpoint, as a factor of that of
                the other layers; 0 means 0.5, or 0.05.
            dropout: Dropout probability.

        Raises:
            ConfigError: If the checkpoint cannot be loaded, or needs another preprocessing than that of the modality.
        """
        config = load_config(checkpoint, "audio")
        preprocessing = audio_preprocessing(checkpoint)
        _check_audio(fitted, config, preprocessing, checkpoint)
        layers = LAYERS if tuning == "frozen" else (1.0,)
        adapter = AudioCheckpointAdapter(
            checkpoint=checkpoint,
            config=config,
            preprocessing=preprocessing,
            layers=layers,
            segment_steps=fitted.segment_steps,
        )
        max_tokens = (
            max(max_tokens, OUTPUTS_PER_SEGMENT * fitted.num_segments) if fitted.num_segments > 1 else max_tokens
        )
        pooler = SequencePooler(adapter.dim, width, dropout)
        super().__init__(adapter, pooler, tuning=tuning, rank=rank, max_tokens=max_tokens, backbone_rate=backbone_rate)


def _check_audio(fitted: Audio, config: Any, preprocessing: AudioPreprocessing, checkpoint: str) -> None:
    wanted = preprocessing.settings
    num_mels = int(getattr(config, "num_mel_bins", 1))
    if (fitted.features, fitted.sample_rate_hz, fitted.num_features) == (
        wanted["features"],
        wanted["sample_rate_hz"],
        num_mels,
    ):
        return
    raise ConfigError(
        f"The checkpoint {checkpoint!r} reads {wanted['features']} at {wanted['sample_rate_hz']} Hz with {num_mels} "
        f"values a step; the column gives {fitted.features} at {fitted.sample_rate_hz} Hz with {fitted.num_features}. "
        "Leave features, sample_rate_hz and num_mels out of the stream's settings."
    )
