"""Images as ``data:`` URIs of PNG files."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

PNG_URI = "data:image/png;base64,"
Floats = NDArray[np.float64]


def encode_image(pixels_YXC: NDArray[np.uint8]) -> str:
    """Encode an image as a PNG file in a ``data:`` URI.

    Args:
        pixels_YXC: uint8 ``[height, width, channels]``, one channel or three.

    Returns:
        ``data:image/png;base64,...``.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels_YXC[:, :, 0] if pixels_YXC.shape[2] == 1 else pixels_YXC).save(buffer, "png")
    return PNG_URI + base64.b64encode(buffer.getvalue()).decode("ascii")


@lru_cache(maxsize=8192)
def decode_image(uri: str) -> NDArray[np.uint8]:
    """Decode an image of ``encode_image``.

    Args:
        uri: ``data:image/png;base64,...``.

    Returns:
        uint8 ``[height, width, channels]``, read-only.
    """
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(PNG_URI))), formats=["PNG"]) as image:
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def image_errors(truth: Sequence[Cell], predictions: Sequence[Cell]) -> Floats:
    """Compute pixel errors of images.

    Args:
        truth: Images ``[N]`` as ``data:`` URIs.
        predictions: Images ``[N]`` of the same sizes.

    Returns:
        Mean squared and mean absolute error of each, float64 ``[N, 2]``, black being 0 and white 1.
    """
    pairs = (
        (decode_image(str(true)), decode_image(str(predicted)))
        for true, predicted in zip(truth, predictions, strict=True)
    )
    errors = [(predicted.astype(np.float64) - true) / 255 for true, predicted in pairs]
    return np.array([((error**2).mean(), np.abs(error).mean()) for error in errors]).reshape(-1, 2)
