"""Reading cells that hold labels: one, or any number of them in whatever form a table has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, is_absent
from polymodal.modalities.category import category_text
from polymodal.modalities.json_text import CALL, load_list, without_call

OPENINGS = ("[", "(", "{", "set(")


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


def split_labels(cell: Cell) -> list[str] | None:
    """Read a multi-label cell.

    Args:
        cell: A list, one as JSON, Python or NumPy write it, or labels joined by ``|`` or ``;``. An empty list is a row
            without a label.

    Returns:
        Its labels, or None where the cell is absent.
    """
    if is_absent(cell):
        return None
    parts = _parts(cell.strip()) if isinstance(cell, str) else cell
    if parts is None:
        return None
    if not isinstance(parts, list | tuple | set | frozenset | np.ndarray):
        parts = [parts]
    return [text for text in map(label_text, parts) if text is not None]


def labels_of(cell: Cell) -> list[str]:
    """Return the labels of a multi-label cell as ``split_labels`` reads it; none of an absent one."""
    return split_labels(cell) or []


def _parts(text: str) -> Sequence[Cell] | None:
    if text.startswith(OPENINGS) or CALL.fullmatch(text):
        try:
            parsed = load_list(without_call(text))
        except ValueError:
            parsed = None
        if isinstance(parsed, list):
            return parsed
    return text.split("|" if "|" in text else ";") if text else None
