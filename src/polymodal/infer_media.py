"""What bytes, arrays, lists and array files hold, told from magic numbers, shapes and headers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Found = tuple[str, str]
Shape = tuple[int, ...]

BOXES = frozenset({"label", "box"})
HEADERS = 20
POINT_WORDS = ("point", "cloud", "lidar", "radar")
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


def array_kind(name: str, shapes: Sequence[Shape], dtype: np.dtype[Any]) -> Found:
    """Tell what arrays hold.

    Args:
        name: The column's name; it tells point clouds from series.
        shapes: Shapes of some cells.
        dtype: Their dtype.

    Returns:
        The modality and one clause why.
    """
    shape, same = shapes[0], len(set(shapes)) == 1
    if len(shape) == 1:
        return ("vector", f"the cells are lists of {shape[0]} numbers") if same else _series(shapes)
    if dtype == np.uint8 and len(shape) == 2:
        return "image", "the cells are arrays [height, width] of bytes"
    if len(shape) == 3 and shape[2] in {1, 3, 4}:
        return "image", f"the cells are arrays [height, width, {shape[2]}]"
    if len(shape) == 2:
        return _table_shaped(name, shapes)
    if len(shape) == 4 and dtype == np.uint8:
        return "video", "the cells are arrays [frames, height, width, channels]"
    if len(shape) == 3 and dtype == np.uint8 and shape[0] not in {1, 3, 4}:
        return "video", "the cells are arrays [frames, height, width] of bytes"
    return "unknown", f"the cells are arrays of {len(shape)} dimensions"


def _series(shapes: Sequence[Shape]) -> Found:
    lengths = [shape[0] for shape in shapes]
    return "series", f"the cells are lists of {min(lengths)} to {max(lengths)} numbers"


def _table_shaped(name: str, shapes: Sequence[Shape]) -> Found:
    width = shapes[0][1]
    if width >= 3 and any(word in name.lower() for word in POINT_WORDS):
        return "points", f"the cells are arrays [points, {width}] by the name"
    return "series", f"the cells are arrays [time, {width}]"


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
        shapes = [np.asarray(cell, dtype=np.float64).shape for cell in cells]
    except (TypeError, ValueError):
        return "unknown", "the cells are lists of unequal things"
    return array_kind(name, shapes, np.dtype(np.float64))


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
    """Tell what ``.npy`` and ``.npz`` files hold, from the headers of the first few.

    Args:
        name: The column's name.
        paths: Their paths.
        folder: Where relative paths start; None: the files are not opened.

    Returns:
        The modality and one clause why.
    """
    arrays = [] if folder is None else [found for path in paths[:HEADERS] if (found := _header(folder / path))]
    if not arrays:
        archive = paths[0].lower().endswith(".npz")
        return ("series" if archive else "vector"), "the cells are paths of array files, none of which could be opened"
    kind, reason = array_kind(f"{name} {arrays[0][0]}", [shape for _, shape, _ in arrays], arrays[0][2])
    if kind == "vector" and paths[0].lower().endswith(".npz"):
        kind = "series"
    return kind, reason.replace("the cells are", "the files hold")


def _header(path: Path) -> tuple[str, Shape, np.dtype[Any]] | None:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return "", loaded.shape, loaded.dtype
        with loaded:
            key = next(iter(loaded.files))
            return key, loaded[key].shape, loaded[key].dtype
    except (OSError, ValueError, EOFError, StopIteration, zipfile.BadZipFile):
        return None
