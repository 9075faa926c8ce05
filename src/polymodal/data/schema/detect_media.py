"""What bytes, arrays, lists and array files hold, told from magic numbers, shapes and headers."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.modalities import CellReadError
from polymodal.modalities.array_files import ZIP_MAGIC, load_numbers, plain_lists
from polymodal.modalities.clouds import detect_frame_column
from polymodal.modalities.media import NUMPY_MAGIC

Found = tuple[str, str]
Shape = tuple[int, ...]

BOXES = frozenset({"label", "box"})
HEADERS = 20
POINT_WORDS = ("point", "cloud", "lidar", "radar")
SERIES_WORDS = re.compile(
    r"series|sensor|signal|acceler|gyro|magnetom|(?<![a-z])(?:imu|ecg|ekg|eeg|emg|ppg|trace)(?![a-z])"
)
LONG_LIST = 16
"""A fixed number of values that is named like a series is one from this length on, and a vector below."""
POINT_WIDTH = 3
MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89PNG", 0, "image"),
    (b"\xff\xd8\xff", 0, "image"),
    (b"GIF8", 0, "image"),
    (b"BM", 0, "image"),
    (b"II*\x00", 0, "image"),
    (b"MM\x00*", 0, "image"),
    (b"WEBP", 8, "image"),
    (b"ftypavif", 4, "image"),
    (b"ftypheic", 4, "image"),
    (b"WAVE", 8, "audio"),
    (b"fLaC", 0, "audio"),
    (b"OggS", 0, "audio"),
    (b"ID3", 0, "audio"),
    (b"AIFF", 8, "audio"),
    (b"AIFC", 8, "audio"),
    (b"ftypM4A", 4, "audio"),
    (b"\xff\xfb", 0, "audio"),
    (b"\xff\xf3", 0, "audio"),
    (b"\xff\xf2", 0, "audio"),
    (b"ftyp", 4, "video"),
    (b"AVI ", 8, "video"),
    (b"\x1a\x45\xdf\xa3", 0, "video"),
    (b"\x00\x00\x01\xba", 0, "video"),
    (b"\x93NUMPY", 0, "vector"),
    (b"# .PCD", 0, "points"),
    (b"PAR1", 0, "series"),
)
"""First bytes of a format, where they stand, and what the format holds; the first match wins."""


def sniff(data: bytes) -> str | None:
    """Tell what a file holds by its first bytes.

    Args:
        data: The file.

    Returns:
        A modality, or None where the format is not known.
    """
    return next((kind for magic, start, kind in MAGIC if data[start : start + len(magic)] == magic), None)


def names_points(name: str) -> bool:
    """Return whether a column is named like point clouds."""
    return any(word in name.lower() for word in POINT_WORDS)


def names_series(name: str) -> bool:
    """Return whether a column is named like a sensor series."""
    return SERIES_WORDS.search(name.lower()) is not None


def array_kind(
    name: str, shapes: Sequence[Shape], dtype: np.dtype[Any], arrays: Sequence[np.ndarray[Any, Any]] = ()
) -> Found:
    """Tell what arrays hold.

    Args:
        name: The column's name; it tells point clouds from series.
        shapes: Shapes of some cells.
        dtype: Their dtype.
        arrays: Some of the cells, where they are at hand; a column that counts frames gives point clouds away.

    Returns:
        The modality and one clause why.
    """
    shape, same = shapes[0], len(set(shapes)) == 1
    if len(shape) == 1:
        is_series = not same or (shape[0] >= LONG_LIST and names_series(name))
        return _series(shapes) if is_series else ("vector", f"the cells are lists of {shape[0]} numbers")
    if dtype == np.uint8 and len(shape) == 2:
        return "image", "the cells are arrays [height, width] of bytes"
    if len(shape) == 3 and shape[2] >= POINT_WIDTH and dtype != np.uint8 and names_points(name):
        return "points", f"the cells are arrays [frames, points, {shape[2]}] by the name"
    if len(shape) == 3 and shape[2] in {1, 3, 4}:
        return "image", f"the cells are arrays [height, width, {shape[2]}]"
    if len(shape) == 2:
        return _table_shaped(name, shapes, arrays)
    if len(shape) == 4 and dtype == np.uint8:
        return "video", "the cells are arrays [frames, height, width, channels]"
    if len(shape) == 3 and dtype == np.uint8 and shape[0] not in {1, 3, 4}:
        return "video", "the cells are arrays [frames, height, width] of bytes"
    return "unknown", f"the cells are arrays of {len(shape)} dimensions"


def _series(shapes: Sequence[Shape]) -> Found:
    lengths = [shape[0] for shape in shapes]
    return "series", f"the cells are lists of {min(lengths)} to {max(lengths)} numbers"


def _table_shaped(name: str, shapes: Sequence[Shape], arrays: Sequence[np.ndarray[Any, Any]]) -> Found:
    width = shapes[0][1]
    if width >= POINT_WIDTH and names_points(name):
        return "points", f"the cells are arrays [points, {width}] by the name"
    if width > POINT_WIDTH and not names_series(name) and (frames := _frame_column(arrays)) is not None:
        return "points", f"the cells are arrays [points, {width}] whose column {frames} counts frames"
    return "series", f"the cells are arrays [time, {width}]"


def _frame_column(arrays: Sequence[np.ndarray[Any, Any]]) -> int | None:
    """Find a column that counts frames of varying numbers of points; a clock has as many samples every second."""
    clouds = [array.astype(np.float64) for array in arrays[:HEADERS] if array.ndim == 2]
    column = detect_frame_column(clouds)
    if column is None:
        return None
    counts = [np.unique(cloud[:, column], return_counts=True)[1][:-1] for cloud in clouds]
    return column if any(len(found) and np.ptp(found) > 1 for found in counts) else None


def list_kind(name: str, cells: Sequence[list[Any]]) -> Found:
    """Tell what lists hold.

    Args:
        name: The column's name.
        cells: Some lists.

    Returns:
        The modality and one clause why.
    """
    filled = [cell for cell in cells if len(cell)]
    if not filled:
        return "unknown", "the cells are empty lists"
    first = filled[0][0]
    if isinstance(first, dict):
        if set(first) >= BOXES:
            return "boxes", "the cells are lists of labelled boxes"
        return "unknown", "the cells are lists of records"
    if isinstance(first, str | bool):
        return "categories", "the cells are lists of labels"
    try:
        arrays = [np.asarray(cell, dtype=np.float64) for cell in cells]
    except (TypeError, ValueError):
        return _ragged_kind(filled)
    return array_kind(name, [array.shape for array in arrays], np.dtype(np.float64), arrays)


def _ragged_kind(cells: Sequence[list[Any]]) -> Found:
    """Tell lists of clouds, each cloud of another size, from lists of unequal things."""
    widths = {_point_width(frame) for cell in cells[:HEADERS] for frame in plain_lists(cell) if frame != []}
    if len(widths) == 1 and min(widths) >= POINT_WIDTH:
        return "points", f"the cells are lists of arrays [points, {min(widths)}]"
    return "unknown", "the cells are lists of unequal things"


def _point_width(frame: Any) -> int:
    """Return the values of a cloud's points, 0 where it is no cloud."""
    if not isinstance(frame, list) or not all(isinstance(point, list) for point in frame):
        return 0
    return len(frame[0]) if len({len(point) for point in frame}) == 1 else 0


def bytes_kind(name: str, cells: Sequence[bytes]) -> Found | None:
    """Tell what the bytes of ``.npy`` and ``.npz`` files hold.

    Args:
        name: The column's name.
        cells: Some files.

    Returns:
        The modality and one clause why; None where they are no such files.
    """
    arrays = [array for cell in cells[:HEADERS] if (array := _array_in(cell)) is not None and array.ndim]
    if not arrays:
        return None
    kind, reason = array_kind(name, [array.shape for array in arrays], arrays[0].dtype, arrays)
    if kind == "vector" and cells[0].startswith(ZIP_MAGIC):
        kind = "series"
    return kind, reason.replace("the cells are", "the cells are bytes of files that hold")


def _array_in(content: bytes) -> np.ndarray[Any, Any] | None:
    if not content.startswith((NUMPY_MAGIC, *ZIP_MAGIC)):
        return None
    try:
        return load_numbers(content)
    except CellReadError:
        return None


def json_kind(name: str, cells: Sequence[str]) -> Found | None:
    """Tell what JSON strings hold.

    Args:
        name: The column's name.
        cells: Some strings that start with a bracket.

    Returns:
        The modality and one clause why; None where most are not JSON lists.
    """
    parsed = [value for value in map(_parse, cells) if isinstance(value, list)]
    if len(parsed) <= len(cells) / 2:
        return None
    kind, reason = list_kind(name, parsed)
    return kind, reason.replace("the cells are", "the cells are JSON:")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None


def file_kind(name: str, paths: Sequence[str], folder: Path | None) -> Found:
    """Tell what ``.npy`` and ``.npz`` files hold, from the first few.

    Args:
        name: The column's name.
        paths: Their paths.
        folder: Where relative paths start; None: the files are not opened.

    Returns:
        The modality and one clause why.
    """
    arrays = [] if folder is None else [found for path in paths[:HEADERS] if (found := _array_of(folder / path))]
    if not arrays:
        archive = paths[0].lower().endswith(".npz")
        return ("series" if archive else "vector"), "the cells are paths of array files, none of which could be opened"
    opened = [array for _, array in arrays]
    kind, reason = array_kind(f"{name} {arrays[0][0]}", [array.shape for array in opened], opened[0].dtype, opened)
    if kind == "vector" and paths[0].lower().endswith(".npz"):
        kind = "series"
    return kind, reason.replace("the cells are", "the files hold")


def _array_of(path: Path) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Return a file's first array and its name in an archive; ``.npy`` files are mapped, not read."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return "", loaded
        with loaded:
            key = next(iter(loaded.files))
            return key, loaded[key]
    except (OSError, ValueError, EOFError, StopIteration, zipfile.BadZipFile):
        return None
