"""A feature pyramid: fine places of an image that know what the coarse ones saw (torch).

Shape legend: B rows, C channels, Y and X height and width of a map, P places, W width.
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

FINEST_STRIDE = 8
NUM_PLACES = 32
"""Places wanted along an image's longer side, where its stages are that fine."""


class FeaturePyramid(nn.Module):
    """From the maps of an encoder's stages to one map of fine places: Lin et al. 2017, arXiv 1612.03144, figure 3.

    Differs from the source: one map comes out, the finest; each merged map is convolved before it is passed
    on to the finer one; group norm and ReLU follow each convolution.

    Attributes:
        places: How the places lie.
    """

    def __init__(self, fitted: Image, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality; gives the image's size.
            channels: C of each stage's map.
            strides: Pixels from one place of each map to the next, rising.
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
        """Merge the maps from coarse to fine.

        Args:
            maps: The stages' maps ``[B, C, Y, X]``, fine to coarse.
            present: bool ``[B]``.

        Returns:
            Places ``[B, P, W]``, row by row.
        """
        above: Tensor | None = None
        for map_BCYX, lateral, merge in reversed(
            list(zip(maps[self.first :], self.laterals, self.merges, strict=True))
        ):
            found = lateral(map_BCYX)
            if above is not None:
                found = found + functional.interpolate(above, size=found.shape[2:], mode="nearest")
            above = merge(found)
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
    """Choose the stage whose places are fine enough.

    Args:
        fitted: The fitted modality; gives the image's size.
        strides: Pixels between places of each stage, rising.

    Returns:
        The coarsest stage with 32 places or more along the longer side and at most 8 pixels between them; the
        finest where there is none.
    """
    most = min(FINEST_STRIDE, max(fitted.height, fitted.width) / NUM_PLACES)
    return max((stage for stage, stride in enumerate(strides) if stride <= most), default=0)


def run_stages(blocks: nn.Sequential, ends: Sequence[int], map_BCYX: Tensor) -> list[Tensor]:
    """Run an encoder's blocks and keep the map at the end of each stage.

    Args:
        blocks: All blocks in their order.
        ends: Number of the last block of each stage, rising; the last is that of all blocks.
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
