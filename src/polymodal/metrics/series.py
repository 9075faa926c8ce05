"""Metrics of series of numbers, from sums over rows (numpy only).

Shape legend: N rows, R resamples, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from polymodal.arrays import Cell
from polymodal.metrics.regression import mean_explained
from polymodal.metrics.weighted import Floats, Weighted

MIN_VARIATION = 1e-12
"""A channel with a smaller total sum of squares has no r2."""


class SeriesRows:
    """Rows of a series each. All numbers of the truth have equal weight, so that long series have more."""

    def __init__(self, truth: Sequence[Cell], prediction: Sequence[Cell], num_channels: int) -> None:
        """Sum the errors of each row.

        Args:
            truth: Series ``[N]``, lists of numbers or of lists of C numbers.
            prediction: Series ``[N]``; what goes beyond the truth's last step does not count.
            num_channels: C.
        """
        true = [np.array(cell, dtype=np.float64).reshape(-1, num_channels) for cell in truth]
        predicted = [
            np.array(cell, dtype=np.float64).reshape(-1, num_channels)[: len(steps)]
            for cell, steps in zip(prediction, true, strict=True)
        ]
        centre = np.concatenate(true).mean(axis=0) if true else 0.0
        self.num_channels = num_channels
        self.sums = _sums([steps - centre for steps in true], [steps - centre for steps in predicted], num_channels)

    def weighted(self, weights: Floats) -> WeightedSeries:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedSeries(self, weights)


class WeightedSeries(Weighted[SeriesRows]):
    """Weighted errors of series."""

    @cached_property
    def _sums(self) -> list[Floats]:
        return [self.weights @ part for part in self.rows.sums]

    @cached_property
    def _numbers(self) -> Floats:
        return self._sums[0][:, 0] * self.rows.num_channels

    @property
    def mean_squared(self) -> Floats:
        """Mean squared error of all numbers ``[R]``."""
        return np.asarray(self._sums[2].sum(axis=1) / self._numbers)

    @property
    def mean_absolute(self) -> Floats:
        """Mean absolute error of all numbers ``[R]``."""
        return np.asarray(self._sums[1].sum(axis=1) / self._numbers)

    @property
    def explained(self) -> Floats:
        """The channels' mean coefficient of determination ``[R]``, NaN where no channel varies."""
        steps, _, squared, linear, square = self._sums
        return mean_explained(squared, square - linear**2 / steps, MIN_VARIATION)


def _sums(true: Sequence[Floats], predicted: Sequence[Floats], num_channels: int) -> list[Floats]:
    """Return each row's number of steps ``[N, 1]`` and sums by channel ``[N, C]``.

    They are those of the absolute errors, the squared errors, the truth, and its squares.
    """
    errors = [prediction - steps for prediction, steps in zip(predicted, true, strict=True)]
    by_channel = [
        [np.abs(error).sum(axis=0) for error in errors],
        [(error**2).sum(axis=0) for error in errors],
        [steps.sum(axis=0) for steps in true],
        [(steps**2).sum(axis=0) for steps in true],
    ]
    lengths = np.array([len(steps) for steps in true], dtype=np.float64).reshape(-1, 1)
    return [lengths, *(np.array(part).reshape(-1, num_channels) for part in by_channel)]
