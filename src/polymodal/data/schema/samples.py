"""Sampling of the cells from which a column's modality is detected."""

from __future__ import annotations

import re
from collections.abc import Sequence

from polymodal.arrays import Cell

Detection = tuple[str, str]
"""A modality and the reason, as one clause."""

SAMPLE_SIZE = 1000
MAJORITY = 0.5
URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def present_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the present cells.

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


def evenly_spaced(cells: Sequence[Cell], most: int) -> Sequence[Cell]:
    """Return at most ``most`` cells, evenly spaced over a column.

    Args:
        cells: The column.
        most: How many at most.

    Returns:
        The cells, in order.
    """
    if len(cells) <= most:
        return cells
    return [cells[i * len(cells) // most] for i in range(most)]


def are_urls(cells: Sequence[Cell]) -> bool:
    """Tell whether most cells are URLs.

    Args:
        cells: Cells that are there.

    Returns:
        True for more than half of them.
    """
    return sum(isinstance(cell, str) and URL.fullmatch(cell) is not None for cell in cells) > MAJORITY * len(cells)
