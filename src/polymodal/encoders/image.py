"""Image encoders: from ``[B, height, width, channels]`` uint8 to a small grid of tokens (torch).

Shape legend: B rows, C channels, Y and X height and width of a map, T tokens, W width of tokens.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.encoders.pyramid import FeaturePyramid, run_stages
from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import Dropout, GroupNorm, num_groups, small_parameter, use_channels_last
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.image import Image
    from polymodal.modalities.video import Video

GRID = 4
"""Maximum number of tokens along each side of an image."""


class Normalise(nn.Module):
    """Standardises uint8 images; the output has channels first, in channels-last memory format."""

    mean: Tensor
    scale: Tensor

    def __init__(self, fitted: Image | Video) -> None:
        """Store mean and standard deviation of the training images.

        Args:
            fitted: The fitted modality; its mean and std are in 0..1.
        """
        super().__init__()
        self.register_buffer("mean", torch.tensor(fitted.mean) * 255.0, persistent=False)
        self.register_buffer("scale", 1.0 / (torch.tensor(fitted.std).clamp(min=1e-3) * 255.0), persistent=False)

    def forward(self, pixels_BYXC: Tensor) -> Tensor:
        """Standardise.

        Args:
            pixels_BYXC: uint8 or float ``[B, Y, X, C]``, 0..255.

        Returns:
            float32 ``[B, C, Y, X]``.
        """
        return ((pixels_BYXC.float() - self.mean) * self.scale).permute(0, 3, 1, 2)


class ImageEncoder(nn.Module):
    """The base class of image encoders: standardised pixels, a feature map, tokens.

    A decoder can reconstruct images from the feature map (``polymodal.encoders.image_decoder``).
    """

    normalise: Normalise
    stages: nn.Module
    tokens: GridTokens

    def feature_map(self, pixels_BCYX: Tensor) -> Tensor:
        """Compute the feature map.

        Args:
            pixels_BCYX: Standardised pixels ``[B, channels of the image, Y, X]``.

        Returns:
            ``[B, C, rows, columns]``.
        """
        found: Tensor = self.stages(pixels_BCYX)
        return found


class GridTokens(nn.Module):
    """Average-pools a feature map to at most 4x4 tokens, with a projection and learned positions."""

    def __init__(self, num_channels: int, grid: tuple[int, int], width: int, dropout: float) -> None:
        """Build the projection.

        Args:
            num_channels: C of the map.
            grid: Rows and columns of tokens.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__()
        self.grid = grid
        self.project = nn.Linear(num_channels, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.positions = small_parameter(grid[0] * grid[1], width)

    def forward(self, map_BCYX: Tensor, present: Tensor) -> Tokens:
        """Pool the map and project it.

        Args:
            map_BCYX: Feature map ``[B, C, Y, X]``.
            present: bool ``[B]``.

        Returns:
            Tokens ``[B, grid rows * grid columns, W]``, row-major.
        """
        if map_BCYX.shape[2:] != self.grid:
            map_BCYX = functional.adaptive_avg_pool2d(map_BCYX, self.grid)
        values_BTW = self.norm(self.project(map_BCYX.flatten(2).transpose(1, 2)))
        values_BTW = self.dropout(values_BTW) + self.positions
        return Tokens(values_BTW, present.unsqueeze(1).expand(values_BTW.shape[:2]))


def num_halvings(fitted: Image | Video) -> int:
    """Return how often the longer side of an image is halved until it is at most 4.

    Args:
        fitted: The fitted modality.

    Returns:
        The number of halvings, 0 for tiny images.
    """
    return max(0, math.ceil(math.log2(max(fitted.height, fitted.width) / GRID)))


def token_grid(fitted: Image, stride: int) -> tuple[int, int]:
    """Return the grid of tokens of a feature map.

    Args:
        fitted: The fitted modality.
        stride: Stride of the feature map in pixels.

    Returns:
        Rows and columns, each at most 4.
    """
    return min(GRID, math.ceil(fitted.height / stride)), min(GRID, math.ceil(fitted.width / stride))


def convolution_block(num_in: int, num_out: int, stride: int) -> nn.Sequential:
    """Build a 3x3 convolution, group norm and ReLU; above stride 2 the kernel is large enough to cover all pixels.

    Args:
        num_in: Input channels.
        num_out: Output channels.
        stride: Stride of the convolution.

    Returns:
        The block.
    """
    kernel = 3 if stride <= 2 else 2 * stride - 1
    return nn.Sequential(
        Conv2d(num_in, num_out, kernel, stride, padding=kernel // 2, bias=False),
        GroupNorm(num_groups(num_out), num_out),
        nn.ReLU(inplace=True),
    )


def _stage_strides(fitted: Image, num_stages: int) -> list[int]:
    """Return the strides: 2 at the late stages, the rest of the halvings (at most 4) at the first one."""
    halvings = num_halvings(fitted)
    late = [2 if stage < halvings else 1 for stage in range(num_stages - 1)]
    return [min(4, 2 ** max(0, halvings - (num_stages - 1))), *late]


class StagedEncoder(ImageEncoder):
    """Convolution stages, a grid of tokens and, optionally, a feature pyramid for ``Tokens.detail``.

    Attributes:
        detail_grid: Shape and stride of the detail; None without it.
    """

    stages: nn.Sequential

    def __init__(
        self,
        fitted: Image,
        width: int,
        stages: Sequence[Sequence[nn.Module]],
        channels: Sequence[int],
        strides: Sequence[int],
        dropout: float,
        detail: bool,
    ) -> None:
        """Combine the stages.

        Args:
            fitted: The fitted modality.
            width: W.
            stages: The blocks of each stage.
            channels: C of the feature map of each stage.
            strides: Stride of each stage.
            dropout: Dropout probability of the tokens.
            detail: Whether to return the detail feature map as ``Tokens.detail``.
        """
        super().__init__()
        self.normalise = Normalise(fitted)
        self.stages = nn.Sequential(*itertools.chain(*stages))
        self.ends = [last - 1 for last in itertools.accumulate(map(len, stages))]
        use_channels_last(self.stages)
        self.tokens = GridTokens(channels[-1], token_grid(fitted, math.prod(strides)), width, dropout)
        reached = list(itertools.accumulate(strides, operator.mul))
        self.pyramid = FeaturePyramid(fitted, channels, reached, width) if detail else None
        self.detail_grid = None if self.pyramid is None else self.pyramid.detail_grid

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode images.

        Args:
            column: Values uint8 ``[B, Y, X, C]``.

        Returns:
            Tokens ``[B, T, W]``, T at most 16.
        """
        present = column.row_present
        maps = run_stages(self.stages, self.ends, self.normalise(column.values))
        tokens: Tokens = self.tokens(maps[-1], present)
        return tokens if self.pyramid is None else replace(tokens, detail=self.pyramid(maps, present))


class ImageCNN(StagedEncoder):
    """A convolutional network of four stages with group norm."""

    def __init__(
        self,
        fitted: Image,
        width: int,
        *,
        channels: int = 0,
        depth: int = 1,
        dropout: float = 0.1,
        detail: bool = False,
    ) -> None:
        """Build the stages.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: C of the first stage; the next have 2, 4 and 4 times as many; 0 means a quarter of the width.
            depth: Convolutions of each stage after the first.
            dropout: Dropout probability of the tokens.
            detail: Whether to return the detail feature map as ``Tokens.detail``.
        """
        channels = channels or width // 4
        strides = _stage_strides(fitted, 4)
        dims = [channels, 2 * channels, 4 * channels, 4 * channels]
        stages = [[convolution_block(fitted.channels, channels, strides[0])]]
        for num_in, num_out, stride in zip(dims, dims[1:], strides[1:], strict=False):
            rest = (convolution_block(num_out, num_out, 1) for _ in range(depth - 1))
            stages.append([convolution_block(num_in, num_out, stride), *rest])
        super().__init__(fitted, width, stages, dims, strides, dropout, detail)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut: He et al. 2016, arXiv 1512.03385, figure 2.

    Differs from the source: group norm in place of batch norm.
    """

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        """Build the block.

        Args:
            num_in: Input channels.
            num_out: Output channels.
            stride: Stride of the first convolution and of the shortcut.
        """
        super().__init__()
        self.first = convolution_block(num_in, num_out, stride)
        self.second = nn.Sequential(*list(convolution_block(num_out, num_out, 1))[:2])
        same = stride == 1 and num_in == num_out
        self.shortcut = nn.Identity() if same else Conv2d(num_in, num_out, 1, stride, bias=False)

    def forward(self, map_BCYX: Tensor) -> Tensor:
        """Run the block.

        Args:
            map_BCYX: ``[B, num_in, Y, X]``.

        Returns:
            ``[B, num_out, Y / stride, X / stride]``.
        """
        summed: Tensor = self.second(self.first(map_BCYX)) + self.shortcut(map_BCYX)
        return summed.relu_()


class ImageResNet(StagedEncoder):
    """A small residual network."""

    def __init__(
        self,
        fitted: Image,
        width: int,
        *,
        channels: int = 24,
        depth: int = 1,
        dropout: float = 0.1,
        detail: bool = False,
    ) -> None:
        """Build the stages.

        Args:
            fitted: The fitted modality.
            width: W.
            channels: C of the first stage; the next have 2, 4 and 8 times as many.
            depth: Residual blocks of each stage.
            dropout: Dropout probability of the tokens.
            detail: Whether to return the detail feature map as ``Tokens.detail``.
        """
        strides = _stage_strides(fitted, 4)
        dims = [channels, 2 * channels, 4 * channels, 8 * channels]
        stages: list[list[nn.Module]] = [[convolution_block(fitted.channels, channels, strides[0])], [], [], []]
        num_in = channels
        for stage, num_out, stride in zip(stages, dims, (1, *strides[1:]), strict=True):
            for index in range(depth):
                stage.append(ResidualBlock(num_in, num_out, stride if index == 0 else 1))
                num_in = num_out
        super().__init__(fitted, width, stages, dims, strides, dropout, detail)
