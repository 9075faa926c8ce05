"""What all metrics share: rows with weights, and ratios that may be undefined (numpy only).

Every metric is written for weighted rows: a score gives all rows the weight one, a bootstrap resample gives
each row the number of times it was drawn. So all resamples of a metric are computed at once, and a score and
its interval can never be two different formulas.

Shape legend: N rows, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Measure = Callable[[Floats], dict[str, Floats]]
"""From row weights ``[R, N]`` to metrics ``[R]``, NaN where a metric is not defined."""
MetricFunction = Callable[[Any], Floats]
"""From the weighted rows of one kind of target to a metric ``[R]``, NaN where it is not defined."""
ShareFunction = Callable[[Any], tuple[Floats, Floats]]
"""From the weighted rows of one kind of target to the weight of rows that count, and of all ``[R]`` each."""
MAX_BLOCK_VALUES = 1_000_000
RowsT = TypeVar("RowsT")


class Rows(Protocol):
    """Truth and predictions of the rows of one target, with what is computed of them once."""

    def weighted(self, weights: Floats) -> Any:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            What the metrics of this kind of target are computed from, a ``Weighted``.
        """


@dataclass(frozen=True, eq=False)
class Weighted(Generic[RowsT]):
    """Rows with weights. Subclasses add sums over rows; each is computed once, when the first metric needs it.

    Attributes:
        rows: What is computed once, whatever the weights.
        weights: ``[R, N]``.
    """

    rows: RowsT
    weights: Floats

    @cached_property
    def totals(self) -> Floats:
        """Sum of the weights ``[R]``."""
        return np.asarray(self.weights.sum(axis=1))


def ratio(upper: Floats, lower: Floats, otherwise: float = 0.0) -> Floats:
    """Divide where the divisor is positive.

    Args:
        upper: Any shape.
        lower: The same shape.
        otherwise: What stands elsewhere.

    Returns:
        The ratios, the same shape.
    """
    return np.where(lower > 0, upper / np.where(lower > 0, lower, 1.0), otherwise)


def mean_where(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Average over the second axis.

    Args:
        values: ``[R, C]``.
        counted: bool ``[R, C]``, True for the values that count.

    Returns:
        ``[R]``, NaN where none counts.
    """
    return ratio((values * counted).sum(axis=1), counted.sum(axis=1).astype(np.float64), np.nan)
