"""Images resized and center-cropped as the preprocessors of pretrained checkpoints do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
MAX_ASPECT_RATIO = 8
"""A more elongated image is cropped to its middle before it is resized, which could take too much memory."""


def resize_and_center_crop(
    image: PILImage, height: int, width: int, keep_aspect: bool, crop_share: float, resample: Resample
) -> NDArray[np.uint8]:
    """Resize an image so that it covers the output size divided by ``crop_share``, and crop the center.

    Args:
        image: In mode L or RGB.
        height: Height of the output in pixels.
        width: Width of the output in pixels.
        keep_aspect: Whether the aspect ratio is kept; else both sides are resized independently.
        crop_share: Share of each side that the center crop keeps.
        resample: Pillow's resampling filter.

    Returns:
        uint8 ``[height, width, channels]``.
    """
    from PIL.Image import Resampling

    full_H, full_W = int(height / crop_share + 1e-6), int(width / crop_share + 1e-6)
    if keep_aspect:
        image = _limit_aspect_ratio(image, MAX_ASPECT_RATIO * width / height, MAX_ASPECT_RATIO * height / width)
        scaled_H = int(full_W * image.height / image.width)
        scaled_W = int(full_H * image.width / image.height)
        full_H, full_W = max(full_H, scaled_H), max(full_W, scaled_W)
    if (full_H, full_W) != (image.height, image.width):
        image = image.resize((full_W, full_H), Resampling[resample.upper()])
    top, left = (full_H - height) // 2, (full_W - width) // 2
    return np.asarray(image.crop((left, top, left + width, top + height))).reshape(height, width, -1)


def _limit_aspect_ratio(image: PILImage, max_width_to_height: float, max_height_to_width: float) -> PILImage:
    width = min(image.width, max(1, int(image.height * max_width_to_height)))
    height = min(image.height, max(1, int(image.width * max_height_to_width)))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
