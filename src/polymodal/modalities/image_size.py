"""The size of an image, read from its header."""

from __future__ import annotations

import io
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.image_files import ORIENTATION, TRANSPOSED_ORIENTATIONS, open_header, open_image
from polymodal.modalities.media import NUMPY_MAGIC, is_absent_media, locate_media, try_decode

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MAX_PIXELS = 50_000_000
CACHE_SIZE = 65_536


def image_size(cell: Cell, folder: Path | None) -> tuple[int, int] | None:
    """Return height and width of an image after its EXIF orientation is applied; only headers are read, and cached.

    The orientation of a PNG is only found if it precedes the pixels, as is usual.

    Args:
        cell: Path, bytes, struct, array or PIL image.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        Height and width in pixels; None where there is no image to read.
    """
    if is_absent_media(cell):
        return None
    found = try_decode(partial(_size, folder=folder), cell)
    return None if isinstance(found, CellReadError) else found


def _size(cell: Cell, folder: Path | None) -> tuple[int, int]:
    content = locate_media(cell, folder)
    if isinstance(content, str):
        status = os.stat(content)
        return _file_size(content, status.st_mtime_ns, status.st_size)
    if isinstance(content, bytes) and not content.startswith(NUMPY_MAGIC):
        return _upright_size(open_header(io.BytesIO(content), MAX_PIXELS))
    return _decoded_size(content)


@lru_cache(CACHE_SIZE)
def _file_size(path: str, _changed_ns: int, _num_bytes: int) -> tuple[int, int]:
    with open(path, "rb") as file:
        is_array = file.read(len(NUMPY_MAGIC)) == NUMPY_MAGIC
        file.seek(0)
        return _decoded_size(file.read()) if is_array else _upright_size(open_header(file, MAX_PIXELS))


def _decoded_size(content: Cell) -> tuple[int, int]:
    image = open_image(content, None, MAX_PIXELS)
    return image.height, image.width


def _upright_size(image: PILImage) -> tuple[int, int]:
    has_orientation = image.format != "PNG" or "exif" in image.info
    is_transposed = has_orientation and image.getexif().get(ORIENTATION, 1) in TRANSPOSED_ORIENTATIONS
    if is_transposed and image.format == "TIFF":
        image.load()  # Pillow transposes a TIFF itself, in some versions only when it is loaded
        return image.height, image.width
    return (image.width, image.height) if is_transposed else (image.height, image.width)
