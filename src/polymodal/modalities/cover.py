"""Pictures brought to a size without padding, as pretrained checkpoints were given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
LONGEST_ASPECT = 8
"""A longer picture loses its ends before it is scaled: only its middle is wanted, all of it may not fit in memory."""


def cover_box(
    picture: Picture, height: int, width: int, keep_aspect: bool, crop_share: float, resample: Resample
) -> NDArray[np.uint8]:
    """Scale a picture until it covers a box, enlarged by the share that stays, and cut the middle out.

    Args:
        picture: In mode L or RGB.
        height: Of the box, in pixels.
        width: Of the box, in pixels.
        keep_aspect: Whether the picture keeps its aspect; else it is stretched.
        crop_share: Share of each side that stays when the borders are cut off.
        resample: The filter that scales.

    Returns:
        uint8 ``[height, width, channels]``.
    """
    from PIL.Image import Resampling

    full_H, full_W = int(height / crop_share + 1e-6), int(width / crop_share + 1e-6)
    if keep_aspect:
        picture = _without_ends(picture, LONGEST_ASPECT * width / height, LONGEST_ASPECT * height / width)
        tall = int(full_W * picture.height / picture.width)
        wide = int(full_H * picture.width / picture.height)
        full_H, full_W = max(full_H, tall), max(full_W, wide)
    if (full_H, full_W) != (picture.height, picture.width):
        picture = picture.resize((full_W, full_H), Resampling[resample.upper()])
    top, left = (full_H - height) // 2, (full_W - width) // 2
    return np.asarray(picture.crop((left, top, left + width, top + height))).reshape(height, width, -1)


def _without_ends(picture: Picture, max_wide: float, max_tall: float) -> Picture:
    width = min(picture.width, max(1, int(picture.height * max_wide)))
    height = min(picture.height, max(1, int(picture.width * max_tall)))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
