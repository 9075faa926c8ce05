"""Corruptions of pictures: noise, blur, JPEG, brightness, occlusion, rotation.

Noise, JPEG and brightness have the levels of ImageNet-C (Hendrycks & Dietterich 2019, arXiv 1903.12261, appendix B).
Differs from the source: blur and occlusion are measured by the picture's size, not in pixels of 224, because cells have
any size. Occlusion is Cutout (DeVries & Taylor 2017, arXiv 1708.04552) with one grey square.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptCell, CorruptionContext
from polymodal.modalities.image_files import open_image, pillow

Pixels = NDArray[np.uint8]
"""``[height, width]`` or ``[height, width, 3]``, 0..255."""
CorruptPixels = Callable[[Pixels, float, np.random.Generator], Pixels]

MAX_PIXELS = 50_000_000
GREY = 127


def on_picture(corrupt: CorruptPixels) -> CorruptCell:
    """Turn a corruption of pixels into one of cells.

    Args:
        corrupt: From pixels, level and random numbers to pixels of the same shape.

    Returns:
        The corruption of a cell; the corrupted cell is a uint8 array of the size of the picture.
    """

    def corrupt_cell(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
        image = open_image(cell, context.folder, context.option("max_pixels", MAX_PIXELS))
        return corrupt(np.asarray(image), level, random)

    return corrupt_cell


def add_pixel_noise(pixels: Pixels, level: float, random: np.random.Generator) -> Pixels:
    """Add Gaussian noise.

    Args:
        pixels: uint8 ``[height, width]`` or ``[height, width, 3]``.
        level: Standard deviation as a share of the range from black to white.
        random: Random numbers.

    Returns:
        The same shape and dtype.
    """
    noise = random.standard_normal(pixels.shape, np.float32)
    return to_pixels(pixels + 255 * level * noise)


def blur(pixels: Pixels, level: float, random: np.random.Generator) -> Pixels:  # noqa: ARG001
    """Blur with a Gaussian kernel.

    Args:
        pixels: As for ``add_pixel_noise``.
        level: Standard deviation of the kernel as a share of the shorter side.
        random: Not needed.

    Returns:
        The same shape and dtype.
    """
    from scipy.ndimage import gaussian_filter

    deviation = level * min(pixels.shape[:2])
    per_axis = (deviation, deviation, 0)[: pixels.ndim]
    return to_pixels(gaussian_filter(pixels.astype(np.float32), per_axis, mode="nearest"))


def compress(pixels: Pixels, level: float, random: np.random.Generator) -> Pixels:  # noqa: ARG001
    """Compress as JPEG and decode again.

    Args:
        pixels: As for ``add_pixel_noise``.
        level: JPEG quality, 1 to 95.
        random: Not needed.

    Returns:
        The same shape and dtype.
    """
    file = io.BytesIO()
    pillow().fromarray(pixels).save(file, "JPEG", quality=round(level))
    file.seek(0)
    return np.asarray(pillow().open(file))


def brighten(pixels: Pixels, level: float, random: np.random.Generator) -> Pixels:  # noqa: ARG001
    """Raise the brightness, the value V of HSV, which keeps hue and saturation.

    Args:
        pixels: As for ``add_pixel_noise``.
        level: What is added to V, which lies in 0..1.
        random: Not needed.

    Returns:
        The same shape and dtype.
    """
    if pixels.ndim == 2:
        return to_pixels(pixels + 255 * level)
    value = pixels.max(axis=2, keepdims=True).astype(np.float32)
    raised = np.minimum(value + 255 * level, 255)
    return to_pixels(np.where(value > 0, pixels * (raised / np.maximum(value, 1)), raised))


def occlude(pixels: Pixels, level: float, random: np.random.Generator) -> Pixels:
    """Cover a square at a random place with grey.

    Args:
        pixels: As for ``add_pixel_noise``.
        level: Covered share of the picture's area; the square has the picture's aspect.
        random: Random numbers.

    Returns:
        The same shape and dtype.
    """
    covered = pixels.copy()
    height, width = (max(1, round(side * level**0.5)) for side in pixels.shape[:2])
    down, right = random.random(2)
    top, left = round(down * (pixels.shape[0] - height)), round(right * (pixels.shape[1] - width))
    covered[top : top + height, left : left + width] = GREY
    return covered


def rotate(pixels: Pixels, level: float, random: np.random.Generator) -> Pixels:
    """Rotate about the middle to either side; corners are filled with the mean colour of the border.

    Args:
        pixels: As for ``add_pixel_noise``.
        level: Degrees.
        random: Random numbers.

    Returns:
        The same shape and dtype.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    fill: Any = tuple(int(value) for value in np.atleast_1d(border.mean(axis=0)))
    angle = level if random.random() < 0.5 else -level
    image = pillow().fromarray(pixels)
    turned = image.rotate(angle, pillow().Resampling.BILINEAR, fillcolor=fill if pixels.ndim == 3 else fill[0])
    return np.asarray(turned)


def to_pixels(values: NDArray[Any]) -> Pixels:
    """Round and limit values to pixels.

    Args:
        values: Any shape, in 0..255 and beyond.

    Returns:
        uint8 of the same shape.
    """
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels
