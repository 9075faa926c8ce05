"""Loads images from files, bytes, arrays and PIL images: checked before decoding, upright, without transparency."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.dicom import is_dicom, load_dicom
from polymodal.modalities.media import NUMPY_MAGIC, as_array, load_npy, read_media

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "TGA", "ICO", "QOI")
DEEPEST = 65535
WHITES = (255, 1023, 4095, 16383, DEEPEST)
"""The largest values of 8, 10, 12, 14 and 16 bits, which scanners and cameras give in files of 16 bits."""
HEIF = "HEIF"
"""The format of phones (HEIC), which Pillow opens where pillow-heif is installed."""
SVG, SVG_HEAD = re.compile(rb"\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg)(?s:.)*", re.IGNORECASE), 1000
ORIENTATION = 0x0112
JPEG = ("JPEG", "MPO")
TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


def open_image(
    cell: Cell,
    folder: Path | None,
    max_pixels: int,
    *,
    draft: Callable[[PILImage], tuple[int, int]] | None = None,
    white: int = DEEPEST,
) -> PILImage:
    """Load an image cell, upright and without transparency.

    Args:
        cell: Path, bytes, struct, array or PIL image.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        max_pixels: An image that declares more is refused before it is decoded.
        draft: Given the image before it is decoded, returns the width and height that are large enough: a JPEG is
            decoded at a half, a quarter or an eighth where that is no smaller. None: full scale.
        white: The 16-bit value that becomes 255.

    Returns:
        A PIL image in mode L or RGB.

    Raises:
        CellReadError: If there is no readable image.
    """
    content = _read_picture(cell, folder, max_pixels)
    if isinstance(content, bytes) and not content.startswith(NUMPY_MAGIC):
        image = open_header(io.BytesIO(content), max_pixels)
        check_num_pixels(image.width, image.height, max_pixels)
        if draft is not None and image.format in JPEG:
            image.draft(None, draft(image))
        return _normalise_mode(image, white)
    if isinstance(content, pillow().Image):
        check_num_pixels(content.width, content.height, max_pixels)
        return _normalise_mode(_copy(content), white)
    values = load_npy(content) if isinstance(content, bytes) else as_array(content)
    return _normalise_mode(pillow().fromarray(_to_image_array(values, max_pixels, white)), white)


def _read_picture(cell: Cell, folder: Path | None, max_pixels: int) -> Any:
    """Return the bytes of a file that Pillow may know, or an array or picture."""
    content = read_media(cell, folder)
    if not isinstance(content, bytes):
        return content
    if SVG.match(content[:SVG_HEAD]):
        raise CellReadError("is an SVG drawing, which is not rendered here; save it as PNG")
    return load_dicom(content, max_pixels) if is_dicom(content) else content


def largest_deep_value(cell: Cell, folder: Path | None, max_pixels: int) -> int:
    """Return the largest value of an image of 16 bits.

    Args:
        cell: As for ``open_image``.
        folder: As for ``open_image``.
        max_pixels: As for ``open_image``.

    Returns:
        The value; 0 for images of other depths.

    Raises:
        CellReadError: If there is no readable image.
    """
    content = _read_picture(cell, folder, max_pixels)
    if isinstance(content, bytes) and not content.startswith(NUMPY_MAGIC):
        image = open_header(io.BytesIO(content), max_pixels)
        if not image.mode.startswith("I"):
            return 0
        check_num_pixels(image.width, image.height, max_pixels)
        return max(0, int(np.asarray(image).max()))
    values = load_npy(content) if isinstance(content, bytes) else np.asarray(content)
    return int(values.max()) if values.dtype == np.uint16 and values.size else 0


def white_of(largest: Sequence[int]) -> int:
    """Return the 16-bit value that becomes white: the largest of the fewest bits that all values fit into.

    Args:
        largest: The largest value of each image of 16 bits; zeros do not count.

    Returns:
        255, 1023, 4095, 16383 or 65535.
    """
    most = max(largest, default=0) or DEEPEST
    return next(whites for whites in WHITES if most <= whites)


@cache
def pillow() -> Any:
    """Return ``PIL.Image``, imported lazily, without Pillow's own limit of pixels (``max_pixels`` is the limit)."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return Image


def open_header(file: IO[bytes], max_pixels: int) -> PILImage:
    """Open an image file without decoding its pixels.

    Args:
        file: The file, at its start.
        max_pixels: For the message where the header declares more than Pillow opens.

    Returns:
        A PIL image that is not loaded.

    Raises:
        CellReadError: If the file is in no known format.
    """
    try:
        known = [name for name in (*FORMATS, HEIF) if name in FORMATS or name in pillow().OPEN]
        image: PILImage = pillow().open(file, formats=known)
    except (pillow().DecompressionBombError, pillow().DecompressionBombWarning) as error:
        declared = re.search(r"\d+", str(error))
        count = f"{int(declared.group()):,}" if declared else "too many"
        raise CellReadError(f"declares {count} pixels, above the limit of {max_pixels:,}") from None
    except pillow().UnidentifiedImageError:
        file.seek(4)
        if file.read(8).startswith((b"ftyphei", b"ftypmif1", b"ftypmsf1")):
            raise CellReadError(
                "is a HEIC picture, for which pillow-heif is needed: install it with `pip install 'polymodal[formats]'`"
            ) from None
        raise CellReadError("is not a picture in a known format (PNG, JPEG, WebP, TIFF, GIF, BMP, ...)") from None
    return image


def check_num_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image that is too large or has no pixels.

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


def _copy(image: PILImage) -> PILImage:
    _load(image)
    return image.copy()


def _load(image: PILImage) -> None:
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise CellReadError(f"is a damaged picture: {error}") from None


def convert_mode(image: PILImage, mode: str) -> PILImage:
    """Convert an image to a mode; an image that is in the mode is returned as it is.

    Args:
        image: Any image.
        mode: Pillow's name of the mode.

    Returns:
        The image.
    """
    return image if image.mode == mode else image.convert(mode)


def _normalise_mode(image: PILImage, white: int) -> PILImage:
    """Return an image upright, on a white background, in mode L or RGB."""
    _load(image)
    image = _apply_orientation(image)
    if image.mode.startswith(("I", "F")):
        return _to_8_bit(image, white)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _composite_on_white(image)
    return convert_mode(image, "L" if image.mode in ("1", "L") else "RGB")


def exif_orientation(image: PILImage) -> int:
    """Return the EXIF orientation of an image.

    Args:
        image: As opened, with its metadata.

    Returns:
        Exif's number, 1 to 8; 1 is upright.
    """
    if not image.info:
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged metadata does not break an image
        return 1


def _apply_orientation(image: PILImage) -> PILImage:
    orientation = exif_orientation(image)
    if orientation == 1:
        return image
    from PIL.Image import Transpose

    transposes = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(transposes[orientation]) if orientation in transposes else image


def _to_8_bit(image: PILImage, white: int) -> PILImage:
    """Convert 16-bit, 32-bit and float images to 8 bits."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.max() > 255):
        if values.max() > 65535 or values.min() < 0:
            raise CellReadError("holds 32-bit values outside 0..65535")
        values = values.astype(np.uint16)
    converted: PILImage = pillow().fromarray(to_bytes(values, white))
    return converted


def _composite_on_white(image: PILImage) -> PILImage:
    is_grey = image.mode in ("LA", "La", "L", "1")
    image = image.convert("RGBA")
    background = pillow().new("RGBA", image.size, "white")
    opaque: PILImage = pillow().alpha_composite(background, image)
    return opaque.convert("L" if is_grey else "RGB")


def _to_image_array(values: NDArray[Any], max_pixels: int, white: int) -> NDArray[np.uint8]:
    if values.ndim == 3 and values.shape[0] in (1, 3, 4) and values.shape[2] not in (1, 2, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 2, 3, 4)):
        raise CellReadError(
            f"is an array of shape {list(values.shape)}; expected [height, width] or [height, width, 1..4]"
        )
    check_num_pixels(values.shape[1], values.shape[0], max_pixels)
    pixels = to_bytes(values, white)
    return np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def to_bytes(values: NDArray[Any], white: int = DEEPEST) -> NDArray[np.uint8]:
    """Convert the pixels of an array to 0..255.

    Args:
        values: Any shape; see ``Image`` for what each dtype means.
        white: The value of 16 bits that becomes 255; larger ones do too.

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
        scaled = (values.astype(np.uint64) * 255 + white // 2) // white
        return np.minimum(scaled, 255).astype(np.uint8)
    if not np.isfinite(values).all():
        raise CellReadError(f"holds {int((~np.isfinite(values)).sum()):,} values that are NaN or infinite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise CellReadError(f"holds values in {low:g}..{high:g}; expected 0..255, or 0..1 for floats")
    scale = 255.0 if values.dtype.kind == "f" and high <= 1 else 1.0
    return np.rint(values * scale).astype(np.uint8)
