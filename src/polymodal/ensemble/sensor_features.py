"""Statistics of sensor series and point clouds, for the baselines (numpy).

Shape legend: N rows, T steps or frames, P points of a frame, F features of a point, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
LAGS = (1, 2, 3, 4, 6, 8)
"""Lags of the autocorrelations, in steps."""
MAX_BATCH_VALUES = 4_000_000
EPSILON = 1e-6


def series_features(column: Column) -> Floats:
    """Compute statistics of series.

    Args:
        column: float ``[N, T, C]`` with lengths.

    Returns:
        float32 ``[N, 19 C + 1]``: of each channel mean, deviation, seven quantiles, and of its changes over time mean
        absolute value, deviation, range and autocorrelations; and the logarithm of the length. Zeros where absent.
    """
    return _compute_in_batches(column, _series_statistics)


def point_cloud_features(column: Column) -> Floats:
    """Compute statistics of sequences of point clouds.

    Args:
        column: float ``[N, T, P, F + 1]`` with lengths, the last feature 1 for a point and 0 for padding.

    Returns:
        float32 ``[N, ...]``: mean, deviation and quantiles over all points of a row, and their number; and how the mean
        and the deviation of each frame and its number of points change over time (0 for a single cloud). Zeros where
        absent.
    """
    return _compute_in_batches(column, _cloud_statistics)


def _compute_in_batches(column: Column, compute: Callable[[Floats, Mask], Floats]) -> Floats:
    """Compute in batches of rows; values of absent rows are not read."""
    steps = column.values.shape[1]
    lengths = np.full(len(column), steps) if column.lengths is None else column.lengths
    is_valid = (np.arange(steps) < lengths[:, None]) & column.row_present[:, None]
    step = max(1, MAX_BATCH_VALUES // max(int(np.prod(column.values.shape[1:])), 1))
    parts = []
    for start in range(0, max(len(column), 1), step):
        rows = slice(start, start + step)
        is_valid_step = is_valid[rows].reshape(*is_valid[rows].shape, *(1,) * (column.values.ndim - 2))
        parts.append(compute(np.where(is_valid_step, column.values[rows], 0).astype(np.float32), is_valid[rows]))
    return np.concatenate(parts).astype(np.float32)


def _series_statistics(values: Floats, is_valid: Mask) -> Floats:
    length = np.log1p(is_valid.sum(axis=1))[:, None]
    return np.concatenate([_statistics(values, is_valid), _change_statistics(values, is_valid), length], axis=1)


def _cloud_statistics(values: Floats, is_valid: Mask) -> Floats:
    points, is_point_NTP = values[..., :-1], values[..., -1] > 0.5
    total = points.shape[1] * points.shape[2]
    flat, is_point = points.reshape(len(points), total, points.shape[3]), is_point_NTP.reshape(len(points), total)
    count = np.log1p(is_point.sum(axis=1))[:, None]
    return np.concatenate(
        [_statistics(flat, is_point), count, _change_statistics(_frame_moments(points, is_point_NTP), is_valid)], axis=1
    )


def _frame_moments(points: Floats, is_point_NTP: Mask) -> Floats:
    """Return each frame's mean and deviation of every feature, and the logarithm of its points: ``[N, T, 2 F + 1]``."""
    mean, deviation = _moments(points, is_point_NTP)
    return np.concatenate([mean, deviation, np.log1p(is_point_NTP.sum(axis=2))[..., None]], axis=2).astype(np.float32)


def _moments(values: Floats, is_valid: Mask) -> tuple[Floats, Floats]:
    """Return mean and deviation over the last axis but one, 0 where no value is valid."""
    count = np.maximum(is_valid.sum(axis=-1), 1)[..., None].astype(np.float32)
    mean = (values * is_valid[..., None]).sum(axis=-2) / count
    square = ((values - mean[..., None, :]) ** 2 * is_valid[..., None]).sum(axis=-2) / count
    return mean, np.sqrt(square)


def _statistics(values: Floats, is_valid: Mask) -> Floats:
    """Return mean, deviation and quantiles of each channel, ``[N, 9 C]``."""
    count = is_valid.sum(axis=1)
    ordered = np.sort(np.where(is_valid[..., None], values, np.inf), axis=1)
    parts = [*_moments(values, is_valid)]
    for share in QUANTILES:
        place = np.round(share * np.maximum(count - 1, 0)).astype(np.int64)
        quantile = np.take_along_axis(ordered, place[:, None, None], axis=1)[:, 0]
        parts.append(np.where(count[:, None] > 0, quantile, 0))
    return np.concatenate(parts, axis=1)


def _change_statistics(values: Floats, is_valid: Mask) -> Floats:
    """Return statistics over time, ``[N, 10 C]``: absolute differences, deviations, range and autocorrelations."""
    steps, both = np.diff(values, axis=1), is_valid[:, 1:] & is_valid[:, :-1]
    mean, deviation = _moments(values, is_valid)
    centred = (values - mean[:, None]) * is_valid[..., None]
    energy = (centred**2).sum(axis=1) + EPSILON
    autocorrelations = [
        (centred[:, lag:] * centred[:, :-lag]).sum(axis=1) / energy if lag < values.shape[1] else np.zeros_like(mean)
        for lag in LAGS
    ]
    highest = (centred - 1e9 * ~is_valid[..., None]).max(axis=1, initial=-1e9)
    lowest = (centred + 1e9 * ~is_valid[..., None]).min(axis=1, initial=1e9)
    value_range = np.maximum(highest - lowest, 0)
    mean_step, step_std = _moments(np.abs(steps), both)[0], _moments(steps, both)[1]
    return np.concatenate([mean_step, step_std, deviation, value_range, *autocorrelations], axis=1)
