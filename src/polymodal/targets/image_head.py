"""The head of the target image: transposed convolutions (torch).

Shape legend: B rows of the batch, Y and X height and width, C channels, W width of tokens.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.nn.convolution import Conv2d, ConvTranspose2d
from polymodal.nn.layers import GroupNorm, num_groups
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.structured_head import StructuredHead
from polymodal.tokens import Fused

MIN_CHANNELS = 16
L1_WEIGHT = 0.1
BASE_SIZE = 4
"""Maximum side of the feature map that the transposed convolutions start from."""


class ImageHead(StructuredHead):
    """Transposed convolutions from the fused vector to an image.

    After the generator of Radford et al. 2016, arXiv 1511.06434, figure 1. Differs from the source: group norm in
    place of batch norm, GELU in place of ReLU, and the output is added to the mean training image, which an
    untrained head predicts.
    """

    uses_autocast = True
    mean: Tensor

    def __init__(self, read: ReadOutputs, width: int, mean_YXC: NDArray[np.uint8]) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            width: W.
            mean_YXC: The mean training image.
        """
        super().__init__(read)
        self.shape = (mean_YXC.shape[0], mean_YXC.shape[1])
        doublings = max(0, math.ceil(math.log2(max(self.shape) / BASE_SIZE)))
        dims = [max(width >> stage, MIN_CHANNELS) for stage in range(doublings + 1)]
        self.num_channels = dims[0]
        self.grid = [math.ceil(side / 2**doublings) for side in self.shape]
        self.begin = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dims[0] * math.prod(self.grid)), nn.GELU())
        stages = [_upsample_block(*pair) for pair in itertools.pairwise(dims)]
        last = Conv2d(dims[-1], mean_YXC.shape[2], 3, padding=1)
        nn.init.zeros_(last.weight)
        self.paint = nn.Sequential(*stages, last)
        mean_CYX = torch.from_numpy(mean_YXC.astype(np.float32) / 255).permute(2, 0, 1)
        self.register_buffer("mean", mean_CYX.contiguous(), persistent=False)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Mean squared error of the pixels, black being 0 and white 1, plus a tenth of the mean absolute error.

        The squared error is the metric; the absolute error reduces noise in uniform areas.

        Args:
            fused: Output of the fusion.
            truth: Images uint8 ``[B, Y, X, C]``.
            smoothing: Not used: pixels have no classes.

        Returns:
            Loss ``[B]``.
        """
        error = self._generate(fused) - truth.permute(0, 3, 1, 2).float() / 255
        return error.square().mean(dim=(1, 2, 3)) + L1_WEIGHT * error.abs().mean(dim=(1, 2, 3))

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Generate an image for each row.

        Args:
            fused: Output of the fusion.

        Returns:
            ``pixels`` ``[B, C, Y, X]``, black being 0 and white 1, not limited.
        """
        return {"pixels": self._generate(fused)}

    def _generate(self, fused: Fused) -> Tensor:
        coarse_BCYX = self.begin(fused.pooled).unflatten(1, (self.num_channels, *self.grid))
        residual: Tensor = self.paint(coarse_BCYX)[:, :, : self.shape[0], : self.shape[1]]
        return residual.float() + self.mean


def _upsample_block(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        ConvTranspose2d(num_in, num_out, 4, stride=2, padding=1, bias=False),
        GroupNorm(num_groups(num_out), num_out),
        nn.GELU(),
    )
