"""What a column holds, decided from its name and its cells.

Nothing here decodes media: file endings, magic numbers, Python types and the words of strings decide.
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
from polymodal.data.schema.detect_media import (
    BOXES,
    array_kind,
    bytes_kind,
    file_kind,
    json_kind,
    list_kind,
    names_points,
    sniff,
)
from polymodal.data.schema.detect_text import looks_like_text
from polymodal.data.tables.files import media_of_ending
from polymodal.modalities import CellReadError
from polymodal.modalities.array_files import plain_lists
from polymodal.modalities.datetime import parse_datetime
from polymodal.modalities.number import BLANK_WORDS

Found = tuple[str, str]
"""A modality and one clause why."""

RECOGNISED_ONLY = ("boxes", "categories", "unknown")
"""What inference tells apart although this version does not learn from it."""

SAMPLE = 1000
MOST = 0.5
NEARLY_ALL = 0.95
IDENTIFIER_ROWS = 20
URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
LEADING_ZERO = re.compile(r"0\d+")
DATE_SHAPE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([/.])\d{1,2}\3\d{4})([T ].*)?")
BOOLEANS = frozenset({"true", "false"})


def present_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that are there.

    Args:
        cells: Cells of a column.

    Returns:
        Those that are neither None, NaN nor a blank string.
    """
    return [cell for cell in cells if not is_absent(cell)]


def is_absent(cell: Cell) -> bool:
    """Return True for None, NaN and blank strings."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float) and cell != cell


def detect_modality(name: str, cells: Sequence[Cell], folder: Path | None) -> Found:
    """Decide what a column holds.

    Args:
        name: The column's name; it only tells point clouds and series from other arrays.
        cells: All its cells.
        folder: Where relative paths start, to look into ``.npy`` and ``.npz`` files; None: files are not opened.

    Returns:
        The modality (one of ``RECOGNISED_ONLY`` where this version cannot learn from it) and one clause why.
    """
    present = present_cells(cells)
    if not present:
        return "category", "every cell is empty"
    sample = evenly(present, SAMPLE)
    kind, count = Counter(_type_name(cell) for cell in sample).most_common(1)[0]
    if kind in {"str", "bool", "number"} and count < len(sample):
        return _infer_strings(name, [_as_text(cell) for cell in present], folder)
    alike = [cell for cell in sample if _type_name(cell) == kind]
    return _BY_TYPE[kind](name, alike, folder) if kind != "str" else _infer_strings(name, present, folder)


def evenly(cells: Sequence[Cell], most: int) -> Sequence[Cell]:
    """Return at most some cells, spread evenly over a column.

    Args:
        cells: The column.
        most: How many at most.

    Returns:
        The cells, in order.
    """
    if len(cells) <= most:
        return cells
    return [cells[i * len(cells) // most] for i in range(most)]


def _as_text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else str(cell)


_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "str"),
    ((bool, np.bool_), "bool"),
    ((int, float, np.number), "number"),
    (bytes, "bytes"),
    (dict, "dict"),
    (np.ndarray, "array"),
    (dt.date, "date"),
    (tuple, "tuple"),
    (list, "list"),
)


def _type_name(cell: Cell) -> str:
    for types, kind in _TYPES:
        if isinstance(cell, types):
            return kind
    if any(base.__module__.startswith("PIL.") for base in type(cell).__mro__):
        return "picture"
    return "other"


def _infer_pictures(_name: str, _cells: Sequence[Cell], _folder: Path | None) -> Found:
    return "image", "the cells are pictures in memory"


def _infer_booleans(_name: str, _cells: Sequence[Cell], _folder: Path | None) -> Found:
    return "category", "the cells are true or false"


def _infer_numbers(_name: str, _cells: Sequence[Cell], _folder: Path | None) -> Found:
    return "number", "the cells are numbers"


def _infer_dates(_name: str, _cells: Sequence[Cell], _folder: Path | None) -> Found:
    return "datetime", "the cells are dates"


def _infer_others(_name: str, cells: Sequence[Cell], _folder: Path | None) -> Found:
    return "unknown", f"the cells are Python objects of type {type(cells[0]).__name__}"


def _infer_bytes(name: str, cells: Sequence[bytes], _folder: Path | None) -> Found:
    found = bytes_kind(name, cells)
    if found is not None:
        return found
    kind, count = Counter(sniff(cell) for cell in cells).most_common(1)[0]
    if kind is None:
        return "unknown", "the cells are bytes of no picture or sound format that is known"
    return kind, f"{count} of {len(cells)} cells sampled are bytes that start like {_A[kind]} file"


_A = {
    "image": "an image",
    "audio": "an audio",
    "video": "a video",
    "vector": "a .npy",
    "points": "a .pcd",
    "series": "a Parquet",
}


def _infer_arrays(name: str, cells: Sequence[np.ndarray[Any, Any]], _folder: Path | None) -> Found:
    if cells[0].dtype == object:
        return list_kind(name, [plain_lists(cell) for cell in cells])
    return array_kind(name, [cell.shape for cell in cells], cells[0].dtype, cells)


def _infer_tuples(name: str, cells: Sequence[tuple[Any, ...]], folder: Path | None) -> Found:
    first = cells[0]
    if len(first) == 2 and np.ndim(first[0]) and np.ndim(first[0]) <= 2 and isinstance(first[1], int | np.integer):
        return "audio", "the cells are (samples, sample rate) pairs"
    return _infer_lists(name, [list(cell) for cell in cells], folder)


def _infer_lists(name: str, cells: Sequence[list[Any]], _folder: Path | None) -> Found:
    return list_kind(name, cells)


def _infer_dicts(name: str, cells: Sequence[dict[str, Any]], folder: Path | None) -> Found:
    keys = set(cells[0])
    if {"array", "sampling_rate"} <= keys:
        return "audio", "the cells hold samples and a sampling rate"
    if keys >= BOXES or {"boxes", "labels"} <= keys:
        return "boxes", "the cells hold labelled boxes"
    if keys <= {"bytes", "path"}:
        inner = [cell.get("bytes") or cell.get("path") for cell in cells]
        return detect_modality(name, inner, folder)
    return "unknown", f"the cells are records with the keys {', '.join(sorted(map(str, keys)))}"


_BY_TYPE: dict[str, Callable[[str, Sequence[Any], Path | None], Found]] = {
    "bool": _infer_booleans,
    "number": _infer_numbers,
    "bytes": _infer_bytes,
    "dict": _infer_dicts,
    "array": _infer_arrays,
    "date": _infer_dates,
    "tuple": _infer_tuples,
    "list": _infer_lists,
    "picture": _infer_pictures,
    "other": _infer_others,
}


def _infer_strings(name: str, cells: Sequence[str], folder: Path | None) -> Found:
    sample = evenly(cells, SAMPLE)
    for look in (_as_files, _as_json):
        found = look(name, sample, folder)
        if found is not None:
            return found
    for look_at_all in (_as_numbers, _as_dates):
        found = look_at_all(sample)
        if found is not None and len(sample) < len(cells):
            found = look_at_all(cells)
        if found is not None:
            return found
    return _as_words(cells)


def _as_files(name: str, sample: Sequence[str], folder: Path | None) -> Found | None:
    media = Counter(media_of_ending(cell) for cell in sample if len(cell) < 4096 and "\n" not in cell)
    kind, count = media.most_common(1)[0] if media else (None, 0)
    if kind is None or count <= MOST * len(sample):
        return None
    named = [cell for cell in sample if media_of_ending(cell) == kind]
    if are_urls(named):
        return ("vector" if kind == "array" else kind), f"the cells are URLs of {kind} files, which are not fetched"
    if kind == "array":
        return file_kind(name, named, folder)
    ending = Counter(cell.rpartition(".")[2].lower() for cell in named).most_common(1)[0][0]
    if kind == "series" and names_points(name):
        return "points", f"the cells are paths that end in .{ending}, points by the name"
    return kind, f"the cells are paths that end in .{ending}"


def are_urls(cells: Sequence[Cell]) -> bool:
    """Tell whether most cells are URLs.

    Args:
        cells: Cells that are there.

    Returns:
        True for more than half of them.
    """
    return sum(isinstance(cell, str) and URL.fullmatch(cell) is not None for cell in cells) > MOST * len(cells)


def _as_json(name: str, sample: Sequence[str], _folder: Path | None) -> Found | None:
    marked = [cell for cell in sample if cell.lstrip()[0] in "[{"]
    return json_kind(name, marked) if len(marked) > MOST * len(sample) else None


def _as_numbers(cells: Sequence[str]) -> Found | None:
    count = sum(map(is_number_text, cells))
    if not count:
        return None
    others = [cell for cell in cells if not is_number_text(cell)] if count < len(cells) else []
    broken = [cell for cell in others if cell.strip().lower() not in BLANK_WORDS]
    if count < NEARLY_ALL * (count + len(broken)):
        return None
    if any(LEADING_ZERO.fullmatch(cell.strip()) for cell in evenly(cells, SAMPLE)):
        return "category", "the cells are codes with leading zeros"
    rest = f", {len(broken)} are not and count as broken" if broken else ""
    return "number", f"{count} of {len(cells)} cells are numbers{rest}"


def is_number_text(text: str) -> bool:
    """Tell whether text reads as a number.

    Args:
        text: A cell.

    Returns:
        True for plain and infinite numbers; ``nan`` stands for no number, ``1,299`` and ``$5`` are none.
    """
    try:
        value = float(text)
    except ValueError:
        return False
    return "_" not in text and value == value


def _as_dates(cells: Sequence[str]) -> Found | None:
    count = sum(_is_date_text(cell.strip()) for cell in cells)
    return None if count < NEARLY_ALL * len(cells) else ("datetime", f"{count} of {len(cells)} cells are dates")


def _is_date_text(text: str) -> bool:
    return DATE_SHAPE.fullmatch(text) is not None and any(_reads_as_date(text, first) for first in (False, True))


def _reads_as_date(text: str, day_first: bool) -> bool:
    try:
        parse_datetime(text, day_first=day_first)
    except CellReadError:
        return False
    return True


def _as_words(cells: Sequence[str]) -> Found:
    if are_urls(evenly(cells, SAMPLE)):
        return "text", "the cells are URLs, read as text (they are not fetched)"
    counts = Counter(cells)
    if {value.strip().lower() for value in counts} <= BOOLEANS:
        return "category", "the cells are true or false"
    return looks_like_text(counts)


def identifier_reason(name: str, modality: str, cells: Sequence[Cell]) -> str | None:
    """Say why a column is an identifier that nothing can be learnt from.

    Args:
        name: The column's name.
        modality: What it holds; only numbers and categories can be identifiers.
        cells: Its cells that are there.

    Returns:
        One clause, or None where it is none: it repeats, is short, or holds something to learn from.
    """
    if modality not in {"number", "category"} or len(cells) < IDENTIFIER_ROWS:
        return None
    if len(set(map(str, cells))) < len(cells):
        return None
    if modality == "category":
        return "every cell is different: an identifier"
    if not all(is_number_text(str(cell)) for cell in cells):
        return None
    numbers = np.array([float(cell) for cell in cells])
    whole = np.isfinite(numbers).all() and np.array_equal(numbers, np.round(numbers))
    if whole and (ID_NAME.search(name) or bool((np.diff(numbers) == 1).all())):
        return "every cell is a different whole number: an identifier or row counter"
    return None


ID_NAME = re.compile(r"(^|[_\s.-])(?i:id|ids|uuid|guid|index|idx|key|nr|no)$|[a-z]I[dD]$|^unnamed")
