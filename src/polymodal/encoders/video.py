"""Video encoders: from ``[B, frames, height, width, channels]`` uint8 to tokens in time (torch).

The input of the first convolution is a frame and its difference from the previous frame, so that motion is visible at
full resolution. Padding does not affect the output: frames are normalised one by one, and padded ones are zeroed before
every layer that mixes frames.

Shape legend: B rows, T frames, F all frames of the batch (B T), C channels, Y and X height and width of a map,
K tokens, W width of tokens.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from polymodal.encoders.image import Normalise, convolution_block, num_halvings
from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.steps import StepTokens
from polymodal.nn.attention import Transformer
from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import (
    MaskedGroupNorm,
    lengths_in_use,
    num_groups,
    sinusoidal_positions,
    steps_present,
    use_channels_last,
)
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.video import Video

NUM_STAGES = 4
VALUES_AT_ONCE = 8_000_000
"""Approximate maximum number of pixel values that are encoded at once in inference."""


def frame_strides(fitted: Video) -> list[int]:
    """Return the strides of four stages: 2 at the early stages, until the longer side has about 4 pixels.

    Args:
        fitted: The fitted modality.

    Returns:
        One stride a stage; the first is 4 for videos of more than 64 pixels.
    """
    halvings = num_halvings(fitted)
    strides = [2 if stage < halvings else 1 for stage in range(NUM_STAGES)]
    return [4 if halvings > NUM_STAGES else strides[0], *strides[1:]]


class FrameDifferences(nn.Module):
    """Standardises frames and concatenates the difference from the previous frame as further channels."""

    def __init__(self, fitted: Video) -> None:
        """Store mean and standard deviation of the training videos.

        Args:
            fitted: The fitted modality.
        """
        super().__init__()
        self.normalise = Normalise(fitted)
        self.num_channels = 2 * fitted.channels

    def forward(self, frames_BTYXC: Tensor, keep_BT: Tensor) -> Tensor:
        """Standardise frames and compute the differences.

        Args:
            frames_BTYXC: uint8 or float ``[B, T, Y, X, C]``, 0..255.
            keep_BT: bool ``[B, T]``, True where a frame is in use.

        Returns:
            float32 ``[F, 2 C, Y, X]``, channels last in memory; zero in padding. The difference of the first
            frame is zero.
        """
        clean = torch.where(keep_BT[:, :, None, None, None], frames_BTYXC, 0)
        frames_FCYX = self.normalise(clean.flatten(0, 1))
        frames_BTCYX = frames_FCYX.reshape(*keep_BT.shape, *frames_FCYX.shape[1:])
        difference = frames_BTCYX - torch.cat([frames_BTCYX[:, :1], frames_BTCYX[:, :-1]], dim=1)
        both = torch.cat([frames_BTCYX, difference], dim=2) * keep_BT[:, :, None, None, None]
        return both.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def pool_frames(map_FCYX: Tensor) -> Tensor:
    """Return mean and maximum of each channel: ``[F, 2 C]``.

    Args:
        map_FCYX: ``[F, C, Y, X]``.

    Returns:
        Means, then maxima.
    """
    return torch.cat([map_FCYX.mean(dim=(2, 3)), map_FCYX.amax(dim=(2, 3))], dim=1)


class FrameCNN(nn.Module):
    """Four convolution stages over single frames, pooled to one vector a frame."""

    def __init__(self, fitted: Video, channels: int) -> None:
        """Build the stages.

        Args:
            fitted: The fitted modality.
            channels: C of the first stage; the next have 2, 4 and 4 times as many.
        """
        super().__init__()
        self.frames = FrameDifferences(fitted)
        dims = [self.frames.num_channels, channels, 2 * channels, 4 * channels, 4 * channels]
        pairs = zip(pairwise(dims), frame_strides(fitted), strict=True)
        self.stages = nn.Sequential(
            *(convolution_block(num_in, num_out, stride) for (num_in, num_out), stride in pairs)
        )
        use_channels_last(self.stages)
        self.output_dim = 2 * dims[-1]

    def forward(self, frames_BTYXC: Tensor, lengths: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames_BTYXC: uint8 or float ``[B, T, Y, X, C]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, output_dim]``.
        """
        keep_BT = steps_present(lengths, frames_BTYXC.shape[1])
        vectors_FW = pool_frames(self.stages(self.frames(frames_BTYXC, keep_BT)))
        return vectors_FW.reshape(*keep_BT.shape, self.output_dim)


class TemporalMixer(nn.Module):
    """Self-attention over the frames of a video, with sinusoidal positions."""

    def __init__(self, num_features: int, width: int, depth: int, num_heads: int, dropout: float) -> None:
        """Build the layers.

        Args:
            num_features: Values of a frame.
            width: W.
            depth: Transformer layers.
            num_heads: Attention heads.
            dropout: Dropout probability.
        """
        super().__init__()
        self.project = nn.Sequential(nn.Linear(num_features, width), nn.LayerNorm(width))
        self.layers = Transformer(width, depth, num_heads, dropout)
        self.output_dim = width

    def forward(self, frames_BTF: Tensor, lengths: Tensor) -> Tensor:
        """Mix frames.

        Args:
            frames_BTF: ``[B, T, num_features]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, W]``.
        """
        num_frames = frames_BTF.shape[1]
        positions = sinusoidal_positions(num_frames, self.output_dim).to(frames_BTF.device)
        mixed: Tensor = self.layers(self.project(frames_BTF) + positions, steps_present(lengths, num_frames))
        return mixed


class RecurrentMixer(nn.Module):
    """A bidirectional GRU over the frames of a video."""

    def __init__(self, num_features: int, width: int, depth: int, dropout: float) -> None:
        """Build the layers.

        Args:
            num_features: Values of a frame.
            width: W; also the size of the state of both directions together.
            depth: GRU layers.
            dropout: Dropout probability between layers.
        """
        super().__init__()
        self.project = nn.Sequential(nn.Linear(num_features, width), nn.LayerNorm(width), nn.GELU())
        self.layers = Recurrent("gru", width, depth, dropout)
        self.output_dim = self.layers.output_dim

    def forward(self, frames_BTF: Tensor, lengths: Tensor) -> Tensor:
        """Mix frames.

        Args:
            frames_BTF: ``[B, T, num_features]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, output_dim]``.
        """
        mixed: Tensor = self.layers(self.project(frames_BTF), lengths)
        return mixed


class VideoEncoder(nn.Module):
    """A network over frames, a temporal mixer, and tokens."""

    def __init__(self, frames: nn.Module, mixer: nn.Module | None, tokens: StepTokens) -> None:
        """Store the modules.

        Args:
            frames: From ``[B, T, Y, X, C]`` and lengths to ``[B, T, features]``.
            mixer: From ``[B, T, features]`` and lengths to the same layout; None where ``frames`` mixes frames itself.
            tokens: The final projection.
        """
        super().__init__()
        self.frames = frames
        self.mixer = mixer
        self.tokens = tokens

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode videos.

        Args:
            column: Values uint8 ``[B, T, Y, X, C]`` and lengths.

        Returns:
            Tokens ``[B, K, W]``.
        """
        lengths = lengths_in_use(column)
        features_BTF = self._encode_frames(column.values, lengths)
        if self.mixer is not None:
            features_BTF = self.mixer(features_BTF, lengths)
        tokens: Tokens = self.tokens(features_BTF, lengths)
        return tokens

    def _encode_frames(self, frames_BTYXC: Tensor, lengths: Tensor) -> Tensor:
        """Encode all rows, in inference a few at a time to bound the memory of feature maps."""
        if torch.compiler.is_exporting():  # one graph for any number of rows: the caller decides how many at once
            whole: Tensor = self.frames(frames_BTYXC, lengths)
            return whole
        num_rows = max(len(lengths), 1)
        at_once = num_rows
        if not torch.is_grad_enabled() and len(lengths):
            at_once = max(1, VALUES_AT_ONCE // max(1, frames_BTYXC[0].numel()))
        parts = [slice(start, start + at_once) for start in range(0, num_rows, at_once)]
        return torch.cat([self.frames(frames_BTYXC[part], lengths[part]) for part in parts])


class SeparateConvolution(nn.Module):
    """A (2+1)D convolution: 3x3 over each frame, then 3 over time, each with norm and ReLU.

    Source: Tran et al. 2018, arXiv 1711.11248, section 3.5 and figure 2. Differs from the source: group norm in
    place of batch norm, over the frames in use; the number of channels between the two is that of the output.
    """

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        """Build both convolutions.

        Args:
            num_in: Input channels.
            num_out: Output channels.
            stride: Spatial stride; the stride over time is 1.
        """
        super().__init__()
        self.space = convolution_block(num_in, num_out, stride)
        self.time = Conv2d(num_out, num_out, (3, 1), padding=(1, 0), bias=False)
        self.norm = MaskedGroupNorm(num_groups(num_out), num_out)

    def forward(self, map_FCYX: Tensor, keep_BT: Tensor) -> Tensor:
        """Run the block.

        Args:
            map_FCYX: ``[F, num_in, Y, X]``.
            keep_BT: float ``[B, T]``; 1 where a frame is in use, else 0.

        Returns:
            ``[F, num_out, Y / stride, X / stride]``, zero in padding.
        """
        map_FCYX = self.space(map_FCYX)
        num_out, height, width = map_FCYX.shape[1:]
        map_BCTP = map_FCYX.reshape(*keep_BT.shape, num_out, height * width).transpose(1, 2)
        keep = keep_BT[:, None, :, None]
        mixed_BCTP: Tensor = self.norm(self.time(map_BCTP * keep), keep).relu_()
        return mixed_BCTP.transpose(1, 2).reshape(-1, num_out, height, width)


class R2Plus1D(nn.Module):
    """Four (2+1)D convolution stages with spatial pooling at the end."""

    def __init__(self, fitted: Video, channels: int) -> None:
        """Build the stages.

        Args:
            fitted: The fitted modality.
            channels: C of the first stage; the next have 2, 4 and 4 times as many.
        """
        super().__init__()
        self.frames = FrameDifferences(fitted)
        dims = [self.frames.num_channels, channels, 2 * channels, 4 * channels, 4 * channels]
        pairs = zip(pairwise(dims), frame_strides(fitted), strict=True)
        self.stages = nn.ModuleList(SeparateConvolution(num_in, num_out, stride) for (num_in, num_out), stride in pairs)
        use_channels_last(self.stages)
        self.output_dim = 2 * dims[-1]

    def forward(self, frames_BTYXC: Tensor, lengths: Tensor) -> Tensor:
        """Encode videos.

        Args:
            frames_BTYXC: uint8 or float ``[B, T, Y, X, C]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, output_dim]``.
        """
        keep_BT = steps_present(lengths, frames_BTYXC.shape[1])
        map_FCYX = self.frames(frames_BTYXC, keep_BT)
        for stage in self.stages:
            map_FCYX = stage(map_FCYX, keep_BT.to(map_FCYX.dtype))
        return pool_frames(map_FCYX).reshape(*keep_BT.shape, self.output_dim)


class VideoCNN(VideoEncoder):
    """Convolutions over single frames and their differences, self-attention over time."""

    def __init__(
        self,
        fitted: Video,
        width: int,
        *,
        channels: int = 0,
        depth: int = 1,
        num_heads: int = 4,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: Channels of the first stage; 0 means a quarter of the width.
            depth: Transformer layers over time.
            num_heads: Attention heads.
            max_tokens: Maximum number of tokens per video.
            dropout: Dropout probability.
        """
        frames = FrameCNN(fitted, channels or width // 4)
        mixer = TemporalMixer(frames.output_dim, width, depth, num_heads, dropout)
        super().__init__(frames, mixer, StepTokens(width, width, max_tokens, dropout))


class VideoGRU(VideoEncoder):
    """Convolutions over single frames and their differences, a GRU over time."""

    def __init__(
        self,
        fitted: Video,
        width: int,
        *,
        channels: int = 0,
        depth: int = 1,
        max_tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: Channels of the first stage; 0 means a quarter of the width.
            depth: GRU layers.
            max_tokens: Maximum number of tokens per video.
            dropout: Dropout probability.
        """
        frames = FrameCNN(fitted, channels or width // 4)
        mixer = RecurrentMixer(frames.output_dim, width, depth, dropout)
        super().__init__(frames, mixer, StepTokens(mixer.output_dim, width, max_tokens, dropout))


class VideoR2Plus1D(VideoEncoder):
    """Alternating convolutions over space and time."""

    def __init__(
        self, fitted: Video, width: int, *, channels: int = 0, max_tokens: int = 16, dropout: float = 0.1
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: Channels of the first stage; 0 means a quarter of the width.
            max_tokens: Maximum number of tokens per video.
            dropout: Dropout probability.
        """
        frames = R2Plus1D(fitted, channels or width // 4)
        super().__init__(frames, None, StepTokens(frames.output_dim, width, max_tokens, dropout))
