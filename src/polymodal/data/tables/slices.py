"""Slices of a table: the rows of each value of a column, which are scored by themselves."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table
from polymodal.errors import SchemaError

MAX_VALUES = 50
"""Most different values of a column that slices are made of."""
NO_VALUE = "(missing)"


def read_slices(table: Table, names: Sequence[str], rows: NDArray[np.int64] | None = None) -> dict[str, Sequence[Cell]]:
    """Read the columns that slices are made of.

    Args:
        table: The table that is evaluated.
        names: Names of columns.
        rows: Its rows in use; None for all.

    Returns:
        Column to its cells in those rows.

    Raises:
        SchemaError: If there is no such column, or it has too many different values.
    """
    for name in names:
        _check(table, name)
    used = np.arange(table.num_rows) if rows is None else rows
    return {name: take_cells(table.columns[name], used) for name in names}


def _check(table: Table, name: str) -> None:
    if name not in table.columns:
        near = difflib.get_close_matches(name, table.columns, n=1)
        advice = f"Did you mean {near[0]!r}?" if near else f"The columns are: {', '.join(table.columns)}."
        raise SchemaError(f"{table.name} has no column {name!r} for --slice. {advice}")
    number = len({slice_value(cell) for cell in table.columns[name]})
    if number > MAX_VALUES:
        raise SchemaError(
            f"{table.name}, column {name!r}: --slice needs a column of at most {MAX_VALUES} different values, this one "
            f"has {number:,}. Choose a category, or add a column that groups its values."
        )


def slice_value(cell: Cell) -> str:
    """Name the group of a cell.

    Args:
        cell: A cell of a slice's column.

    Returns:
        Its text; whole numbers without a fraction.
    """
    if cell is None or cell == "" or (isinstance(cell, float) and np.isnan(cell)):
        return NO_VALUE
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
