"""Several pictures in one cell: a list, JSON of one, joined paths, or a folder of numbered ones: frames of a video."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, is_absent
from polymodal.modalities.image import ENDINGS
from polymodal.modalities.json_text import load_list, without_call
from polymodal.modalities.media import resolve_path

MARKS = (";", "|", ",")
DIGITS = re.compile(r"\d+")
MAX_PATH, MAX_FRAMES = 4096, 1_000_000
FOLDERS_LOOKED_AT = 20


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


def frames_of(cell: Cell, folder: Path | None) -> list[Cell] | None:
    """Return the pictures of a cell that holds several or names a folder of numbered ones.

    Args:
        cell: As for ``picture_list``, or the path of a folder.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        The pictures in order, those of a folder by the numbers in their names; None of a cell of another kind.
    """
    pictures = picture_list(cell)
    if pictures is not None or folder is None or not isinstance(cell, str | PurePath) or _has_ending(str(cell)):
        return pictures
    found = _numbered_pictures(str(cell), folder) if len(str(cell)) < MAX_PATH and "\n" not in str(cell) else []
    return [os.path.join(str(cell), name) for name in found] or None


def _numbered_pictures(path: str, folder: Path) -> list[str]:
    try:
        with os.scandir(resolve_path(path, folder)) as entries:
            names = [entry.name for _, entry in zip(range(MAX_FRAMES), entries, strict=False)]
    except (CellReadError, OSError, ValueError):
        return []
    found = [name for name in names if not name.startswith(".") and _has_ending(name) and DIGITS.search(name)]
    return sorted(found, key=_numbers_in)


def _numbers_in(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in DIGITS.findall(name)], name


def are_frame_folders(cells: Sequence[Cell], folder: Path | None) -> bool:
    """Tell whether most cells name folders of two numbered pictures or more.

    Args:
        cells: Texts. Where they repeat they are the names of class folders, not of films.
        folder: Base folder of relative paths; None: folders are not looked into.

    Returns:
        True where most of a few do.
    """
    if folder is None or 2 * len(set(cells)) <= len(cells):
        return False
    counts = [len(frames_of(cell, folder) or ()) for cell in cells[:FOLDERS_LOOKED_AT] if picture_list(cell) is None]
    return 2 * sum(count > 1 for count in counts) > len(counts)


def _of_text(text: str) -> list[Cell] | None:
    text = without_call(text)
    if text.startswith(("[", "(")):
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
