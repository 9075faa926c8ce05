"""Letterboxing (YOLO): an image resized to fit into an output size with its aspect ratio kept, centred and padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

BILINEAR = 2
"""``Resampling.BILINEAR`` of Pillow, without importing it."""


@dataclass(frozen=True)
class Letterbox:
    """Where a resized image lies in the padded output.

    Attributes:
        original_size: Height and width of the image before it was resized.
        resized_size: Its height and width in the output.
        top: Rows of padding above it.
        left: Columns of padding to its left.

    Example:
        >>> Letterbox.fit((240, 320), (80, 80))
        Letterbox(original_size=(240, 320), resized_size=(60, 80), top=10, left=0)
    """

    original_size: tuple[int, int]
    resized_size: tuple[int, int]
    top: int
    left: int

    @classmethod
    def fit(cls, original_size: tuple[int, int], output_size: tuple[int, int]) -> Letterbox:
        """Compute the largest size that fits with the aspect ratio kept.

        Args:
            original_size: Height and width of the image.
            output_size: Height and width of the padded output.

        Returns:
            Size and position of the resized image.
        """
        scale = min(output_size[0] / original_size[0], output_size[1] / original_size[1])
        height, width = (
            min(side, max(1, round(own * scale))) for own, side in zip(original_size, output_size, strict=True)
        )
        return cls(original_size, (height, width), (output_size[0] - height) // 2, (output_size[1] - width) // 2)

    def to_padded(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Convert boxes from pixels of the original image to pixels of the padded output.

        Args:
            boxes: ``[..., 4]``: x_min, y_min, x_max, y_max in pixels of the original image.

        Returns:
            The boxes in pixels of the padded output.
        """
        return np.asarray(boxes * self._scale() + self._offset(), dtype=np.float64)

    def to_original(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Convert boxes from pixels of the padded output to pixels of the original image.

        Args:
            boxes: ``[..., 4]`` in pixels of the padded output.

        Returns:
            The boxes in pixels of the original image.
        """
        return np.asarray((boxes - self._offset()) / self._scale(), dtype=np.float64)

    def _scale(self) -> NDArray[np.float64]:
        y_scale, x_scale = (new / old for new, old in zip(self.resized_size, self.original_size, strict=True))
        return np.array([x_scale, y_scale, x_scale, y_scale])

    def _offset(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top, self.left, self.top], dtype=np.float64)


def resize_and_pad(image: PILImage, height: int, width: int) -> NDArray[np.uint8]:
    """Resize an image to fit into a size and pad it with the colour of its border.

    Args:
        image: In mode L or RGB.
        height: Height of the output in pixels.
        width: Width of the output in pixels.

    Returns:
        uint8 ``[height, width, channels]``.
    """
    if (image.height, image.width) == (height, width):
        return np.asarray(image).reshape(height, width, -1)
    letterbox = Letterbox.fit((image.height, image.width), (height, width))
    resized_H, resized_W = letterbox.resized_size
    if (resized_H, resized_W) != (image.height, image.width):
        image = image.resize((resized_W, resized_H), BILINEAR)
    pixels = np.asarray(image).reshape(resized_H, resized_W, -1)
    if (resized_H, resized_W) == (height, width):
        return pixels
    padded = np.empty((height, width, pixels.shape[2]), np.uint8)
    padded[:] = _border_colour(pixels)
    padded[letterbox.top : letterbox.top + resized_H, letterbox.left : letterbox.left + resized_W] = pixels
    return padded


def _border_colour(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the median of the pixels at the border."""
    edges = np.concatenate([pixels_HWC[0], pixels_HWC[-1], pixels_HWC[:, 0], pixels_HWC[:, -1]])
    edges = np.sort(edges, axis=0).astype(np.uint16)  # much faster than np.median
    return np.asarray((edges[(len(edges) - 1) // 2] + edges[len(edges) // 2]) // 2, np.uint8)
