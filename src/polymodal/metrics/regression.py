"""Metrics of regression: numbers, vectors and sketches (numpy only).

Shape legend: N rows, D numbers a row, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.metrics.weighted import Floats, Weighted

MIN_VARIATION = 1e-6
"""A number of a vector with a smaller total sum of squares has no r2."""
EPSILON = 1e-12


class MeanErrors(Protocol):
    """Mean errors of weighted rows, whatever they hold."""

    @property
    def mean_squared(self) -> Floats:
        """Mean squared error ``[R]``."""

    @property
    def mean_absolute(self) -> Floats:
        """Mean absolute error ``[R]``."""


class ExplainedVariance(Protocol):
    """Share of the truth's variance that predictions explain."""

    @property
    def explained(self) -> Floats:
        """One minus the squared error over the squared distance from the mean ``[R]``."""


def rmse(errors: MeanErrors) -> Floats:
    """Root of the mean squared error."""
    return np.sqrt(errors.mean_squared)


def mae(errors: MeanErrors) -> Floats:
    """Mean absolute error."""
    return errors.mean_absolute


def r2(errors: ExplainedVariance) -> Floats:
    """Coefficient of determination, of several numbers a row the mean."""
    return errors.explained


def mape(errors: WeightedNumbers) -> Floats:
    """Mean absolute error as a share of the truth, where no truth is 0."""
    if not (errors.rows.truth != 0).all():
        return np.full(len(errors.weights), np.nan)
    return errors.weights @ np.abs(errors.rows.error / errors.rows.truth) / errors.totals


@dataclass(frozen=True, eq=False)
class NumberRows:
    """Rows of one number each.

    Attributes:
        truth: ``[N]``.
        prediction: ``[N]``.
    """

    truth: Floats
    prediction: Floats

    @cached_property
    def error(self) -> Floats:
        """Prediction minus truth ``[N]``."""
        return self.prediction - self.truth

    def weighted(self, weights: Floats) -> WeightedNumbers:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedNumbers(self, weights)


class WeightedNumbers(Weighted[NumberRows]):
    """Weighted errors of one number a row."""

    @cached_property
    def _squared(self) -> Floats:
        return self.weights @ self.rows.error**2

    @property
    def mean_squared(self) -> Floats:
        """Mean squared error ``[R]``."""
        return self._squared / self.totals

    @property
    def mean_absolute(self) -> Floats:
        """Mean absolute error ``[R]``."""
        return self.weights @ np.abs(self.rows.error) / self.totals

    @property
    def explained(self) -> Floats:
        """Coefficient of determination ``[R]``, NaN where the truth does not vary."""
        truth = self.rows.truth
        centre = self.weights @ truth / self.totals
        total_squares = (self.weights * (truth[None, :] - centre[:, None]) ** 2).sum(axis=1)
        return np.where(
            total_squares > 0, 1.0 - self._squared / np.where(total_squares > 0, total_squares, 1.0), np.nan
        )


def number_rows(
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str],  # noqa: ARG001
    label_weights: Sequence[float] | None = None,  # noqa: ARG001
) -> NumberRows:
    """Prepare rows of one number each.

    Args:
        truth: ``[N]``.
        prediction: ``[N]``.
        classes: Not used: numbers have no classes.
        label_weights: Not used.

    Returns:
        The data that the metrics are computed from.
    """
    return NumberRows(truth.astype(np.float64), prediction)


class VectorRows:
    """Rows of D numbers each."""

    def __init__(self, truth: Sequence[Cell], prediction: Sequence[Cell]) -> None:
        """Compute the errors.

        Args:
            truth: Lists of numbers ``[N]``.
            prediction: Lists of numbers ``[N]``, as long.
        """
        self.truth, self.prediction = (
            np.array(lists, dtype=np.float64).reshape(len(truth), -1) for lists in (truth, prediction)
        )
        self.squared, self.absolute = (self.prediction - self.truth) ** 2, np.abs(self.prediction - self.truth)

    def weighted(self, weights: Floats) -> WeightedVectors:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedVectors(self, weights)


class WeightedVectors(Weighted[VectorRows]):
    """Weighted errors of D numbers a row."""

    @cached_property
    def _squared(self) -> Floats:
        return self.weights @ self.rows.squared

    @property
    def mean_squared(self) -> Floats:
        """Mean squared error of all numbers ``[R]``."""
        return np.asarray(self._squared.mean(axis=1) / self.totals)

    @property
    def mean_absolute(self) -> Floats:
        """Mean absolute error of all numbers ``[R]``."""
        return np.asarray((self.weights @ self.rows.absolute).mean(axis=1) / self.totals)

    @property
    def explained(self) -> Floats:
        """The numbers' mean coefficient of determination ``[R]``, NaN where none varies."""
        mean = self.weights @ self.rows.truth / self.totals[:, None]
        total_squares = self.weights @ self.rows.truth**2 - self.totals[:, None] * mean**2
        return mean_explained(self._squared, total_squares, MIN_VARIATION)


class SketchRows:
    """Rows of D standardised numbers each, some of them unknown."""

    def __init__(self, truth: Sequence[Any], prediction: Sequence[Any]) -> None:
        """Sum the errors of each row.

        Args:
            truth: Standardised numbers ``[D]`` a row, NaN where unknown.
            prediction: Standardised numbers ``[D]`` a row.
        """
        true = np.array(truth, dtype=np.float64).reshape(len(truth), -1)
        known = ~np.isnan(true)
        true = np.where(known, true, 0.0)
        error = np.where(known, np.array(prediction, dtype=np.float64).reshape(true.shape) - true, 0.0)
        self.squared, self.absolute = (error**2).sum(axis=1), np.abs(error).sum(axis=1)
        self.total_squares, self.count = (true**2).sum(axis=1), known.sum(axis=1)

    def weighted(self, weights: Floats) -> WeightedSketches:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedSketches(self, weights)


class WeightedSketches(Weighted[SketchRows]):
    """Weighted errors of the known numbers, in units of their standard deviation in training."""

    @cached_property
    def _count(self) -> Floats:
        return np.asarray(np.maximum(self.weights @ self.rows.count, EPSILON))

    @property
    def mean_squared(self) -> Floats:
        """Mean squared error of the known numbers ``[R]``."""
        return np.asarray(self.weights @ self.rows.squared / self._count)

    @property
    def mean_absolute(self) -> Floats:
        """Mean absolute error of the known numbers ``[R]``."""
        return np.asarray(self.weights @ self.rows.absolute / self._count)

    @property
    def explained(self) -> Floats:
        """Share of the variance about the training mean that is explained ``[R]``."""
        total_squares = np.maximum(self.weights @ self.rows.total_squares, EPSILON)
        return np.asarray(1 - self.weights @ self.rows.squared / total_squares)


def mean_explained(squared: Floats, total_squares: Floats, min_total: float) -> Floats:
    """Average R² over the numbers that vary.

    Args:
        squared: Sums of squared errors ``[R, D]``.
        total_squares: Sums of squared distances from the mean ``[R, D]``.
        min_total: Numbers with a smaller total sum of squares are left out.

    Returns:
        ``[R]``; NaN where no number varies.
    """
    usable = total_squares > min_total
    parts = np.where(usable, 1 - squared / np.where(usable, total_squares, 1.0), 0.0)
    count = usable.sum(axis=1)
    return np.where(count > 0, parts.sum(axis=1) / np.maximum(count, 1), np.nan)
