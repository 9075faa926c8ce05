"""Filling in absent cells of a row's numbers and categories, in place of the encoder's learned vectors for them.

Shape legend: N rows, K remembered rows, F fields.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["mean", "median", "most_frequent", "nearest"]
MAX_ROWS = 1000
"""Most training rows that are remembered to find the nearest ones among."""
NEIGHBOURS = 5
BLOCK_NUMBERS = 2**22
"""Most numbers that are compared at once."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Imputation:
    """What absent cells are filled with; cells of rows without any present cell stay absent.

    Attributes:
        method: ``mean``, ``median`` or ``most_frequent`` of the training cells (categories: always the most frequent);
            or ``nearest``: the mean, or the most frequent value, of the five nearest training rows that have the cell
            (Troyanskaya et al. 2001, Missing value estimation methods for DNA microarrays).
        is_category: Which fields are categories.
        fill: The value of each field; of ``nearest`` where no remembered row has the cell.
        rows: ``nearest``: values of training rows, None where absent.
    """

    method: Method
    is_category: list[bool]
    fill: list[float]
    rows: list[list[float | None]]

    @classmethod
    def fit(cls, method: Method, values: Floats, present: Mask, is_category: list[bool]) -> Imputation:
        """Fit the values to fill in.

        Args:
            method: How.
            values: Standardised numbers and codes of the training rows ``[N, F]``.
            present: bool ``[N, F]``.
            is_category: Which fields are categories.

        Returns:
            The fitted imputation.
        """
        kinds = ["most_frequent" if category else method for category in is_category]
        fill = [_typical(values[present[:, f], f], kind) for f, kind in enumerate(kinds)]
        rows: list[list[float | None]] = []
        if method == "nearest":
            some = np.flatnonzero(present.any(axis=1))
            some = some[np.linspace(0, len(some) - 1, min(len(some), MAX_ROWS)).astype(np.int64)] if len(some) else some
            known = zip(values[some].tolist(), present[some].tolist(), strict=True)
            rows = [[v if there else None for v, there in zip(*row, strict=True)] for row in known]
        return cls(method=method, is_category=is_category, fill=fill, rows=rows)

    def apply(self, values: Floats, present: Mask) -> tuple[Floats, Mask]:
        """Fill in absent cells.

        Args:
            values: Standardised numbers and codes ``[N, F]``.
            present: bool ``[N, F]``.

        Returns:
            The values, and a mask that is True in all cells of rows in which any was.
        """
        has_any = np.asarray(present.any(axis=1))
        filled = np.where(present, values, np.asarray(self.fill, np.float32))
        if self.rows:
            gaps = np.flatnonzero(has_any & ~present.all(axis=1))
            step = max(1, BLOCK_NUMBERS // (len(self.rows) * max(values.shape[1], 1)))
            for start in range(0, len(gaps), step):
                block = gaps[start : start + step]
                filled[block] = self._from_nearest(filled[block], present[block])
        return np.where(has_any[:, None], filled, 0).astype(np.float32), np.repeat(has_any[:, None], len(self.fill), 1)

    def _from_nearest(self, values: Floats, present: Mask) -> Floats:
        """Fill absent cells of rows ``[N, F]`` from the nearest remembered ones."""
        known, filled = self._remembered, values.copy()
        order = np.argsort(self._distances(values, present), axis=1, kind="stable")
        for row, field in zip(*np.nonzero(~present), strict=True):
            found = known[order[row], field]
            found = found[~np.isnan(found)][:NEIGHBOURS]
            if len(found):
                filled[row, field] = _typical(found, "most_frequent" if self.is_category[field] else "mean")
        return filled

    def _distances(self, values: Floats, present: Mask) -> NDArray[np.float64]:
        """Return squared distances ``[N, K]`` over the fields that both rows have, scaled to all fields."""
        known, is_category = self._remembered, np.array(self.is_category)
        both = present[:, None, :] & ~np.isnan(known)[None, :, :]
        steps = values[:, None, :] - np.nan_to_num(known)[None, :, :]
        squares = np.where(is_category, steps != 0, steps**2)
        counts = both.sum(axis=2)
        total = np.where(both, squares, 0).sum(axis=2)
        return np.where(counts > 0, total * values.shape[1] / np.maximum(counts, 1), np.inf)

    @property
    def _remembered(self) -> Floats:
        return np.array([[np.nan if v is None else v for v in row] for row in self.rows], np.float32)

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)


def _typical(values: NDArray[Any], kind: str) -> float:
    """Return the value that stands for others; 0, the mean of standardised numbers or an unseen category, for none."""
    if not len(values):
        return 0.0
    if kind == "most_frequent":
        distinct, counts = np.unique(values, return_counts=True)
        return float(distinct[np.argmax(counts)])
    return float(np.median(values) if kind == "median" else np.mean(values))
