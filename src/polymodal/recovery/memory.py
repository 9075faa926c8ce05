"""Training rows that are remembered for retrieval: sketches of their cells, their numbers, and short cells (numpy).

Shape legend: N rows, M remembered rows, D numbers of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

MOST_ROWS = 2000
"""Most training rows that are remembered of a stream."""
LONGEST_CELL = 500
"""Texts and paths are cut to so many characters."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Training rows in which a stream is present.

    Attributes:
        rows: int64 ``[M]``, their numbers in the training table, from 1.
        sketches: float16 ``[M, D]``, standardised: differences from the mean sketch.
        cells: What stands in them where that is a text or a path, else None; None altogether in a bundle, which holds
            no rows.
    """

    rows: NDArray[np.int64]
    sketches: NDArray[np.float16]
    cells: list[str | None] | None

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        return _unit(np.nan_to_num(self.sketches.astype(np.float32)))

    def nearest(self, sketches: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Find the remembered row whose sketch differs from the mean in the most similar direction.

        Args:
            sketches: Standardised ``[N, D]``.

        Returns:
            int64 ``[N]``, indices of remembered rows.
        """
        return np.asarray((_unit(np.nan_to_num(sketches)) @ self._directions.T).argmax(axis=1), np.int64)

    def farther(self, truth: NDArray[np.floating[Any]], found: NDArray[np.int64]) -> NDArray[np.float64]:
        """Compute how good retrieved rows are: one half is chance, one is the best that there is.

        Args:
            truth: Standardised sketches of the true cells ``[N, D]``.
            found: Indices of the retrieved rows ``[N]``.

        Returns:
            For each row the share of remembered rows that are less similar to the true cell than the retrieved one;
            those as similar count half.
        """
        similarity = _unit(np.nan_to_num(truth)) @ self._directions.T
        own = similarity[np.arange(len(found)), found][:, None]
        return np.asarray(((similarity < own) + 0.5 * (similarity == own)).mean(axis=1), np.float64)

    def cells_of(self, found: NDArray[np.int64]) -> list[Cell]:
        """Return what stands in remembered rows.

        Args:
            found: Their indices ``[N]``.

        Returns:
            Texts or paths; None where the cell was neither.
        """
        return [None if self.cells is None else self.cells[place] for place in found]

    def without_cells(self) -> Memory:
        """Return the memory without the cells themselves, as a bundle has it."""
        return replace(self, cells=None)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return plain JSON and named arrays."""
        return {"cells": self.cells}, {"rows": self.rows, "sketches": self.sketches}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Memory:
        """Restore it.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            An equal memory.

        Raises:
            ValueError: If its parts are not of one length.
        """
        rows, sketches, cells = arrays["rows"], arrays["sketches"], state["cells"]
        if rows.ndim != 1 or sketches.ndim != 2 or {len(rows)} != {len(rows), len(sketches), len(cells or rows)}:
            raise ValueError("the remembered training rows do not fit each other")
        return cls(rows=rows, sketches=sketches, cells=cells)


def short_cells(cells: Sequence[Cell]) -> list[str | None]:
    """Return the texts and paths among cells, cut.

    Args:
        cells: Raw cells.

    Returns:
        One a cell; None where it is neither.
    """
    return [cell[:LONGEST_CELL] if isinstance(cell, str) else None for cell in cells]


def _unit(values: NDArray[Any]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), np.float32)
