"""How large a picture is, from its header alone."""

from __future__ import annotations

import io
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.image_files import ORIENTATION, open_header, open_image
from polymodal.modalities.media import NUMPY_MAGIC, is_absent_media, locate_media, try_decode

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 50_000_000
LYING = frozenset({5, 6, 7, 8})
"""EXIF orientations that turn a picture by a quarter."""
REMEMBERED = 65_536


def image_size(cell: Cell, folder: Path | None) -> tuple[int, int] | None:
    """Return a picture's height and width, upright as EXIF says; nothing is decoded, files are read once.

    A PNG's orientation is found where it stands before the pixels, as it usually does.

    Args:
        cell: Path, bytes, struct, array or PIL image.
        folder: Where relative paths begin; None refuses strings as paths.

    Returns:
        Height and width in pixels; None where there is no picture to read.
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


@lru_cache(REMEMBERED)
def _file_size(path: str, _changed_ns: int, _num_bytes: int) -> tuple[int, int]:
    with open(path, "rb") as file:
        is_array = file.read(len(NUMPY_MAGIC)) == NUMPY_MAGIC
        file.seek(0)
        return _decoded_size(file.read()) if is_array else _upright_size(open_header(file, MAX_PIXELS))


def _decoded_size(content: Cell) -> tuple[int, int]:
    picture = open_image(content, None, MAX_PIXELS)
    return picture.height, picture.width


def _upright_size(picture: Picture) -> tuple[int, int]:
    has_orientation = picture.format != "PNG" or "exif" in picture.info
    is_lying = has_orientation and picture.getexif().get(ORIENTATION, 1) in LYING
    if is_lying and picture.format == "TIFF":
        picture.load()  # Pillow turns a TIFF itself, some versions before they load it
        return picture.height, picture.width
    return (picture.width, picture.height) if is_lying else (picture.height, picture.width)
