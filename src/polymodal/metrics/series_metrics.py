"""Scores of series of numbers, as sums over rows (numpy only).

Shape legend: N rows, R resamples, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.metrics.metrics import Measure

Floats = NDArray[np.float64]
SMALLEST_SPREAD = 1e-12
"""A channel that varies less has no r2."""


def measure_series(truth: Sequence[Cell], found: Sequence[Cell], num_channels: int) -> Measure:
    """Prepare the metrics of some rows.

    ``rmse`` and ``mae`` are taken over all numbers of the truth, so that a long series counts more than a short one;
    ``r2`` is the channels' mean of one minus the squared error over the squared distance from the channel's mean.

    Args:
        truth: Series ``[N]``, lists of numbers or of lists of C numbers.
        found: Series ``[N]``; what goes beyond the truth's last step does not count.
        num_channels: C.

    Returns:
        A function of row weights ``[R, N]``.
    """
    true = [np.array(cell, dtype=np.float64).reshape(-1, num_channels) for cell in truth]
    said = [
        np.array(cell, dtype=np.float64).reshape(-1, num_channels)[: len(steps)]
        for cell, steps in zip(found, true, strict=True)
    ]
    centre = np.concatenate(true).mean(axis=0) if true else 0.0
    sums = _sums([steps - centre for steps in true], [steps - centre for steps in said], num_channels)

    def measure(weights: Floats) -> dict[str, Floats]:
        steps, absolute, squared, linear, square = (weights @ part for part in sums)
        numbers = steps[:, 0] * num_channels
        return {
            "rmse": np.sqrt(squared.sum(axis=1) / numbers),
            "mae": absolute.sum(axis=1) / numbers,
            "r2": _explained(squared, square - linear**2 / steps),
        }

    return measure


def _sums(true: Sequence[Floats], said: Sequence[Floats], num_channels: int) -> list[Floats]:
    """Return each row's number of steps ``[N, 1]`` and sums by channel ``[N, C]``.

    They are those of the absolute errors, the squared errors, the truth, and its squares.
    """
    errors = [found - steps for found, steps in zip(said, true, strict=True)]
    by_channel = [
        [np.abs(error).sum(axis=0) for error in errors],
        [(error**2).sum(axis=0) for error in errors],
        [steps.sum(axis=0) for steps in true],
        [(steps**2).sum(axis=0) for steps in true],
    ]
    lengths = np.array([len(steps) for steps in true], dtype=np.float64).reshape(-1, 1)
    return [lengths, *(np.array(part).reshape(-1, num_channels) for part in by_channel)]


def _explained(squared: Floats, spread: Floats) -> Floats:
    """Return the mean over channels of 1 - error / spread, ``[R]``; NaN where no channel varies."""
    usable = spread > SMALLEST_SPREAD
    parts = np.where(usable, 1 - squared / np.where(usable, spread, 1.0), 0.0)
    count = usable.sum(axis=1)
    return np.where(count > 0, parts.sum(axis=1) / np.maximum(count, 1), np.nan)
