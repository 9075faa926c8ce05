"""The Python type of labels, and their conversion back from text."""

from __future__ import annotations

from typing import Literal

import numpy as np

from polymodal.arrays import Cell

LabelType = Literal["str", "int", "float", "bool"]


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
