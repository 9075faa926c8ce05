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
"""Steps between the two values of each autocorrelation."""
CELLS_AT_ONCE = 4_000_000
SMALL = 1e-6


def series_features(column: Column) -> Floats:
    """Describe series.

    Args:
        column: float ``[N, T, C]`` with lengths.

    Returns:
        float32 ``[N, 19 C + 1]``: of each channel mean, deviation, seven quantiles, and of its changes over time the
        mean size, deviation, reach and autocorrelations; and the logarithm of the length. Zeros where absent.
    """
    return _in_parts(column, _describe_series)


def cloud_features(column: Column) -> Floats:
    """Describe sequences of clouds.

    Args:
        column: float ``[N, T, P, F + 1]`` with lengths, the last feature 1 for a point and 0 for padding.

    Returns:
        float32 ``[N, ...]``: mean, deviation and quantiles over all points of a row, and their number; and how the mean
        and the deviation of each frame and its number of points change over time (0 for a single cloud). Zeros where
        absent.
    """
    return _in_parts(column, _describe_clouds)


def _in_parts(column: Column, describe: Callable[[Floats, Mask], Floats]) -> Floats:
    """Describe some rows at a time; absent rows are never read."""
    steps = column.values.shape[1]
    lengths = np.full(len(column), steps) if column.lengths is None else column.lengths
    inside = (np.arange(steps) < lengths[:, None]) & column.row_present[:, None]
    step = max(1, CELLS_AT_ONCE // max(int(np.prod(column.values.shape[1:])), 1))
    found = []
    for start in range(0, max(len(column), 1), step):
        rows = slice(start, start + step)
        there = inside[rows].reshape(*inside[rows].shape, *(1,) * (column.values.ndim - 2))
        found.append(describe(np.where(there, column.values[rows], 0).astype(np.float32), inside[rows]))
    return np.concatenate(found).astype(np.float32)


def _describe_series(values: Floats, inside: Mask) -> Floats:
    length = np.log1p(inside.sum(axis=1))[:, None]
    return np.concatenate([_levels(values, inside), _changes(values, inside), length], axis=1)


def _describe_clouds(values: Floats, inside: Mask) -> Floats:
    points, real = values[..., :-1], values[..., -1] > 0.5
    total = points.shape[1] * points.shape[2]
    flat, is_point = points.reshape(len(points), total, points.shape[3]), real.reshape(len(points), total)
    count = np.log1p(is_point.sum(axis=1))[:, None]
    return np.concatenate([_levels(flat, is_point), count, _changes(_frame_moments(points, real), inside)], axis=1)


def _frame_moments(points: Floats, real: Mask) -> Floats:
    """Return each frame's mean and deviation of every feature, and the logarithm of its points: ``[N, T, 2 F + 1]``."""
    mean, deviation = _moments(points, real)
    return np.concatenate([mean, deviation, np.log1p(real.sum(axis=2))[..., None]], axis=2).astype(np.float32)


def _moments(values: Floats, inside: Mask) -> tuple[Floats, Floats]:
    """Return mean and deviation over the last axis but one, 0 where nothing is inside."""
    count = np.maximum(inside.sum(axis=-1), 1)[..., None].astype(np.float32)
    mean = (values * inside[..., None]).sum(axis=-2) / count
    square = ((values - mean[..., None, :]) ** 2 * inside[..., None]).sum(axis=-2) / count
    return mean, np.sqrt(square)


def _levels(values: Floats, inside: Mask) -> Floats:
    """Return mean, deviation and quantiles of each channel, ``[N, 9 C]``."""
    count = inside.sum(axis=1)
    ordered = np.sort(np.where(inside[..., None], values, np.inf), axis=1)
    found = [*_moments(values, inside)]
    for share in QUANTILES:
        place = np.round(share * np.maximum(count - 1, 0)).astype(np.int64)
        picked = np.take_along_axis(ordered, place[:, None, None], axis=1)[:, 0]
        found.append(np.where(count[:, None] > 0, picked, 0))
    return np.concatenate(found, axis=1)


def _changes(values: Floats, inside: Mask) -> Floats:
    """Return how each channel changes over time, ``[N, 10 C]``: size of steps, their deviation, reach, and rhythm."""
    steps, both = np.diff(values, axis=1), inside[:, 1:] & inside[:, :-1]
    mean, deviation = _moments(values, inside)
    centred = (values - mean[:, None]) * inside[..., None]
    energy = (centred**2).sum(axis=1) + SMALL
    rhythm = [
        (centred[:, lag:] * centred[:, :-lag]).sum(axis=1) / energy if lag < values.shape[1] else np.zeros_like(mean)
        for lag in LAGS
    ]
    highest = (centred - 1e9 * ~inside[..., None]).max(axis=1, initial=-1e9)
    lowest = (centred + 1e9 * ~inside[..., None]).min(axis=1, initial=1e9)
    reach = np.maximum(highest - lowest, 0)
    size, unrest = _moments(np.abs(steps), both)[0], _moments(steps, both)[1]
    return np.concatenate([size, unrest, deviation, reach, *rhythm], axis=1)
