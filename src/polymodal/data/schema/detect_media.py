"""Detects the modality of lists, array files and JSON with the rows of ``EVIDENCE``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.schema.array_evidence import MAX_SAMPLED_ARRAYS, ArrayCells
from polymodal.data.schema.evidence import find
from polymodal.data.schema.samples import Detection
from polymodal.modalities import CellReadError, Series, Vector
from polymodal.modalities.array_files import ZIP_MAGIC, load_numbers, parse_json
from polymodal.modalities.box_forms import are_boxes, is_box, with_corners
from polymodal.modalities.json_text import load_list, without_call
from polymodal.modalities.media import NUMPY_MAGIC, locate_media

SHORTENED = "the cells were shortened when they were written: numbers are missing where ... stands"


def array_kind(cells: ArrayCells) -> Detection:
    """Detect the modality of arrays.

    Args:
        cells: Some arrays, or what files declare of theirs.

    Returns:
        The modality and the reason, as one clause.
    """
    unknown = ("unknown", f"the cells are arrays of {len(cells.shape)} dimensions")
    return find(lambda row: row.arrays, cells) or unknown


def list_kind(name: str, cells: Sequence[list[Any]]) -> Detection:
    """Detect the modality of lists.

    Args:
        name: The column's name.
        cells: Some lists.

    Returns:
        The modality and the reason, as one clause.
    """
    filled = [cell for cell in cells if len(cell)]
    if not filled:
        return "unknown", "the cells are empty lists"
    first = filled[0][0]
    if isinstance(first, dict):
        if is_box(first):
            return "boxes", f"the cells are lists of labelled boxes{_unit_of_boxes(filled)}"
        return "unknown", "the cells are lists of records"
    if isinstance(first, str | bool):
        return "categories", "the cells are lists of labels"
    try:
        arrays = [np.asarray(cell, dtype=np.float64) for cell in cells]
    except (TypeError, ValueError, OverflowError):
        unknown = ("unknown", "the cells are lists of unequal things")
        return find(lambda row: row.ragged, filled) or unknown
    return array_kind(ArrayCells(name, [array.shape for array in arrays], arrays[0].dtype, arrays))


def _unit_of_boxes(cells: Sequence[Sequence[Any]]) -> str:
    boxes = [with_corners(box) for cell in cells for box in cell]
    num_shares = sum("share" in box for box in boxes if isinstance(box, dict))
    return " in shares of the picture, which become pixels" if 2 * num_shares > len(boxes) else ""


def record_kind(cells: Sequence[Mapping[str, Any]]) -> Detection | None:
    """Detect the modality of records written as text.

    Args:
        cells: Some records.

    Returns:
        Boxes and the reason, as one clause; None where they are none.
    """
    if all(is_box(cell) or are_boxes(cell) for cell in cells):
        return "boxes", "the cells are records of labelled boxes"
    return None


def bytes_kind(name: str, cells: Sequence[bytes]) -> Detection | None:
    """Detect the modality of bytes of ``.npy`` and ``.npz`` files.

    Args:
        name: The column's name.
        cells: Some files.

    Returns:
        The modality and the reason, as one clause; None where they are no such files.
    """
    arrays = [array for cell in cells[:MAX_SAMPLED_ARRAYS] if (array := _array_in(cell)) is not None and array.ndim]
    if not arrays:
        return None
    shapes, is_archive = [array.shape for array in arrays], cells[0].startswith(ZIP_MAGIC)
    kind, reason = array_kind(ArrayCells(name, shapes, arrays[0].dtype, arrays, is_archive))
    return kind, reason.replace("the cells are", "the cells are bytes of files that hold")


def _array_in(content: bytes) -> np.ndarray[Any, Any] | None:
    if not content.startswith((NUMPY_MAGIC, *ZIP_MAGIC)):
        return None
    try:
        return load_numbers(content)
    except CellReadError:
        return None


def json_kind(name: str, cells: Sequence[str]) -> Detection | None:
    """Detect the modality of JSON strings.

    Args:
        name: The column's name.
        cells: Some strings that start with a bracket.

    Returns:
        The modality and the reason, as one clause; None where most are not JSON lists.
    """
    parsed = [value for value in map(_parse, cells) if isinstance(value, list | dict)]
    if len(parsed) <= len(cells) / 2:
        shortened = sum("..." in cell for cell in cells)
        return ("unknown", SHORTENED) if shortened > len(cells) / 2 and "[" in cells[0] else None
    lists = [value for value in parsed if isinstance(value, list)]
    records = [value for value in parsed if isinstance(value, dict)]
    if len(records) > len(lists):
        return record_kind(records)
    kind, reason = list_kind(name, lists)
    return kind, reason.replace("the cells are", "the cells are lists written as text:")


def _parse(text: str) -> Any:
    text = without_call(text)
    try:
        return load_list(text) if text[0] in "[{(" else parse_json(text)
    except (ValueError, CellReadError):
        return None


def file_kind(name: str, paths: Sequence[str], folder: Path | None) -> Detection:
    """Detect the modality of ``.npy`` and ``.npz`` files, from the first few.

    Args:
        name: The column's name.
        paths: Their paths.
        folder: Base folder of relative paths; None: the files are not opened.

    Returns:
        The modality and the reason, as one clause.
    """
    arrays = (
        [] if folder is None else [found for path in paths[:MAX_SAMPLED_ARRAYS] if (found := _array_of(path, folder))]
    )
    is_archive = paths[0].lower().endswith(".npz")
    if not arrays:
        kind = Series.name if is_archive else Vector.name
        return kind, "the cells are paths of array files, none of which could be opened"
    names, opened = f"{name} {arrays[0][0]}", [array for _, array in arrays]
    kind, reason = array_kind(ArrayCells(names, [array.shape for array in opened], opened[0].dtype, opened, is_archive))
    return kind, reason.replace("the cells are", "the files hold")


def _array_of(path: str, folder: Path) -> tuple[str, np.ndarray[Any, Any]] | None:
    """Return a file's first array and its name in an archive; ``.npy`` files are mapped, not read."""
    try:
        content = locate_media(path, folder)
        if not isinstance(content, str):
            return "", load_numbers(content)
        loaded = np.load(content, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return "", loaded
        with loaded:
            key = next(iter(loaded.files))
            return key, loaded[key]
    except (CellReadError, OSError, ValueError, EOFError, StopIteration, zipfile.BadZipFile):
        return None
