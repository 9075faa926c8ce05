"""Sparse rows: what n-grams weigh in texts (numpy).

SciPy has the same form (compressed sparse rows), but its import takes longer than a row takes to predict; only fitting
needs it.

Shape legend: N rows, G columns, V values that are not zero, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK_VALUES = 2**20
"""Products that are kept at once."""


@dataclass(frozen=True)
class SparseRows:
    """A matrix ``[N, G]`` in compressed sparse rows; the columns of a row ascend.

    Attributes:
        values: float32 ``[V]``.
        columns: int64 ``[V]``.
        ends: int64 ``[N + 1]``: the values of row n are those from ``ends[n]`` to ``ends[n + 1]``.
        width: G.
    """

    values: Floats
    columns: Ints
    ends: Ints
    width: int

    @classmethod
    def empty(cls, num_rows: int, width: int) -> SparseRows:
        """Return rows of zeros.

        Args:
            num_rows: N.
            width: G.

        Returns:
            The rows.
        """
        return cls(np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(num_rows + 1, np.int64), width)

    @property
    def shape(self) -> tuple[int, int]:
        """N and G."""
        return len(self.ends) - 1, self.width

    @property
    def rows(self) -> Ints:
        """The row of each value, int64 ``[V]``."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.ends))

    def take(self, rows: NDArray[Any]) -> SparseRows:
        """Return some rows.

        Args:
            rows: Indices, or a bool mask.

        Returns:
            Those rows, in their order.
        """
        rows = np.arange(self.shape[0])[rows]
        sizes = np.diff(self.ends)[rows]
        ends = _ends(sizes)
        places = np.arange(ends[-1]) + np.repeat(self.ends[:-1][rows] - ends[:-1], sizes)
        return SparseRows(self.values[places], self.columns[places], ends, self.width)

    def select(self, columns: Ints) -> SparseRows:
        """Return some columns.

        Args:
            columns: Ascending indices.

        Returns:
            Those columns of all rows.
        """
        if not len(columns):
            return SparseRows.empty(self.shape[0], 0)
        places = np.minimum(np.searchsorted(columns, self.columns), len(columns) - 1)
        kept = columns[places] == self.columns
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[self.ends]
        return SparseRows(self.values[kept], places[kept], ends, len(columns))

    def dot(self, weights: Floats) -> Floats:
        """Multiply by a dense matrix.

        Args:
            weights: float32 ``[G, K]``.

        Returns:
            float32 ``[N, K]``.
        """
        product = np.zeros((self.shape[0], weights.shape[1]), np.float32)
        limit = max(1, BLOCK_VALUES // max(weights.shape[1], 1))
        start = 0
        while start < len(product):
            stop = max(start + 1, int(np.searchsorted(self.ends, self.ends[start] + limit, side="right")) - 1)
            product[start:stop] = self._products(weights, start, stop)
            start = stop
        return product

    def _products(self, weights: Floats, start: int, stop: int) -> Floats:
        first, last = self.ends[start], self.ends[stop]
        filled = np.flatnonzero(np.diff(self.ends[start : stop + 1]))
        sums = np.zeros((stop - start, weights.shape[1]), np.float32)
        if len(filled):
            products = self.values[first:last, None] * weights[self.columns[first:last]]
            sums[filled] = np.add.reduceat(products, self.ends[start:stop][filled] - first, axis=0)
        return sums

    def to_dense(self) -> Floats:
        """Return float32 ``[N, G]``."""
        dense = np.zeros(self.shape, np.float32)
        dense[self.rows, self.columns] = self.values
        return dense

    def to_scipy(self) -> Any:
        """Return the same matrix as SciPy's ``csr_matrix``."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.values, self.columns, self.ends), shape=self.shape)

    @staticmethod
    def side_by_side(parts: Sequence[SparseRows]) -> SparseRows:
        """Join columns.

        Args:
            parts: At least one, of the same rows.

        Returns:
            ``[N, sum of G]``.
        """
        if len(parts) == 1:
            return parts[0]
        offsets = np.cumsum([0, *(part.width for part in parts)])
        is_one = len(parts[0].ends) == 2  # a row alone is in order
        order = slice(None) if is_one else np.argsort(np.concatenate([part.rows for part in parts]), kind="stable")
        columns = np.concatenate([part.columns + offset for part, offset in zip(parts, offsets, strict=False)])
        values = np.concatenate([part.values for part in parts])
        ends = np.sum([part.ends for part in parts], axis=0)
        return SparseRows(values[order], columns[order], ends, int(offsets[-1]))

    @staticmethod
    def concatenate(parts: Sequence[SparseRows]) -> SparseRows:
        """Join rows.

        Args:
            parts: At least one, of the same columns.

        Returns:
            ``[sum of N, G]``.
        """
        ends = _ends(np.concatenate([np.diff(part.ends) for part in parts]))
        values, columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "columns"))
        return SparseRows(values, columns, ends, parts[0].width)


def _ends(sizes: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
