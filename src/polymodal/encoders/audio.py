"""Audio encoders: from ``[B, frames, features]`` or ``[B, samples, channels]`` to tokens (torch).

Padding never matters: it is zeroed before every layer that could see it.
Shape legend: B rows, T frames, F features of a frame, C channels of a map, S channels of the sound (1 or 2), K tokens,
W width of tokens.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.steps import clean_steps, stack_steps, stretch_steps
from polymodal.layers import (
    MaskedGroupNorm,
    Transformer,
    num_groups,
    pool_steps,
    sinusoidal_positions,
    small_parameter,
    split_channels,
    steps_present,
    use_channels_last,
)
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.audio import Audio

BANDS = 4
"""Frequency bands that remain at the end of the convolutional encoder."""

STRETCHED_FRAMES = 64
SHORT_CLIP_S = 1.5
"""Clips of at most this median length are stretched to one number of frames by default."""


class StepTokens(nn.Module):
    """Turn steps into at most ``max_tokens`` tokens that know their place in the clip."""

    def __init__(self, num_features: int, width: int, max_tokens: int, dropout: float) -> None:
        """Build the projection.

        Args:
            num_features: F of a step.
            width: W.
            max_tokens: Most tokens of a row.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.max_tokens = max_tokens
        self.project = nn.Linear(num_features, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.positions = small_parameter(max_tokens, width)

    def forward(self, values_BTF: Tensor, lengths: Tensor) -> Tokens:
        """Pool and project.

        Args:
            values_BTF: ``[B, T, F]``.
            lengths: int64 ``[B]``; 0 for absent rows.

        Returns:
            Tokens ``[B, K, W]``.
        """
        pooled_BKF, present = pool_steps(values_BTF, lengths, self.max_tokens)
        values_BKW = self.dropout(self.norm(self.project(pooled_BKF)))
        return Tokens(values_BKW + self.positions[: values_BKW.shape[1]], present)


class MaskedConvolution(nn.Module):
    """Convolution, group norm and ReLU that keep padding at zero."""

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d) -> None:
        """Take the convolution; its padding is such that ceil(T / stride) steps come out.

        Args:
            convolution: Over time first.
        """
        super().__init__()
        self.convolution = convolution
        self.stride = int(convolution.stride[0])
        self.norm = MaskedGroupNorm(num_groups(convolution.out_channels), convolution.out_channels)

    def forward(self, map_BCT: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            map_BCT: ``[B, C, T]`` or ``[B, C, T, F]``, zero in padding.
            lengths: int64 ``[B]``.

        Returns:
            The map and the lengths after the stride.
        """
        map_BCT = self.convolution(map_BCT)
        lengths = (lengths + self.stride - 1) // self.stride
        keep = steps_present(lengths, map_BCT.shape[2]).to(map_BCT.dtype).unsqueeze(1)
        keep = keep.reshape(*keep.shape, *(1,) * (map_BCT.ndim - 3))
        return torch.relu(self.norm(map_BCT, keep)), lengths


class AudioCNN(nn.Module):
    """A picture network over time and frequency, four stages, each halving both."""

    def __init__(
        self, sound_channels: int, width: int, channels: int, frames: int, max_tokens: int, dropout: float
    ) -> None:
        """Build the stages.

        Args:
            sound_channels: S; a frame's features are those of one channel after the other.
            width: W.
            channels: C of the first stage; the next have 2, 4 and 4 times as many.
            frames: Every clip is stretched to so many frames; 0 keeps the natural length.
            max_tokens: Most tokens of a clip.
            dropout: Share of token values set to zero in training.
        """
        super().__init__()
        self.sound_channels = sound_channels
        self.frames = frames
        dims = [sound_channels, channels, 2 * channels, 4 * channels, 4 * channels]
        convolutions = [nn.Conv2d(num_in, num_out, 3, 2, padding=1, bias=False) for num_in, num_out in pairwise(dims)]
        self.stages = nn.ModuleList(MaskedConvolution(one) for one in convolutions)
        use_channels_last(self.stages)
        self.tokens = StepTokens(BANDS * dims[-1], width, max_tokens, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        values_BTF, lengths = clean_steps(column)
        if self.frames:
            values_BTF = stretch_steps(values_BTF, lengths, self.frames)
            lengths = torch.where(lengths > 0, self.frames, 0)
        map_BCTF = split_channels(values_BTF, self.sound_channels)
        for stage in self.stages:
            map_BCTF, lengths = stage(map_BCTF, lengths)
        bands_BCTF = functional.adaptive_avg_pool2d(map_BCTF, (map_BCTF.shape[2], BANDS))
        tokens: Tokens = self.tokens(bands_BCTF.transpose(1, 2).flatten(2), lengths)
        return tokens


class AudioGRU(nn.Module):
    """A bidirectional GRU over stacked frames."""

    def __init__(self, num_features: int, width: int, depth: int, stack: int, max_tokens: int, dropout: float) -> None:
        """Build the layers.

        Args:
            num_features: F.
            width: W; also the state of both directions together.
            depth: GRU layers.
            stack: Frames per step.
            max_tokens: Most tokens of a clip.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.stack = stack
        self.project = nn.Sequential(nn.Linear(stack * num_features, width), nn.LayerNorm(width), nn.GELU())
        self.layers = Recurrent("gru", width, depth, dropout)
        self.tokens = StepTokens(self.layers.output_dim, width, max_tokens, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        steps_BTF, lengths = stack_steps(*clean_steps(column), self.stack)
        tokens: Tokens = self.tokens(self.layers(self.project(steps_BTF), lengths), lengths)
        return tokens


class AudioTransformer(nn.Module):
    """A transformer over stacked frames, after Gong et al. 2021 (AST), arXiv 2104.01778.

    Differs from the source: a patch spans all frequencies; pre-norm; trained from scratch.
    """

    def __init__(
        self, num_features: int, width: int, depth: int, num_heads: int, stack: int, max_tokens: int, dropout: float
    ) -> None:
        """Build the layers.

        Args:
            num_features: F.
            width: W.
            depth: Transformer layers.
            num_heads: Heads of each layer.
            stack: Frames per step.
            max_tokens: Most tokens of a clip.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.stack = stack
        self.project = nn.Linear(stack * num_features, width)
        self.layers = Transformer(width, depth, num_heads, dropout)
        self.tokens = StepTokens(width, width, max_tokens, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode clips.

        Args:
            column: Values float16 ``[B, T, F]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        steps_BTF, lengths = stack_steps(*clean_steps(column), self.stack)
        num_steps, width = steps_BTF.shape[1], self.project.out_features
        steps_BTW = self.project(steps_BTF) + sinusoidal_positions(num_steps, width).to(steps_BTF.device)
        tokens: Tokens = self.tokens(self.layers(steps_BTW, steps_present(lengths, num_steps)), lengths)
        return tokens


class WaveformCNN(nn.Module):
    """One-dimensional convolutions over samples, after Dai et al. 2017 (M5), arXiv 1610.00087.

    Differs from the source: strides in place of pooling, group norm in place of batch norm.
    """

    STRIDES = (16, 4, 4, 4)

    def __init__(self, sound_channels: int, width: int, channels: int, max_tokens: int, dropout: float) -> None:
        """Build the stages.

        Args:
            sound_channels: S.
            width: W.
            channels: C of the first stage; the next have 2, 4 and 4 times as many.
            max_tokens: Most tokens of a clip.
            dropout: Share of token values set to zero in training.
        """
        super().__init__()
        dims = [sound_channels, channels, 2 * channels, 4 * channels, 4 * channels]
        self.stages = nn.ModuleList(
            MaskedConvolution(nn.Conv1d(num_in, num_out, 3 * stride, stride, padding=stride, bias=False))
            for num_in, num_out, stride in zip(dims, dims[1:], self.STRIDES, strict=False)
        )
        self.tokens = StepTokens(dims[-1], width, max_tokens, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode clips.

        Args:
            column: Values float16 ``[B, samples, S]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        values_BTS, lengths = clean_steps(column)
        map_BCT = functional.pad(values_BTS.transpose(1, 2), (0, -values_BTS.shape[1] % 1024))
        for stage in self.stages:
            map_BCT, lengths = stage(map_BCT, lengths)
        tokens: Tokens = self.tokens(map_BCT.transpose(1, 2), lengths)
        return tokens


def build_audio_cnn(
    fitted: Audio,
    width: int,
    *,
    channels: int = 0,
    frames: int = -1,
    max_tokens: int = 16,
    dropout: float = 0.1,
) -> nn.Module:
    """Build the convolutional encoder of spectra.

    Args:
        fitted: The fitted modality.
        width: W.
        channels: Channels of the first stage; 0 means three sixteenths of the width.
        frames: Every clip is stretched to so many frames; 0 keeps its natural length; -1 stretches
            clips that hold one short event, as told by their median length: a word spoken slowly
            or fast is the same word.
        max_tokens: Most tokens of a clip.
        dropout: Share of token values set to zero in training.

    Returns:
        The encoder.
    """
    if frames < 0:
        frames = STRETCHED_FRAMES if fitted.median_duration_s <= SHORT_CLIP_S else 0
    return AudioCNN(fitted.channels, width, channels or 3 * width // 16, frames, max_tokens, dropout)


def build_audio_gru(
    fitted: Audio, width: int, *, depth: int = 1, stack: int = 4, max_tokens: int = 16, dropout: float = 0.1
) -> nn.Module:
    """Build the recurrent encoder of spectra.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: GRU layers.
        stack: Frames per step.
        max_tokens: Most tokens of a clip.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    return AudioGRU(fitted.num_features, width, depth, stack, max_tokens, dropout)


def build_audio_transformer(
    fitted: Audio,
    width: int,
    *,
    depth: int = 2,
    num_heads: int = 4,
    stack: int = 8,
    max_tokens: int = 16,
    dropout: float = 0.1,
) -> nn.Module:
    """Build the transformer encoder of spectra.

    Args:
        fitted: The fitted modality.
        width: W.
        depth: Transformer layers.
        num_heads: Heads of each layer.
        stack: Frames per step.
        max_tokens: Most tokens of a clip.
        dropout: Share of values set to zero in training.

    Returns:
        The encoder.
    """
    return AudioTransformer(fitted.num_features, width, depth, num_heads, stack, max_tokens, dropout)


def build_waveform_cnn(
    fitted: Audio,
    width: int,
    *,
    channels: int = 32,
    max_tokens: int = 16,
    dropout: float = 0.1,
) -> nn.Module:
    """Build the convolutional encoder of samples.

    Args:
        fitted: The fitted modality.
        width: W.
        channels: Channels of the first stage.
        max_tokens: Most tokens of a clip.
        dropout: Share of token values set to zero in training.

    Returns:
        The encoder.
    """
    return WaveformCNN(fitted.channels, width, channels, max_tokens, dropout)
