"""Where a picture lies in a frame of another size: scaled to fit, in the middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

BILINEAR = 2
"""Pillow's number of the filter."""


@dataclass(frozen=True)
class Letterbox:
    """A picture inside a frame, in pixels of the frame.

    Attributes:
        picture: Height and width of the picture before it was scaled.
        inner: Height and width it has in the frame.
        top: Rows of padding above it.
        left: Columns of padding left of it.

    Example:
        >>> Letterbox.fit((240, 320), (80, 80))
        Letterbox(picture=(240, 320), inner=(60, 80), top=10, left=0)
    """

    picture: tuple[int, int]
    inner: tuple[int, int]
    top: int
    left: int

    @classmethod
    def fit(cls, picture: tuple[int, int], frame: tuple[int, int]) -> Letterbox:
        """Scale a picture to fit, keeping its aspect.

        Args:
            picture: Height and width.
            frame: Height and width.

        Returns:
            Where it lies.
        """
        scale = min(frame[0] / picture[0], frame[1] / picture[1])
        height, width = (min(side, max(1, round(own * scale))) for own, side in zip(picture, frame, strict=True))
        return cls(picture, (height, width), (frame[0] - height) // 2, (frame[1] - width) // 2)

    def to_padded(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Carry boxes from the picture into the frame.

        Args:
            boxes: ``[..., 4]``: x_min, y_min, x_max, y_max in pixels of the picture.

        Returns:
            The same in pixels of the frame.
        """
        return np.asarray(boxes * self._scale() + self._offset(), dtype=np.float64)

    def to_original(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Carry boxes from the frame back into the picture.

        Args:
            boxes: ``[..., 4]`` in pixels of the frame.

        Returns:
            The same in pixels of the picture.
        """
        return np.asarray((boxes - self._offset()) / self._scale(), dtype=np.float64)

    def _scale(self) -> NDArray[np.float64]:
        vertical, horizontal = (inner / own for inner, own in zip(self.inner, self.picture, strict=True))
        return np.array([horizontal, vertical, horizontal, vertical])

    def _offset(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top, self.left, self.top], dtype=np.float64)


def resize_and_pad(picture: Picture, height: int, width: int) -> NDArray[np.uint8]:
    """Scale a picture to fit a box, and fill the rest with the colour of its border.

    Args:
        picture: In mode L or RGB.
        height: Of the box, in pixels.
        width: Of the box, in pixels.

    Returns:
        uint8 ``[height, width, channels]``.
    """
    if (picture.height, picture.width) == (height, width):
        return np.asarray(picture).reshape(height, width, -1)
    place = Letterbox.fit((picture.height, picture.width), (height, width))
    inner_H, inner_W = place.inner
    if (inner_H, inner_W) != (picture.height, picture.width):
        picture = picture.resize((inner_W, inner_H), BILINEAR)
    pixels = np.asarray(picture).reshape(inner_H, inner_W, -1)
    if (inner_H, inner_W) == (height, width):
        return pixels
    boxed = np.empty((height, width, pixels.shape[2]), np.uint8)
    boxed[:] = _border_colour(pixels)
    boxed[place.top : place.top + inner_H, place.left : place.left + inner_W] = pixels
    return boxed


def _border_colour(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the median of the pixels at the border."""
    edges = np.concatenate([pixels_HWC[0], pixels_HWC[-1], pixels_HWC[:, 0], pixels_HWC[:, -1]])
    edges = np.sort(edges, axis=0).astype(np.uint16)  # many times as fast as np.median
    return np.asarray((edges[(len(edges) - 1) // 2] + edges[len(edges) // 2]) // 2, np.uint8)
