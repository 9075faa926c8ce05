"""Audio encoders of spectra: from ``[B, frames, features]`` to tokens (torch).

Padding is zeroed before every layer that mixes time steps, so that it does not affect the output.
Shape legend: B rows, T frames, F features of a frame, C channels of a map, S audio channels (1 or 2), K tokens,
W width of tokens.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.segments import SegmentEncoder
from polymodal.encoders.steps import StepTokens, frames_per_step, mask_steps, resample_steps, stack_steps
from polymodal.errors import parameter_error
from polymodal.nn.attention import Transformer
from polymodal.nn.convolution import Conv1d, Conv2d
from polymodal.nn.layers import (
    MaskedGroupNorm,
    num_groups,
    pooling_matrix,
    sinusoidal_positions,
    split_channels,
    steps_present,
    use_channels_last,
)
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.audio import Audio

BANDS = 4
"""Frequency bands that remain at the end of the convolutional encoder."""

RESAMPLED_FRAMES = 64
SHORT_CLIP_S = 1.5
"""Up to this median duration, clips are resampled to a fixed number of frames by default."""


class MaskedConvolution(nn.Module):
    """Convolution, group norm and ReLU that keep padding at zero."""

    def __init__(self, convolution: Conv1d | Conv2d) -> None:
        """Wrap a convolution whose padding is such that the output has ceil(T / stride) steps.

        Args:
            convolution: Its first axis is time.
        """
        super().__init__()
        self.convolution = convolution
        self.stride = int(convolution.stride[0])
        self.norm = MaskedGroupNorm(num_groups(convolution.out_channels), convolution.out_channels)

    def forward(self, map_BCT: Tensor, lengths: Tensor, *, is_whole: bool = False) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            map_BCT: ``[B, C, T]`` or ``[B, C, T, F]``, zero in padding.
            lengths: int64 ``[B]``.
            is_whole: Whether no present row has padding; the outputs of rows of length 0 are arbitrary.

        Returns:
            The map and the lengths after the stride.
        """
        map_BCT = self.convolution(map_BCT)
        lengths = (lengths + self.stride - 1) // self.stride
        if is_whole:
            return self.norm(map_BCT).relu_(), lengths
        keep = steps_present(lengths, map_BCT.shape[2]).to(map_BCT.dtype).unsqueeze(1)
        keep = keep.reshape(*keep.shape, *(1,) * (map_BCT.ndim - 3))
        return self.norm(map_BCT, keep).relu_(), lengths


class AudioCNN(SegmentEncoder):
    """A 2-D convolutional network over time and frequency; each of four stages halves both.

    With ``detail``, time is halved only as long as a step stays within ``STEP_S``.
    """

    def __init__(
        self,
        fitted: Audio,
        width: int,
        *,
        channels: int = 0,
        frames: int = -1,
        max_tokens: int = 16,
        dropout: float = 0.1,
        detail: bool = False,
    ) -> None:
        """Build the stages.

        Args:
            fitted: The fitted modality; a frame's features are those of one channel after the other.
            width: W.
            channels: C of the first stage; the next have 2, 4 and 4 times as many; 0 means three sixteenths of the
                width.
            frames: Number of frames that every clip is resampled to; 0: clips keep their length; -1: resample where
                the median duration is short, so that a word spoken slowly or fast looks the same. With ``detail``,
                clips keep their length.
            max_tokens: Maximum number of tokens per clip.
            dropout: Dropout probability of the tokens.
            detail: Whether to return every time step as ``Tokens.detail``.

        Raises:
            ConfigError: If ``frames`` is set with ``detail``.
        """
        super().__init__(fitted, width)
        if detail and frames > 0:
            raise parameter_error("frames", "an audio encoder whose steps a target reads", "0 or -1", frames)
        is_resampled = fitted.median_duration_s <= SHORT_CLIP_S and not detail
        self.audio_channels = fitted.channels
        self.frames = frames if frames >= 0 else RESAMPLED_FRAMES * is_resampled
        self.step_frames = _frames_per_step(fitted) if detail else 0
        channels = channels or 3 * width // 16
        dims = [fitted.channels, channels, 2 * channels, 4 * channels, 4 * channels]
        strides = [2 if not detail or 2**stage < self.step_frames else 1 for stage in range(4)]
        convolutions = [
            Conv2d(num_in, num_out, 3, (stride, 2), padding=1, bias=False)
            for (num_in, num_out), stride in zip(pairwise(dims), strides, strict=True)
        ]
        self.stages = nn.ModuleList(MaskedConvolution(one) for one in convolutions)
        use_channels_last(self.stages)
        self.tokens = StepTokens(BANDS * dims[-1], width, max_tokens, dropout, detail)

    def encode(self, column: ColumnBatch) -> Tokens:
        """Encode clips, or segments of clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        values_BTF, lengths = mask_steps(column)
        if self.frames:
            values_BTF = resample_steps(values_BTF, lengths, self.frames)
            lengths = torch.where(lengths > 0, self.frames, 0)
        map_BCTF = split_channels(values_BTF, self.audio_channels)
        for stage in self.stages:
            map_BCTF, lengths = stage(map_BCTF, lengths, is_whole=self.frames > 0)
        tokens: Tokens = self.tokens(_pool_bands(map_BCTF).transpose(1, 2).flatten(2), lengths)
        return tokens


def _pool_bands(map_BCTF: Tensor) -> Tensor:
    """Average-pool the frequencies to ``BANDS``."""
    num_features = map_BCTF.shape[3]
    if num_features == BANDS:
        return map_BCTF
    if torch.compiler.is_exporting():  # as a product, for any number of steps
        return map_BCTF @ pooling_matrix(num_features, BANDS).T.to(map_BCTF.device)
    return functional.adaptive_avg_pool2d(map_BCTF, (map_BCTF.shape[2], BANDS))


class AudioGRU(SegmentEncoder):
    """A bidirectional GRU over stacked frames."""

    def __init__(
        self,
        fitted: Audio,
        width: int,
        *,
        depth: int = 1,
        stack: int = 0,
        max_tokens: int = 16,
        dropout: float = 0.1,
        detail: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W; also the size of the state of both directions together.
            depth: GRU layers.
            stack: Frames per step; 0 means 4, or at most 40 ms with ``detail``.
            max_tokens: Maximum number of tokens per clip.
            dropout: Dropout probability.
            detail: Whether to return every time step as ``Tokens.detail``.
        """
        super().__init__(fitted, width)
        self.stack = stack or (_frames_per_step(fitted) if detail else 4)
        self.step_frames = self.stack if detail else 0
        self.project = nn.Sequential(nn.Linear(self.stack * fitted.num_features, width), nn.LayerNorm(width), nn.GELU())
        self.layers = Recurrent("gru", width, depth, dropout)
        self.tokens = StepTokens(self.layers.output_dim, width, max_tokens, dropout, detail)

    def encode(self, column: ColumnBatch) -> Tokens:
        """Encode clips, or segments of clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        steps_BTF, lengths = stack_steps(*mask_steps(column), self.stack)
        tokens: Tokens = self.tokens(self.layers(self.project(steps_BTF), lengths), lengths)
        return tokens


class AudioTransformer(SegmentEncoder):
    """A transformer over stacked frames, after Gong et al. 2021 (AST), arXiv 2104.01778.

    Differs from the source: a patch spans all frequencies; pre-norm; trained from scratch.
    """

    def __init__(
        self,
        fitted: Audio,
        width: int,
        *,
        depth: int = 2,
        num_heads: int = 4,
        stack: int = 0,
        max_tokens: int = 16,
        dropout: float = 0.1,
        detail: bool = False,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: Transformer layers.
            num_heads: Attention heads.
            stack: Frames per step; 0 means 8, or at most 40 ms with ``detail``.
            max_tokens: Maximum number of tokens per clip.
            dropout: Dropout probability.
            detail: Whether to return every time step as ``Tokens.detail``.
        """
        super().__init__(fitted, width)
        self.stack = stack or (_frames_per_step(fitted) if detail else 8)
        self.step_frames = self.stack if detail else 0
        self.project = nn.Linear(self.stack * fitted.num_features, width)
        self.layers = Transformer(width, depth, num_heads, dropout)
        self.tokens = StepTokens(width, width, max_tokens, dropout, detail)

    def encode(self, column: ColumnBatch) -> Tokens:
        """Encode clips, or segments of clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        steps_BTF, lengths = stack_steps(*mask_steps(column), self.stack)
        num_steps, width = steps_BTF.shape[1], self.project.out_features
        steps_BTW = self.project(steps_BTF) + sinusoidal_positions(num_steps, width).to(steps_BTF.device)
        tokens: Tokens = self.tokens(self.layers(steps_BTW, steps_present(lengths, num_steps)), lengths)
        return tokens


def spectra_mismatch(fitted: Audio) -> str | None:
    """Describe audio that encoders of spectra cannot encode.

    Args:
        fitted: The fitted modality.

    Returns:
        None for spectra.
    """
    return f"audio with the features {fitted.features!r}" if fitted.is_waveform else None


def _frames_per_step(fitted: Audio) -> int:
    return frames_per_step(fitted.hop_length / fitted.sample_rate_hz)
