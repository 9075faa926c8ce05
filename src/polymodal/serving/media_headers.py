"""Bounds of media, read from their headers before anything is decoded."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from typing import Any

from polymodal.modalities.array_files import PARQUET_MAGIC, ZIP_MAGIC
from polymodal.modalities.audio_files import read_header
from polymodal.modalities.base import CellReadError
from polymodal.modalities.dicom import is_dicom
from polymodal.modalities.image_files import SVG, SVG_HEAD, open_header
from polymodal.modalities.media import NUMPY_MAGIC, load_npy
from polymodal.serving.settings import Limits

VALUE_BYTES = 8
MAX_CHANNELS = 16
MAX_RATE_HZ = 768_000


class TooLargeError(Exception):
    """A cell that declares more than the server takes; the message is one clause."""


def check_media(kind: str, content: bytes, limits: Limits) -> None:
    """Check what a file declares of itself.

    Args:
        kind: The column's modality.
        content: The whole file.
        limits: What the server takes.

    Raises:
        TooLargeError: If it declares more.
        CellReadError: If it is no file of that modality; one clause.
    """
    if not content:
        raise CellReadError("holds no bytes")
    if content.startswith(NUMPY_MAGIC):
        _check_bytes(load_npy(content).nbytes, limits)
    check = CHECKS.get(kind)
    if check is not None:
        check(content, limits)


def _check_bytes(declared: int, limits: Limits) -> None:
    if declared > limits.max_decoded_bytes:
        raise TooLargeError(f"declares {declared:,} bytes, above this server's limit of {limits.max_decoded_bytes:,}")


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise TooLargeError(
            f"declares {width} x {height} pixels, above this server's limit of {limits.max_pixels:,} pixels"
        )


def _check_seconds(seconds: float, limits: Limits) -> None:
    if seconds > limits.max_seconds:
        raise TooLargeError(f"declares {seconds:,.1f} s, above this server's limit of {limits.max_seconds:g} s")


def _check_image(content: bytes, limits: Limits) -> None:
    if content.startswith(NUMPY_MAGIC):
        shape = load_npy(content).shape
        _check_pixels(math.prod(shape[-3:-1] or (1,)), shape[-1] if shape else 1, limits)
        return
    if SVG.match(content[:SVG_HEAD]):
        raise CellReadError("is an SVG drawing, which is not rendered here; send PNG")
    if is_dicom(content):
        return  # its decoder reads the size before the pixels, and the model has a limit of its own
    try:
        image = open_header(io.BytesIO(content), limits.max_pixels)
    except CellReadError as error:
        if "above the limit" in str(error):
            raise TooLargeError(str(error)) from None
        raise
    _check_pixels(image.width, image.height, limits)


def _check_audio(content: bytes, limits: Limits) -> None:
    rate, num_samples, channels = read_header(content, None)
    if channels > MAX_CHANNELS or (rate or 0) > MAX_RATE_HZ:
        raise TooLargeError(
            f"declares {channels} channels at {rate:,} Hz, above this server's limit of {MAX_CHANNELS} at "
            f"{MAX_RATE_HZ:,} Hz"
        )
    _check_seconds(num_samples / (rate or 1), limits)


def _check_video(content: bytes, limits: Limits) -> None:
    if content.startswith(NUMPY_MAGIC):
        return
    from polymodal.modalities.container import best_stream, open_container

    with open_container(content, "video") as container:
        stream = best_stream(container, "video")
        if stream is None:
            return  # a file of sound alone: the model says so
        _check_pixels(int(stream.width), int(stream.height), limits)
        _check_seconds((container.duration or 0) / 1_000_000, limits)


def _check_numbers(content: bytes, limits: Limits) -> None:
    if content.startswith(ZIP_MAGIC):
        _check_archive(content, limits)
    elif content.startswith(PARQUET_MAGIC):
        _check_parquet(content, limits)


def _check_archive(content: bytes, limits: Limits) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            declared = sum(info.file_size for info in archive.infolist())
    except Exception:  # a hostile archive can make its reader raise anything
        raise CellReadError("is not a readable archive") from None
    _check_bytes(declared, limits)


def _check_parquet(content: bytes, limits: Limits) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.ParquetFile(pa.BufferReader(content)).metadata
    except (pa.ArrowException, OSError):
        raise CellReadError("is not a readable .parquet file: it is cut off or damaged") from None
    sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    _check_bytes(max(metadata.num_rows * metadata.num_columns * VALUE_BYTES, sum(sizes)), limits)


CHECKS: dict[str, Callable[[bytes, Limits], Any]] = {
    "image": _check_image,
    "audio": _check_audio,
    "video": _check_video,
    "vector": _check_numbers,
    "series": _check_numbers,
    "points": _check_numbers,
}
"""Modality to the function that checks a file of it."""
