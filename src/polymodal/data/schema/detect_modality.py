"""Detects the modality of a column from its name and cells.

Media are not decoded: file endings, magic numbers, Python types and the words of strings decide. The rules of each
modality are in ``EVIDENCE``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.schema.array_evidence import ArrayCells
from polymodal.data.schema.detect_media import array_kind, bytes_kind, file_kind, json_kind, list_kind
from polymodal.data.schema.evidence import EVIDENCE, claimed_by, find, sniff
from polymodal.data.schema.samples import MAJORITY, SAMPLE_SIZE, Detection, are_urls, evenly_spaced, present_cells
from polymodal.data.schema.string_evidence import StringCells, are_date_numbers
from polymodal.data.tables.files import ARRAY, media_of_ending
from polymodal.modalities import Vector
from polymodal.modalities.array_files import is_list_text, to_nested_lists
from polymodal.modalities.box_forms import are_boxes, are_written_boxes, is_box
from polymodal.modalities.inline_media import inline_modality
from polymodal.modalities.picture_lists import are_frame_folders, are_picture_lists
from polymodal.modalities.remote_files import is_remote_allowed

RECOGNISED_ONLY = {
    "boxes": "labelled boxes",
    "categories": "lists of labels",
    "unknown": "values of no known kind",
}
"""Kinds of columns that are detected although they cannot be inputs, in words."""
SEVERAL_PICTURES = "the cells hold several pictures, read as the frames of a video"
FRAME_FOLDERS = "the cells are folders of numbered pictures, read as the frames of a video"
IDENTIFIER_ROWS = 20
MAX_PATH = 4096
TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "str"),
    ((bool, np.bool_), "bool"),
    ((int, float, np.number), "number"),
    (bytes, "bytes"),
    (dict, "dict"),
    (np.ndarray, "array"),
    ((dt.date, dt.time), "date"),
    (tuple, "tuple"),
    (list, "list"),
)
"""Python types and what they are called in ``Evidence.types``; pictures of Pillow are ``picture``, others ``other``."""


def detect_modality(name: str, cells: Sequence[Cell], folder: Path | None) -> Detection:
    """Detect the modality of a column.

    Args:
        name: The column's name; it is only used to distinguish point clouds and series from other arrays.
        cells: All its cells.
        folder: Base folder of relative paths, to read ``.npy`` and ``.npz`` files; None: files are not opened.

    Returns:
        The modality (one of ``RECOGNISED_ONLY`` where this version cannot learn from it) and the reason, as one clause.
    """
    present = present_cells(cells)
    if not present:
        return "category", "every cell is empty"
    found = _detect(name, present, folder)
    if found[0] == "number" and are_date_numbers(name, present):
        return "datetime", "the cells are dates written as numbers"
    return found


def _detect(name: str, present: Sequence[Cell], folder: Path | None) -> Detection:
    sample = evenly_spaced(present, SAMPLE_SIZE)
    kind, count = Counter(_type_name(cell) for cell in sample).most_common(1)[0]
    if kind in {"str", "bool", "number"} and count < len(sample):
        return _of_strings(name, [_as_text(cell) for cell in present], folder)
    if kind == "str":
        return _of_strings(name, present, folder)
    alike = [cell for cell in sample if _type_name(cell) == kind]
    return find(lambda row: row.of_type(kind), alike) or _BY_TYPE.get(kind, _of_others)(name, alike, folder)


def _as_text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else str(cell)


def _type_name(cell: Cell) -> str:
    for types, kind in TYPES:
        if isinstance(cell, types):
            return kind
    if any(base.__module__.startswith("PIL.") for base in type(cell).__mro__):
        return "picture"
    return "other"


def _of_others(_name: str, cells: Sequence[Cell], _folder: Path | None) -> Detection:
    return "unknown", f"the cells are Python objects of type {type(cells[0]).__name__}"


def _of_bytes(name: str, cells: Sequence[bytes], _folder: Path | None) -> Detection:
    found = bytes_kind(name, cells)
    if found is not None:
        return found
    kind, count = Counter(sniff(cell) for cell in cells).most_common(1)[0]
    if kind is None:
        return "unknown", "the cells are bytes of no picture or sound format that is known"
    return kind, f"{count} of {len(cells)} cells sampled are bytes that start like {EVIDENCE[kind].file}"


def _of_arrays(name: str, cells: Sequence[np.ndarray[Any, Any]], _folder: Path | None) -> Detection:
    if cells[0].dtype == object:
        return list_kind(name, [to_nested_lists(cell) for cell in cells])
    return array_kind(ArrayCells(name, [cell.shape for cell in cells], cells[0].dtype, cells))


def _of_tuples(name: str, cells: Sequence[tuple[Any, ...]], _folder: Path | None) -> Detection:
    return list_kind(name, [list(cell) for cell in cells])


def _of_lists(name: str, cells: Sequence[list[Any]], _folder: Path | None) -> Detection:
    if are_picture_lists(cells):
        return "video", SEVERAL_PICTURES
    return list_kind(name, cells)


def _of_dicts(name: str, cells: Sequence[dict[str, Any]], folder: Path | None) -> Detection:
    keys = set(cells[0])
    if is_box(cells[0]) or are_boxes(cells[0]):
        return "boxes", "the cells hold labelled boxes"
    if keys <= {"bytes", "path"}:
        inner = [cell.get("bytes") or cell.get("path") for cell in cells]
        return detect_modality(name, inner, folder)
    return "unknown", f"the cells are records with the keys {', '.join(sorted(map(str, keys)))}"


_BY_TYPE: dict[str, Callable[[str, Sequence[Any], Path | None], Detection]] = {
    "bytes": _of_bytes,
    "dict": _of_dicts,
    "array": _of_arrays,
    "tuple": _of_tuples,
    "list": _of_lists,
}


def _of_strings(name: str, cells: Sequence[str], folder: Path | None) -> Detection:
    sample = evenly_spaced(cells, SAMPLE_SIZE)
    if are_picture_lists(sample):
        return "video", SEVERAL_PICTURES
    if are_frame_folders(sample, folder):
        return "video", FRAME_FOLDERS
    if are_written_boxes(sample):
        return "boxes", "the cells hold labelled boxes in XML or in lines of YOLO"
    found = _of_inline(sample) or _of_paths(name, sample, folder) or _of_json(name, sample)
    return found or find(lambda row: row.strings, StringCells(cells)) or _of_others(name, cells, folder)


def _of_inline(sample: Sequence[str]) -> Detection | None:
    kinds = Counter(kind for cell in sample if (kind := inline_modality(cell)) is not None)
    kind, count = kinds.most_common(1)[0] if kinds else ("", 0)
    if count <= MAJORITY * len(sample):
        return None
    return kind, f"{count} of {len(sample)} cells are {kind} files in base64"


def _of_paths(name: str, sample: Sequence[str], folder: Path | None) -> Detection | None:
    media = Counter(media_of_ending(cell) for cell in sample if len(cell) < MAX_PATH and "\n" not in cell)
    kind, count = media.most_common(1)[0] if media else (None, 0)
    if kind is None or count <= MAJORITY * len(sample):
        return None
    named = [cell for cell in sample if media_of_ending(cell) == kind]
    if are_urls(named) and not is_remote_allowed():
        modality = Vector.name if kind == ARRAY else kind
        return modality, f"the cells are URLs of {kind} files, which are not fetched without --allow-remote"
    if kind == ARRAY:
        return file_kind(name, named, folder)
    ending = Counter(re.split("[?#]", cell)[0].rpartition(".")[2].lower() for cell in named).most_common(1)[0][0]
    what = "addresses" if are_urls(named) else "paths"
    reason = f"the cells are {what} that end in .{ending}"
    claimed = claimed_by(name, f".{ending}")
    return (kind, reason) if claimed is None else (claimed, f"{reason}, {claimed} by the name")


def _of_json(name: str, sample: Sequence[str]) -> Detection | None:
    marked = [cell for cell in sample if cell.lstrip()[0] in "[{(" or is_list_text(cell)]
    return json_kind(name, marked) if len(marked) > MAJORITY * len(sample) else None


def identifier_reason(name: str, modality: str, cells: Sequence[Cell]) -> str | None:
    """Return why a column is an identifier, which is no useful input.

    Args:
        name: The column's name.
        modality: Its modality.
        cells: Its present cells.

    Returns:
        One clause, or None: it repeats, is short, or holds something to learn from.
    """
    look = EVIDENCE[modality].identifier if modality in EVIDENCE else None
    if look is None or len(cells) < IDENTIFIER_ROWS or len(set(map(str, cells))) < len(cells):
        return None
    return look(name, cells)
