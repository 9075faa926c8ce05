"""Conversion of labels to text and back: 1, 1.0 and "1" are one label."""

from __future__ import annotations

from typing import Literal

import numpy as np

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, is_absent
from polymodal.modalities.category import category_text
from polymodal.modalities.json_text import load_json

LabelType = Literal["str", "int", "float", "bool"]


def label_text(cell: Cell) -> str | None:
    """Return a label's text form, or None where the cell is absent.

    Args:
        cell: String, number or boolean.

    Returns:
        The text; whole numbers lose their ``.0``, so that 1, 1.0 and "1" are one label.
    """
    if is_absent(cell):
        return None
    try:
        return category_text(cell).strip() or None
    except CellReadError:
        return None


def label_type(cells: list[Cell]) -> LabelType:
    """Return the Python type of predicted labels.

    Args:
        cells: Cells that are not absent.

    Returns:
        ``bool``, ``int`` or ``float`` where all cells have this type, else ``str``.
    """
    if cells and all(isinstance(cell, (bool, np.bool_)) for cell in cells):
        return "bool"
    if cells and all(isinstance(cell, (int, np.integer)) and not isinstance(cell, bool) for cell in cells):
        return "int"
    if cells and all(isinstance(cell, (int, float, np.integer, np.floating)) for cell in cells):
        return "float"
    return "str"


def to_label(text: str, kind: LabelType) -> Cell:
    """Convert a label's text to its Python type.

    Args:
        text: Result of ``label_text``.
        kind: The type of the training cells.

    Returns:
        The label.
    """
    if kind == "bool":
        return text == "true"
    return {"int": int, "float": float, "str": str}[kind](text)


def split_labels(cell: Cell) -> list[str] | None:
    """Read a multi-label cell.

    Args:
        cell: A list, a JSON list, or labels joined by ``|`` or ``;``. An empty list is a row without a label.

    Returns:
        Its labels, or None where the cell is absent.
    """
    if is_absent(cell):
        return None
    if isinstance(cell, str):
        cell = _parts(cell.strip())
    if cell is None:
        return None
    return [text for text in (label_text(part) for part in cell) if text is not None]


def _parts(text: str) -> list[Cell] | None:
    if text.startswith("["):
        try:
            parsed = load_json(text)
        except ValueError:
            parsed = None
        if isinstance(parsed, list):
            return parsed
    if not text:
        return None
    return list(text.split("|" if "|" in text else ";"))
