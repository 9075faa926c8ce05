"""Opening pictures: files, bytes, arrays and PIL images, checked before they are decoded, upright and opaque."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import NUMPY_MAGIC, as_array, load_npy, read_media

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "TGA", "ICO", "QOI")
ORIENTATION = 0x0112
JPEG = ("JPEG", "MPO")
TURNED = (5, 6, 7, 8)
"""Orientations in which width and height change places."""


def open_image(
    cell: Cell, folder: Path | None, max_pixels: int, *, draft: Callable[[Picture], tuple[int, int]] | None = None
) -> Picture:
    """Open a picture cell, upright and without transparency.

    Args:
        cell: Path, bytes, struct, array or PIL image.
        folder: Where relative paths begin; None refuses strings as paths.
        max_pixels: A picture that declares more is refused before it is decoded.
        draft: Given the picture before it is decoded, returns the width and height that are large enough: a JPEG is
            decoded at a half, a quarter or an eighth where that is no smaller. None: full scale.

    Returns:
        A PIL image in mode L or RGB.

    Raises:
        CellReadError: If there is no readable picture.
    """
    content = read_media(cell, folder)
    if isinstance(content, bytes) and not content.startswith(NUMPY_MAGIC):
        picture = open_header(io.BytesIO(content), max_pixels)
        check_num_pixels(picture.width, picture.height, max_pixels)
        if draft is not None and picture.format in JPEG:
            picture.draft(None, draft(picture))
        return _plain(picture)
    if isinstance(content, pillow().Image):
        check_num_pixels(content.width, content.height, max_pixels)
        return _plain(_copy(content))
    values = load_npy(content) if isinstance(content, bytes) else as_array(content)
    return _plain(pillow().fromarray(_picture_array(values, max_pixels)))


@cache
def pillow() -> Any:
    """Return ``PIL.Image``, imported with the first picture; ``max_pixels`` is the limit, not Pillow's lower one."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image


def open_header(file: IO[bytes], max_pixels: int) -> Picture:
    """Open a picture file without decoding its pixels.

    Args:
        file: The file, at its start.
        max_pixels: For the message where the header declares more than Pillow opens.

    Returns:
        A PIL image that is not loaded.

    Raises:
        CellReadError: If the file is in no known format.
    """
    try:
        picture: Picture = pillow().open(file, formats=FORMATS)
    except (pillow().DecompressionBombError, pillow().DecompressionBombWarning) as error:
        declared = re.search(r"\d+", str(error))
        count = f"{int(declared.group()):,}" if declared else "too many"
        raise CellReadError(f"declares {count} pixels, above the limit of {max_pixels:,}") from None
    except pillow().UnidentifiedImageError:
        raise CellReadError("is not a picture in a known format (PNG, JPEG, WebP, TIFF, GIF, BMP, ...)") from None
    return picture


def check_num_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture that is too large or has no pixels.

    Args:
        width: In pixels.
        height: In pixels.
        max_pixels: Most pixels that are decoded.

    Raises:
        CellReadError: If it is refused.
    """
    if width * height > max_pixels:
        raise CellReadError(f"declares {width} x {height} pixels, above the limit of {max_pixels:,}")
    if not width * height:
        raise CellReadError("is a picture without pixels")


def _copy(picture: Picture) -> Picture:
    _load(picture)
    return picture.copy()


def _load(picture: Picture) -> None:
    try:
        picture.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise CellReadError(f"is a damaged picture: {error}") from None


def convert_mode(picture: Picture, mode: str) -> Picture:
    """Return a picture in a mode, itself where it is in that mode already.

    Args:
        picture: Any picture.
        mode: Pillow's name of the mode.

    Returns:
        The picture.
    """
    return picture if picture.mode == mode else picture.convert(mode)


def _plain(picture: Picture) -> Picture:
    """Return a picture upright, on white, in mode L or RGB."""
    _load(picture)
    picture = _upright(picture)
    if picture.mode.startswith(("I", "F")):
        return _from_deep(picture)
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _on_white(picture)
    return convert_mode(picture, "L" if picture.mode in ("1", "L") else "RGB")


def exif_orientation(picture: Picture) -> int:
    """Return how a picture is to be turned.

    Args:
        picture: As opened, with its metadata.

    Returns:
        Exif's number, 1 to 8; 1 is upright.
    """
    if not picture.info:
        return 1
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata does not break a picture
        return 1


def _upright(picture: Picture) -> Picture:
    orientation = exif_orientation(picture)
    if orientation == 1:
        return picture
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(turns[orientation]) if orientation in turns else picture


def _from_deep(picture: Picture) -> Picture:
    """Bring 16-bit, 32-bit and float pictures to 8 bits."""
    values = np.asarray(picture)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and values.max() > 255):
        if values.max() > 65535 or values.min() < 0:
            raise CellReadError("holds 32-bit values outside 0..65535")
        values = values.astype(np.uint16)
    bright: Picture = pillow().fromarray(to_bytes(values))
    return bright


def _on_white(picture: Picture) -> Picture:
    is_grey = picture.mode in ("LA", "La", "L", "1")
    picture = picture.convert("RGBA")
    ground = pillow().new("RGBA", picture.size, "white")
    opaque: Picture = pillow().alpha_composite(ground, picture)
    return opaque.convert("L" if is_grey else "RGB")


def _picture_array(values: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (1, 2, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 2, 3, 4)):
        raise CellReadError(
            f"is an array of shape {list(values.shape)}; expected [height, width] or [height, width, 1..4]"
        )
    check_num_pixels(values.shape[1], values.shape[0], max_pixels)
    pixels = to_bytes(values)
    return np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring the pixels of an array to 0..255.

    Args:
        values: Any shape; see ``Image`` for what each dtype means.

    Returns:
        uint8 of the same shape.

    Raises:
        CellReadError: If a value is out of range, NaN or infinite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not np.isfinite(values).all():
        raise CellReadError(f"holds {int((~np.isfinite(values)).sum()):,} values that are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise CellReadError(f"holds values in {low:g}..{high:g}; expected 0..255, or 0..1 for floats")
    scale = 255.0 if values.dtype.kind == "f" and high <= 1 else 1.0
    return np.rint(values * scale).astype(np.uint8)
