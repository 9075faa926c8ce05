"""An encoder of pictures that sees their colours only (torch).

Shape legend: B rows of the batch, Y and X height and width, C channels, H bins, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from polymodal.encoders import EncoderEntry
from polymodal.nn.layers import Dropout
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities import Image


class HistogramEncoder(nn.Module):
    """How much of each shade a picture has, channel by channel, then one layer: Swain and Ballard 1991."""

    def __init__(self, fitted: Image, width: int, *, bins: int = 8, dropout: float = 0.1) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: W.
            bins: H, shades of each channel.
            dropout: Share of values set to zero in training.
        """
        super().__init__()
        self.bins = bins
        self.project = nn.Sequential(nn.Linear(bins * fitted.channels, width), nn.LayerNorm(width), Dropout(dropout))

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode pictures.

        Args:
            column: Values uint8 ``[B, Y, X, C]``.

        Returns:
            One token a row, ``[B, 1, W]``.
        """
        values_B1W = self.project(self._histogram(column.values)).unsqueeze(1)
        return Tokens(values_B1W, column.row_present.unsqueeze(1))

    def _histogram(self, pixels_BYXC: Tensor) -> Tensor:
        """Return shares ``[B, C * H]`` that sum to 1 in each channel."""
        shade_BYXC = (pixels_BYXC.long() * self.bins) // 256
        shades = [(shade_BYXC == shade).float().mean(dim=(1, 2)) for shade in range(self.bins)]
        return torch.stack(shades, dim=2).flatten(1)


HISTOGRAM = EncoderEntry(HistogramEncoder, "shades of each channel, one token", "Swain and Ballard 1991")
