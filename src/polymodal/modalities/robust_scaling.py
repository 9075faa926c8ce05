"""Mean and standard deviation that are robust to outliers (numpy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import fit_mean_std

OUTLIER_QUANTILES = (0.01, 0.99)
MAX_MAGNITUDE = 1e150
"""Larger magnitudes are clipped to this, so that no sum overflows."""


def fit_robust_scale(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column, with outliers clipped.

    Values count as no further out than the 1 % and 99 % quantiles, each moved outwards by the distance of the two: rare
    peaks that belong to a signal keep their weight, a broken sensor's 1e30 loses it.

    Args:
        values: float64 ``[rows, columns]``; NaN and infinite values are left out.

    Returns:
        Mean (0 without values) and standard deviation (1 where there is none), each ``[columns]``.
    """
    mean, std = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for column in range(values.shape[1]):
        finite = values[:, column]
        finite = np.clip(finite[np.isfinite(finite)], -MAX_MAGNITUDE, MAX_MAGNITUDE)
        mean[column], std[column] = fit_mean_std(_clip_outliers(finite)) if len(finite) else (0.0, 1.0)
    return mean, std


def _clip_outliers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.quantile(values, OUTLIER_QUANTILES)
    margin = high - low
    return np.clip(values, low - margin, high + margin) if margin > 0 else values


def subsample_rows(values: NDArray[np.float64], max_rows: int) -> NDArray[np.float64]:
    """Sample rows at random with a fixed seed; evenly spaced rows could alias with periodic values.

    Args:
        values: float64 ``[rows, columns]``.
        max_rows: Maximum number of rows.

    Returns:
        A copy of those rows, in their order.
    """
    if len(values) <= max_rows:
        return values.copy()
    return values[np.sort(np.random.default_rng(0).choice(len(values), max_rows, replace=False))]
