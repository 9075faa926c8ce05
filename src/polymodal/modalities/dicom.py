"""Pictures of DICOM files (X-rays, CT, MR) as arrays, through pydicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, quote

MAGIC, MAGIC_START = b"DICM", 128


def is_dicom(content: bytes) -> bool:
    """Tell whether bytes are a DICOM file."""
    return content[MAGIC_START : MAGIC_START + len(MAGIC)] == MAGIC


def load_dicom(content: bytes, max_pixels: int) -> NDArray[Any]:
    """Read the picture of a DICOM file; of several frames the first.

    Args:
        content: The whole file.
        max_pixels: A picture whose header declares more is refused before it is decoded.

    Returns:
        uint8 or uint16 ``[height, width]`` or ``[height, width, 3]``; dark is low, signed values begin at 0.

    Raises:
        CellReadError: If it is damaged or has no picture, or pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise CellReadError(
            "is a DICOM file, for which pydicom is needed: install it with `pip install 'polymodal[formats]'`"
        ) from None
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames", 1) or 1)
        if count > max_pixels:
            raise CellReadError(f"declares {count:,} pixels, above the limit of {max_pixels:,}")
        values = np.asarray(dataset.pixel_array)
    except CellReadError:
        raise
    except Exception as error:  # pydicom raises many kinds on damaged files
        raise CellReadError(f"is not a readable DICOM picture: {quote(str(error), 120)}") from None
    return _as_unsigned(_first_frame(values, int(dataset.get("SamplesPerPixel", 1))), dataset)


def _first_frame(values: NDArray[Any], channels: int) -> NDArray[Any]:
    return values[0] if values.ndim > (2 if channels == 1 else 3) else values


def _as_unsigned(values: NDArray[Any], dataset: Any) -> NDArray[Any]:
    if values.dtype == np.uint8:
        return 255 - values if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else values
    whole = values.astype(np.int64)
    if values.dtype.kind == "i":
        whole = whole + 2 ** (int(dataset.get("BitsStored", 16)) - 1)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        whole = 2 ** int(dataset.get("BitsStored", 16)) - 1 - whole
    return np.clip(whole, 0, 65535).astype(np.uint16)
