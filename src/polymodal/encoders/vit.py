"""The vision transformer: from ``[B, height, width, channels]`` uint8 to a small grid of tokens (torch).

Shape legend: B rows, C channels, Y and X height and width of a map, T tokens, W width of tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.encoders.image import GridTokens, ImageEncoder, Normalise, token_grid
from polymodal.nn.attention import Transformer
from polymodal.nn.convolution import Conv2d
from polymodal.nn.layers import small_parameter
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.image import Image


class ImageViT(ImageEncoder):
    """A transformer over patches: Dosovitskiy et al. 2021, arXiv 2010.11929, figure 1.

    Differs from the source: no class token; the outputs of the patches are average-pooled to a grid of tokens.
    """

    def __init__(
        self,
        fitted: Image,
        width: int,
        *,
        depth: int = 3,
        num_heads: int = 4,
        patch: int = 0,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            depth: Transformer layers.
            num_heads: Attention heads.
            patch: Side of a patch in pixels; 0 means at most 8 patches along each side.
            dropout: Dropout probability.
        """
        super().__init__()
        self.patch = patch or max(2, math.ceil(max(fitted.height, fitted.width) / 8))
        self.map_shape = (math.ceil(fitted.height / self.patch), math.ceil(fitted.width / self.patch))
        self.normalise = Normalise(fitted)
        self.embed = Conv2d(fitted.channels, width, self.patch, self.patch)
        self.positions = small_parameter(self.map_shape[0] * self.map_shape[1], width)
        self.layers = Transformer(width, depth, num_heads, dropout)
        self.tokens = GridTokens(width, token_grid(fitted, self.patch), width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode images.

        Args:
            column: Values uint8 ``[B, Y, X, C]``.

        Returns:
            Tokens ``[B, T, W]``, T at most 16.
        """
        tokens: Tokens = self.tokens(self.feature_map(self.normalise(column.values)), column.row_present)
        return tokens

    def feature_map(self, pixels_BCYX: Tensor) -> Tensor:
        """Compute the feature map.

        Args:
            pixels_BCYX: Standardised pixels ``[B, channels of the image, Y, X]``.

        Returns:
            ``[B, W, rows of patches, columns of patches]``.
        """
        bottom, right = (-size % self.patch for size in pixels_BCYX.shape[2:])
        patches = self.embed(functional.pad(pixels_BCYX, (0, right, 0, bottom))).flatten(2).transpose(1, 2)
        present = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        mixed_BTW: Tensor = self.layers(patches + self.positions, present)
        return mixed_BTW.transpose(1, 2).reshape(pixels_BCYX.shape[0], self.positions.shape[1], *self.map_shape)
