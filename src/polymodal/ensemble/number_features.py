"""Numbers of a table for the baselines: read from the raw cells at full resolution, robustly scaled (numpy).

What the network reads is standardised and cut off, so that one sentinel of 1e9 leaves no difference between the other
numbers. Here the median and the interquartile range scale them; trees read the result as it is, linear models read it
cut off and, beside it, the normal score of its quantile.

Shape legend: N rows, F number columns, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.modalities.base import CellReadError
from polymodal.modalities.number import parse_number

Floats = NDArray[np.float32]

NUM_QUANTILES = 65
SHARES = np.linspace(0, 1, NUM_QUANTILES)
LARGEST = 1e30
"""Scaled numbers are limited to this size, so that they are finite as float32."""
CUT_OFF = 8.0
"""Linear models read no number further from the median, in interquartile ranges."""
OUTERMOST = 0.005
"""Quantile that stands for all that are further out."""
NORMAL_QUANTILE = np.frompyfunc(NormalDist().inv_cdf, 1, 1)


@dataclass(frozen=True, kw_only=True)
class NumberScaling:
    """Fitted scaling of the number columns of a stream.

    Attributes:
        columns: Names of the columns, in the order of the stream's fields; "" where a field is no plain number.
        center: float64 ``[F]``, the medians.
        spread: float64 ``[F]``, the interquartile ranges; the standard deviation where half of the rows are equal.
        quantiles: float32 ``[F, Q]``, of the scaled numbers.
    """

    columns: list[str]
    center: NDArray[np.float64]
    spread: NDArray[np.float64]
    quantiles: Floats

    @classmethod
    def unfitted(cls, columns: list[str]) -> NumberScaling:
        """Initialise the scaling.

        Args:
            columns: As of the attribute.

        Returns:
            A scaling that has not seen a row.
        """
        none = np.zeros(0)
        return cls(columns=columns, center=none, spread=none, quantiles=np.zeros((0, NUM_QUANTILES), np.float32))

    @property
    def fields(self) -> list[int]:
        """Indices of the fields that are plain numbers."""
        return [field for field, name in enumerate(self.columns) if name]

    def fit(self, column: Column, cells: Mapping[str, Sequence[Cell]]) -> NumberScaling:
        """Fit on training rows.

        Args:
            column: The stream's arrays.
            cells: Column to raw cells of the same rows.

        Returns:
            The fitted scaling.
        """
        values = [self._read(column, cells, field) for field in self.fields]
        found = [_center_and_spread(numbers[~np.isnan(numbers)]) for numbers in values]
        center, spread = np.array(found, np.float64).reshape(-1, 2).T
        pairs = zip(values, center, spread, strict=True)
        quantiles = [_quantiles(_scale(numbers, *place)) for numbers, *place in pairs]
        array = np.array(quantiles, np.float32).reshape(-1, NUM_QUANTILES)
        return NumberScaling(columns=self.columns, center=center, spread=spread, quantiles=array)

    def read(self, column: Column, cells: Mapping[str, Sequence[Cell]]) -> Column:
        """Replace the numbers of a stream by scaled raw ones.

        Args:
            column: The stream's arrays; fields that are no plain numbers stay as they are.
            cells: Column to raw cells of the same rows; a column that is missing is absent.

        Returns:
            float32 ``[N, fields]``.
        """
        values, present = column.values.astype(np.float32), column.present.copy()
        numbers = np.stack([self._read(column, cells, field) for field in self.fields], axis=1)
        scaled = _scale(numbers, self.center, self.spread)
        present[:, self.fields] = ~np.isnan(scaled)
        values[:, self.fields] = np.nan_to_num(scaled)
        return Column(values, present)

    def for_linear(self, values: Floats, present: NDArray[np.bool_]) -> Floats:
        """Compute the features of linear models.

        Args:
            values: ``[N, fields]`` of ``read``.
            present: bool ``[N, fields]``.

        Returns:
            ``[N, 2 F]``: each number cut off, and its normal score; zero, the median, where absent.
        """
        numbers = values[:, self.fields]
        cut = np.clip(numbers, -CUT_OFF, CUT_OFF)
        score = np.stack([_normal_score(*pair) for pair in zip(numbers.T, self.quantiles, strict=True)], axis=1)
        pairs = np.where(present[:, self.fields, None], np.stack([cut, score], axis=2), np.float32(0))
        return pairs.reshape(len(values), 2 * numbers.shape[1])

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the fitted state as plain JSON and named arrays."""
        arrays: dict[str, NDArray[Any]] = {"center": self.center, "spread": self.spread, "quantiles": self.quantiles}
        return {"columns": self.columns}, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> NumberScaling:
        """Restore the scaling.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            A scaling that reads the same bits.
        """
        return cls(columns=state["columns"], **arrays)

    def _read(self, column: Column, cells: Mapping[str, Sequence[Cell]], field: int) -> NDArray[np.float64]:
        given = cells.get(self.columns[field])
        if given is None:
            return np.full(len(column), np.nan)
        return np.where(column.present[:, field], read_numbers(given), np.nan)


def read_numbers(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Read numbers from raw cells.

    Args:
        cells: Numbers, bools or texts.

    Returns:
        float64 ``[N]``, NaN where there is no number.
    """
    try:
        values = np.array(cells, np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.array([_parse(cell) for cell in cells], np.float64)
    return values if values.shape == (len(cells),) else np.full(len(cells), np.nan)


def _parse(cell: Cell) -> float:
    try:
        value = None if cell is None else parse_number(cell)
    except CellReadError:
        value = None
    return np.nan if value is None else value


def _center_and_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, center, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = high - low
    if not 0 < spread < np.inf:
        spread = np.abs(values - center).mean()
    return float(center), float(spread) if 0 < spread < np.inf else 1.0


def _scale(
    values: NDArray[np.float64], center: float | NDArray[np.float64], spread: float | NDArray[np.float64]
) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(np.clip((values - center) / spread, -LARGEST, LARGEST), np.float32)


def _quantiles(scaled: Floats) -> Floats:
    present = scaled[~np.isnan(scaled)].astype(np.float64)
    return np.quantile(present if len(present) else np.zeros(1), np.linspace(0, 1, NUM_QUANTILES)).astype(np.float32)


def _normal_score(values: Floats, quantiles: Floats) -> Floats:
    """Return the normal score of the quantile of each number; equal numbers get the middle of theirs."""
    upper = np.interp(values, quantiles, SHARES)
    lower = np.interp(-values, -quantiles[::-1], 1 - SHARES[::-1])
    return np.asarray(NORMAL_QUANTILE(np.clip((upper + 1 - lower) / 2, OUTERMOST, 1 - OUTERMOST)), np.float32)
