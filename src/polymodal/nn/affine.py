"""Moving training pictures, and what is known of their places along with them (torch).

Shape legend: B rows, Y and X height and width of a picture, C channels, M boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.tokens import ColumnBatch

BRIGHTNESS = 0.15
TINT = 0.08


@dataclass(frozen=True, kw_only=True)
class WarpLimits:
    """How far pictures may be moved.

    Attributes:
        flip_x: Whether left and right may be swapped.
        flip_y: Whether top and bottom may be swapped.
        scale: Largest change of scale, as a share: 0.25 allows 1 / 1.25 to 1.25.
        shift: Largest shift, as a share of the picture's sides.
    """

    flip_x: bool = True
    flip_y: bool = False
    scale: float = 0.25
    shift: float = 0.1


@dataclass(frozen=True)
class Warp:
    """One move of each picture of a batch: x becomes ``factor * x + offset``, in pixels, y likewise.

    Attributes:
        factor: ``[B, 2]`` for x and y; negative where flipped.
        offset: ``[B, 2]`` in pixels.
        size: Width and height of the pictures.
    """

    factor: Tensor
    offset: Tensor
    size: tuple[int, int]

    @staticmethod
    def draw(num_rows: int, size: tuple[int, int], limits: WarpLimits) -> Warp:
        """Draw a move for each picture, about its middle.

        Args:
            num_rows: B.
            size: Width and height of the pictures.
            limits: How far it may go.

        Returns:
            The moves.
        """
        sides = torch.tensor(size, dtype=torch.float32)
        flips = torch.rand(num_rows, 2) < 0.5 * torch.tensor([limits.flip_x, limits.flip_y])
        scale = (_uniform(num_rows, 1) * torch.tensor(1 + limits.scale).log()).exp()
        factor = torch.where(flips, -scale, scale)
        return Warp(factor, sides / 2 * (1 - factor) + _uniform(num_rows, 2) * limits.shift * sides, size)

    def pictures(self, column: ColumnBatch) -> ColumnBatch:
        """Move pictures, and change brightness and tint a little; what comes into view has their mean colour.

        Args:
            column: Values uint8 ``[B, Y, X, C]``.

        Returns:
            The same layout as float32 in 0..255.
        """
        pixels = column.values.permute(0, 3, 1, 2).float()
        mean = pixels.mean(dim=(2, 3), keepdim=True)
        grid = functional.affine_grid(self._back(), list(pixels.shape), align_corners=False)
        moved = functional.grid_sample(pixels - mean, grid, padding_mode="zeros", align_corners=False) + mean
        gain = (1 + BRIGHTNESS * _uniform(len(column), 1)) * (1 + TINT * _uniform(len(column), pixels.shape[1]))
        varied = (moved * gain[:, :, None, None]).clamp(0, 255)
        return ColumnBatch(varied.permute(0, 2, 3, 1), column.present, column.lengths)

    def _back(self) -> Tensor:
        """Return the matrices ``[B, 2, 3]`` from new to old places, both counted from -1 to 1."""
        sides = torch.tensor(self.size, dtype=torch.float32)
        constant = (1 - 2 * self.offset / sides) / self.factor - 1
        return torch.cat([torch.diag_embed(1 / self.factor), constant.unsqueeze(2)], dim=2)

    def boxes(self, boxes_BM4: Tensor) -> tuple[Tensor, Tensor]:
        """Move boxes.

        Args:
            boxes_BM4: x_min, y_min, x_max, y_max in pixels.

        Returns:
            The moved boxes, cut at the border, and, ``[B, M]``, the share of each that is still in view.
        """
        factor, offset = (part.repeat(1, 2).unsqueeze(1) for part in (self.factor, self.offset))
        moved = boxes_BM4 * factor + offset
        low, high = torch.minimum(moved[..., :2], moved[..., 2:]), torch.maximum(moved[..., :2], moved[..., 2:])
        sides = torch.tensor(self.size, dtype=moved.dtype)
        cut_low, cut_high = low.clamp(min=0).minimum(sides), high.clamp(min=0).minimum(sides)
        share = (cut_high - cut_low).prod(dim=2) / (high - low).prod(dim=2).clamp(min=1e-6)
        return torch.cat([cut_low, cut_high], dim=2), share


def _uniform(num_rows: int, size: int) -> Tensor:
    return torch.empty(num_rows, size).uniform_(-1, 1)
