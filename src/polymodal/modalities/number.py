"""Numbers: standardised values, with quantile edges for embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import (
    MAX_ABS_VALUE,
    CellReadError,
    Modality,
    Settings,
    fit_mean_std,
    quantile_edges,
    quote,
    read_cells,
    standardise,
)
from polymodal.modalities.number_words import MISSING_WORDS

FAR = 20.0
"""A cell further than this from the median, in deviations by the interquartile range, is far from the others."""
IQR_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution in standard deviations."""
BOOLEAN_WORDS = {"true": 1.0, "false": 0.0}


class NumberSettings(Settings):
    """Numbers have no options."""


def is_missing_word(cell: Cell) -> bool:
    """Return True for text that stands for an absent number, such as ``n/a``."""
    return isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS


def parse_number(cell: Cell) -> float | None:
    """Parse a cell as a number.

    Args:
        cell: A number, bool (1 or 0), or text such as ``-1.5e3``, ``true``, ``NaN``.

    Returns:
        The number; None where the text stands for an absent one.

    Raises:
        CellReadError: If the cell is no finite number.
    """
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return _parse_word(cell)
    except OverflowError:
        value = math.inf
    if isinstance(cell, str) and "_" in cell:  # Python's 1_000 is no number in a table
        raise CellReadError(f"{quote(cell)} is not a number")
    if math.isinf(value):
        raise CellReadError(f"{quote(cell)} is infinite or too large")
    return None if math.isnan(value) else value


def _parse_word(cell: Cell) -> float | None:
    if is_missing_word(cell):
        return None
    word = cell.strip().lower() if isinstance(cell, str) else None
    if word not in BOOLEAN_WORDS:
        raise CellReadError(f"{quote(cell)} is not a number")
    return BOOLEAN_WORDS[word]


@dataclass(frozen=True, kw_only=True)
class Number(Modality):
    """Numbers standardised by the training cells' mean and deviation, limited to -10..10.

    Where some training cells are far from the others (sentinels such as 999999, prices), the median and the
    interquartile range take the place of mean and deviation, and the result goes through the inverse hyperbolic sine,
    which is a line around zero and a logarithm far from it (Burbidge et al. 1988): the others keep their differences.

    Attributes:
        mean: Mean of the training cells, or their median.
        std: Their standard deviation, 1 where they are all equal; or that of a normal distribution with their
            interquartile range.
        tails: "linear", or "asinh" where some are far from the others.
        quantiles: Up to 33 rising edges in standardised units, each stretch holding as many
            training cells as the others; for piecewise-linear embeddings.
    """

    mean: float
    std: float
    quantiles: list[float]
    tails: Literal["linear", "asinh"] = "linear"

    name: ClassVar[str] = "number"
    summary: ClassVar[str] = "numbers, standardised, with quantile edges"
    paper: ClassVar[str] = "Gorishniy et al. 2022, On Embeddings for Numerical Features, section 3.2"
    is_stream: ClassVar[bool] = False
    Settings: ClassVar[type[BaseModel]] = NumberSettings

    @classmethod
    def fit(
        cls,
        cells: Sequence[Cell],
        settings: NumberSettings,  # noqa: ARG003  (all modalities are called alike)
        folder: Path | None,  # noqa: ARG003
        *,
        num_threads: int | None = None,  # noqa: ARG003
    ) -> Number:
        """Fit mean, standard deviation and quantiles.

        Args:
            cells: Training cells.
            settings: No options.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality.
        """
        parsed, _ = read_cells(cells, parse_number)
        values = np.array([value for value in parsed if value is not None], np.float64)
        center, spread = _center_and_spread(values)
        if spread and _is_far(values, center, spread):
            unfitted = cls(mean=center, std=spread, quantiles=[], tails="asinh")
        else:
            mean, std = fit_mean_std(values)
            unfitted = cls(mean=float(mean), std=float(std), quantiles=[])
        return replace(unfitted, quantiles=quantile_edges(unfitted.scale(values)))

    def scale(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Standardise numbers.

        Args:
            values: float64 ``[...]``, finite.

        Returns:
            float32 of the same shape, in -10..10.
        """
        if self.tails == "linear":
            return standardise(values, self.mean, self.std)
        with np.errstate(over="ignore"):
            scaled = np.arcsinh(values / self.std - self.mean / self.std)
        return np.clip(scaled, -MAX_ABS_VALUE, MAX_ABS_VALUE).astype(np.float32)

    def unscale(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo ``scale``.

        Args:
            values: Standardised numbers ``[...]``.

        Returns:
            float64 of the same shape, in the column's own units.
        """
        own = np.clip(values, -MAX_ABS_VALUE, MAX_ABS_VALUE)
        return np.asarray((own if self.tails == "linear" else np.sinh(own)) * self.std + self.mean, np.float64)

    def transform(
        self,
        cells: Sequence[Cell],
        folder: Path | None,  # noqa: ARG002
        *,
        num_threads: int | None = None,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Standardise cells.

        Args:
            cells: Numbers, bools or text.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            float32 ``[rows]``, and the broken cells: text that is no number, and infinities.
        """
        parsed, broken = read_cells(cells, parse_number)
        present = np.array([value is not None for value in parsed], bool)
        values = np.array([self.mean if value is None else value for value in parsed], np.float64)
        return Column(self.scale(values), present), broken

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Number:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def _center_and_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median, and the deviation by the interquartile range; 0 where half of the values are equal.

    One value that half of them have (zeros, a sentinel) is left out, so that the others decide.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(values) and 2 * counts.max() >= len(values):
        values = values[values != distinct[counts.argmax()]]
    if not len(values):
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, center, high = np.quantile(values, [0.25, 0.5, 0.75])
        spread = (high - low) / IQR_OF_NORMAL
    return float(center), float(spread) if np.finfo(np.float64).tiny < spread < np.inf else 0.0


def _is_far(values: NDArray[np.float64], center: float, spread: float) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.abs(values / spread - center / spread).max() > FAR)
