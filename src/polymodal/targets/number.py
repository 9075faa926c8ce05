"""The target number: regression on the standardised value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.errors import SchemaError
from polymodal.modalities.base import fit_mean_std
from polymodal.targets.base import Prediction

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_STD = 1e-100
"""Squares of smaller deviations, and of ones larger than its inverse, leave the range of float64."""


@dataclass(frozen=True, kw_only=True)
class NumberTarget:
    """A column with one number in each row.

    Attributes:
        mean: Mean of the training cells.
        std: Standard deviation of the training cells.
        lowest: The smallest training cell, below which nothing is predicted, where none is negative; else None.
    """

    mean: float
    std: float
    lowest: float | None = None

    kind: ClassVar[str] = "number"

    @property
    def output_dim(self) -> int:
        """One value."""
        return 1

    @property
    def classes(self) -> list[str] | None:
        """None: numbers have no classes."""
        return None

    @classmethod
    def fit(cls, cells: Sequence[Cell]) -> Self:
        """Fit mean and standard deviation.

        Args:
            cells: Cells of the training rows.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If all numbers are equal, or their variance is beyond what can be computed.
        """
        numbers = np.array([value for value in map(read_number, cells) if value is not None], dtype=np.float64)
        if len(np.unique(numbers)) < 2:
            raise SchemaError("A number target needs two different numbers or more in the training rows. Found fewer.")
        mean, std = (float(value) for value in fit_mean_std(numbers))
        if not SMALLEST_STD < std < 1 / SMALLEST_STD:
            raise SchemaError(
                f"The numbers of a number target must deviate by {SMALLEST_STD:g} to {1 / SMALLEST_STD:g} from their "
                f"mean. Got {std:g} instead. Write them in another unit, or correct those that are far from the others."
            )
        lowest = float(numbers.min())
        return cls(mean=mean, std=std, lowest=lowest if lowest >= 0 else None)

    def encode(self, cells: Sequence[Cell]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read the numbers.

        Args:
            cells: Cells of any rows.

        Returns:
            float64 ``[rows]``, 0 where unknown, and a mask, bool ``[rows]``.
        """
        found = [read_number(cell) for cell in cells]
        present = np.array([value is not None for value in found], dtype=np.bool_).reshape(-1)
        return np.array([value or 0.0 for value in found], dtype=np.float64).reshape(-1), present

    def loss(self, output: Tensor, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Squared error in units of the training cells' variance, each row's.

        Args:
            output: Standardised predictions ``[B, 1]``.
            truth: Values ``[B]``, not standardised.
            smoothing: Not used: numbers have no classes.

        Returns:
            Loss ``[B]``.
        """
        standard = (truth - self.mean) / self.std  # before the cast: float32 has no seconds of 2024
        return (output.squeeze(1) - standard.to(output.dtype)).square()

    def to_prediction(self, output: NDArray[np.float32]) -> Prediction:
        """Undo the standardisation.

        Args:
            output: Standardised predictions ``[rows, 1]``.

        Returns:
            Values ``[rows]`` in the unit of the column.
        """
        return self.limited(output[:, 0].astype(np.float64) * self.std + self.mean)

    def limited(self, values: Prediction) -> Prediction:
        """Raise values to the smallest training cell where no training cell is negative: prices, counts, durations.

        Args:
            values: Any numbers.

        Returns:
            The same, none below ``lowest``.
        """
        return values if self.lowest is None else np.maximum(values, self.lowest)

    def limited_intervals(self, intervals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cut off what is negative of intervals where no training cell is negative.

        Args:
            intervals: float64 ``[rows, 2]``.

        Returns:
            The same, none below zero; a truth below ``lowest`` is still inside.
        """
        return intervals if self.lowest is None else np.maximum(intervals, 0.0)

    def decode(self, prediction: Prediction) -> list[Cell]:
        """Return plain floats.

        Args:
            prediction: Values ``[rows]``.

        Returns:
            One float a row.
        """
        return [float(value) for value in prediction]

    @property
    def prior(self) -> Prediction:
        """The training mean, ``[1]``."""
        return np.array([self.mean])

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned.

        Returns:
            The same target.
        """
        return cls(**state)


def read_number(cell: Cell) -> float | None:
    """Read a number, or None where the cell holds no finite one.

    Args:
        cell: Number or text.

    Returns:
        The value.
    """
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
