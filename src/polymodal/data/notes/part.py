"""The rows of one split, and samples of them that bound the time of all checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Rows of a table that are one side of the split.

    Attributes:
        name: Name of the split, such as ``training``; empty where the table is not split.
        table: The table, with the columns that are read from others.
        rows: int64, its rows in use, from 0.
    """

    name: str
    table: Table
    rows: Rows

    def __len__(self) -> int:
        """Return the number of rows in use."""
        return len(self.rows)

    def of(self, noun: str) -> str:
        """Return a noun for its rows, such as ``training rows``.

        Args:
            noun: Of one row, such as ``row``.

        Returns:
            The number of rows with the noun and the name of the split.
        """
        return f"{len(self):,} {self.name} {noun}".replace("  ", " ") + ("" if len(self) == 1 else "s")

    def cells(self, column: str) -> Sequence[Cell]:
        """Return a column's cells of the rows in use; none are there where the table lacks the column."""
        if column not in self.table.columns:
            return [None] * len(self.rows)
        cells = self.table.columns[column]
        return cells if len(self.rows) == len(cells) else take_cells(cells, self.rows)

    def sample(self, most: int) -> Part:
        """Draw rows at random, always the same ones.

        Args:
            most: How many at most.

        Returns:
            The part with those rows in use, in their order; all of them where they are not more.
        """
        if len(self.rows) <= most:
            return self
        drawn = np.random.default_rng(0).choice(len(self.rows), most, replace=False)
        return replace(self, rows=self.rows[np.sort(drawn)])


def num_sampled(columns: int, cells: int, fewest: int, most: int) -> int:
    """Return how many rows to look at, so that the number of cells is bounded.

    Args:
        columns: Number of columns that are looked at.
        cells: Cells of all columns together that may be looked at.
        fewest: Rows to look at however many columns there are.
        most: Rows to look at however few there are.

    Returns:
        The number of rows.
    """
    return max(fewest, min(most, cells // max(columns, 1)))
