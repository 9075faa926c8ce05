"""Several pictures in one cell: a list, JSON of one, or joined paths; they are read as the frames of a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from polymodal.arrays import Cell
from polymodal.modalities.base import is_absent
from polymodal.modalities.image import ENDINGS
from polymodal.modalities.json_text import load_list

MARKS = (";", "|", ",")


def picture_list(cell: Cell) -> list[Cell] | None:
    """Return the pictures of a cell that holds several.

    Args:
        cell: A list of paths, bytes, ``{"bytes", "path"}`` records or pictures; JSON of a list of paths; or paths
            joined by ``;``, ``|`` or commas.

    Returns:
        The pictures that are there, in order; None of a cell that is one picture, video or array.
    """
    if isinstance(cell, str):
        return _of_text(cell)
    if not isinstance(cell, list | tuple) or not cell or not all(map(_is_picture, cell)):
        return None
    return [part for part in cell if not is_absent(part)]


def _of_text(text: str) -> list[Cell] | None:
    if text.lstrip().startswith(("[", "(")):
        try:
            parts = load_list(text)
        except ValueError:
            return None
        return picture_list(parts) if isinstance(parts, list) else None
    mark = next((mark for mark in MARKS if mark in text), None)
    if mark is None:
        return None
    parts = [part.strip() for part in text.split(mark) if part.strip()]
    return parts if len(parts) > 1 and all(map(_has_ending, parts)) else None


def _is_picture(part: Any) -> bool:
    if isinstance(part, str | PurePath):
        return _has_ending(str(part))
    if isinstance(part, Mapping):
        return bool(set(part) & {"bytes", "path"}) and set(part) <= {"bytes", "path"}
    return isinstance(part, bytes) or hasattr(part, "getbands") or part is None


def _has_ending(path: str) -> bool:
    return "." in path and f".{path.rpartition('.')[2].lower()}" in ENDINGS


def are_picture_lists(cells: Sequence[Cell]) -> bool:
    """Tell whether most cells hold several pictures, or lists of them."""
    return 2 * sum(picture_list(cell) is not None for cell in cells) > len(cells)
