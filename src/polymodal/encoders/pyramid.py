"""A feature pyramid network for the detail of image encoders (torch).

Shape legend: B rows, C channels, Y and X height and width of a map, P locations, W width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import GroupNorm, num_groups, use_channels_last
from polymodal.tokens import Detail, DetailGrid

if TYPE_CHECKING:
    from polymodal.modalities.image import Image

MAX_STRIDE = 8
MIN_LOCATIONS = 32
"""Minimum number of locations along the longer side of an image, if a stage has that many."""


class FeaturePyramid(nn.Module):
    """From the feature maps of all stages to one high-resolution map: Lin et al. 2017, arXiv 1612.03144, figure 3.

    Differs from the source: the only output is the map of the highest resolution; each merged map is
    convolved before it is upsampled; group norm and ReLU follow each convolution.

    Attributes:
        detail_grid: Shape and stride of the output.
    """

    def __init__(self, fitted: Image, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality; gives the image's size.
            channels: C of the feature map of each stage.
            strides: Stride of each map in pixels, increasing.
            width: W.
        """
        super().__init__()
        first = finest_stage(fitted, strides)
        self.first = first
        stride = strides[first]
        self.detail_grid = DetailGrid((-(-fitted.height // stride), -(-fitted.width // stride)), stride)
        inner = width // 2
        self.laterals = nn.ModuleList(Conv2d(num_in, inner, 1) for num_in in channels[first:])
        widths = [width, *itertools.repeat(inner, len(channels) - first - 1)]
        self.merges = nn.ModuleList(_merge(inner, num_out) for num_out in widths)
        use_channels_last(self)

    def forward(self, maps: Sequence[Tensor], present: Tensor) -> Detail:
        """Merge the maps from low to high resolution.

        Args:
            maps: Feature maps of the stages ``[B, C, Y, X]``, from high to low resolution.
            present: bool ``[B]``.

        Returns:
            Features ``[B, P, W]``, row-major.
        """
        above: Tensor | None = None
        for map_BCYX, lateral, merge in reversed(
            list(zip(maps[self.first :], self.laterals, self.merges, strict=True))
        ):
            merged = lateral(map_BCYX)
            if above is not None:
                merged = merged + functional.interpolate(above, size=merged.shape[2:], mode="nearest")
            above = merge(merged)
        assert above is not None
        values_BPW = above.flatten(2).transpose(1, 2)
        return Detail(values_BPW, present.unsqueeze(1).expand(values_BPW.shape[:2]), self.detail_grid.shape)


def _merge(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        Conv2d(num_in, num_out, 3, padding=1, bias=False),
        GroupNorm(num_groups(num_out), num_out),
        nn.ReLU(inplace=True),
    )


def finest_stage(fitted: Image, strides: Sequence[int]) -> int:
    """Choose the stage of the output resolution.

    Args:
        fitted: The fitted modality; gives the image's size.
        strides: Stride of each stage in pixels, increasing.

    Returns:
        The lowest resolution with at least 32 locations along the longer side and a stride of at most 8 pixels; the
        highest one where there is none.
    """
    most = min(MAX_STRIDE, max(fitted.height, fitted.width) / MIN_LOCATIONS)
    return max((stage for stage, stride in enumerate(strides) if stride <= most), default=0)


def run_stages(blocks: nn.Sequential, ends: Sequence[int], map_BCYX: Tensor) -> list[Tensor]:
    """Run the blocks of an encoder and return the feature map of each stage.

    Args:
        blocks: All blocks in their order.
        ends: Index of the last block of each stage, increasing.
        map_BCYX: Standardised images ``[B, C, Y, X]``.

    Returns:
        One map a stage.
    """
    maps = []
    for number, block in enumerate(blocks):
        map_BCYX = block(map_BCYX)
        if number in ends:
            maps.append(map_BCYX)
    return maps
