"""Random affine transformations of training pictures and of the bounding boxes in them (torch).

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
    """Ranges of a random affine transformation.

    Attributes:
        flip_x: Whether pictures may be flipped horizontally.
        flip_y: Whether pictures may be flipped vertically.
        scale: Largest relative change of scale: 0.25 allows 1 / 1.25 to 1.25.
        shift: Largest shift, as a fraction of width and height.
    """

    flip_x: bool = True
    flip_y: bool = False
    scale: float = 0.25
    shift: float = 0.1


@dataclass(frozen=True)
class Warp:
    """An affine transformation of each picture of a batch: x becomes ``factor * x + offset``, in pixels, y likewise.

    Attributes:
        factor: ``[B, 2]`` for x and y; negative where flipped.
        offset: ``[B, 2]`` in pixels.
        size: Width and height of the pictures.
    """

    factor: Tensor
    offset: Tensor
    size: tuple[int, int]

    @staticmethod
    def sample(num_rows: int, size: tuple[int, int], limits: WarpLimits) -> Warp:
        """Sample a transformation for each picture, relative to its centre.

        Args:
            num_rows: B.
            size: Width and height of the pictures.
            limits: The ranges.

        Returns:
            The transformations.
        """
        sides = torch.tensor(size, dtype=torch.float32)
        flips = torch.rand(num_rows, 2) < 0.5 * torch.tensor([limits.flip_x, limits.flip_y])
        scale = (_uniform(num_rows, 1) * torch.tensor(1 + limits.scale).log()).exp()
        factor = torch.where(flips, -scale, scale)
        return Warp(factor, sides / 2 * (1 - factor) + _uniform(num_rows, 2) * limits.shift * sides, size)

    def apply_to_pictures(self, column: ColumnBatch) -> ColumnBatch:
        """Transform pictures, and change brightness and tint; pixels from outside have the picture's mean colour.

        Args:
            column: Values uint8 ``[B, Y, X, C]``.

        Returns:
            The same layout as float32 in 0..255.
        """
        pixels = column.values.permute(0, 3, 1, 2).float()
        mean = pixels.mean(dim=(2, 3), keepdim=True)
        grid = functional.affine_grid(self._inverse_matrices(), list(pixels.shape), align_corners=False)
        moved = functional.grid_sample(pixels - mean, grid, padding_mode="zeros", align_corners=False) + mean
        gain = (1 + BRIGHTNESS * _uniform(len(column), 1)) * (1 + TINT * _uniform(len(column), pixels.shape[1]))
        augmented = (moved * gain[:, :, None, None]).clamp(0, 255)
        return ColumnBatch(augmented.permute(0, 2, 3, 1), column.present, column.lengths)

    def _inverse_matrices(self) -> Tensor:
        """Return the matrices ``[B, 2, 3]`` from new to old coordinates, both from -1 to 1."""
        sides = torch.tensor(self.size, dtype=torch.float32)
        constant = (1 - 2 * self.offset / sides) / self.factor - 1
        return torch.cat([torch.diag_embed(1 / self.factor), constant.unsqueeze(2)], dim=2)

    def apply_to_boxes(self, boxes_BM4: Tensor) -> tuple[Tensor, Tensor]:
        """Transform bounding boxes.

        Args:
            boxes_BM4: x_min, y_min, x_max, y_max in pixels.

        Returns:
            The transformed boxes, clipped to the picture, and, ``[B, M]``, the fraction of each that is inside of it.
        """
        factor, offset = (values.repeat(1, 2).unsqueeze(1) for values in (self.factor, self.offset))
        moved = boxes_BM4 * factor + offset
        low, high = torch.minimum(moved[..., :2], moved[..., 2:]), torch.maximum(moved[..., :2], moved[..., 2:])
        sides = torch.tensor(self.size, dtype=moved.dtype)
        clipped_low, clipped_high = low.clamp(min=0).minimum(sides), high.clamp(min=0).minimum(sides)
        visible = (clipped_high - clipped_low).prod(dim=2) / (high - low).prod(dim=2).clamp(min=1e-6)
        return torch.cat([clipped_low, clipped_high], dim=2), visible


def _uniform(num_rows: int, size: int) -> Tensor:
    return torch.empty(num_rows, size).uniform_(-1, 1)
