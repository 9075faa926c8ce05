"""Features of images and videos for the baselines: thumbnails and differences of frames (numpy).

Shape legend: N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column

Floats = NDArray[np.float32]

MAX_BATCH_ROWS = 512
MAX_BATCH_VALUES = 25_000_000
VIDEO_BATCH_ROWS = 32
CHANGE_SIDE = 8
"""Longer side of the image of mean absolute differences of frames."""


def thumbnails(column: Column, side: int) -> tuple[Floats, int]:
    """Downscale images by area averaging.

    Args:
        column: uint8 ``[N, height, width, channels]``.
        side: Length of the longer side afterwards, in pixels; smaller images stay as they are.

    Returns:
        float32 ``[N, pixels * channels]`` in 0..1, zero where absent, and the number of features.
    """
    num_rows, height, width, channels = column.values.shape
    shrink = min(1.0, side / max(height, width, 1))
    rows = area_weights(height, max(round(height * shrink), 1))
    columns = np.kron(area_weights(width, max(round(width * shrink), 1)), np.eye(channels, dtype=np.float32))

    step = choose_batch_rows(column)

    def batch_thumbnails(start: int) -> Floats:
        part = np.asarray(column.values[start : start + step], dtype=np.float32)
        lines = np.matmul(rows, part.reshape(len(part), height, width * channels) / 255.0)
        return np.asarray((lines @ columns.T).reshape(len(part), -1))

    features = compute_in_batches(batch_thumbnails, num_rows, len(rows) * len(columns), step)
    return np.where(column.row_present[:, None], features, np.float32(0.0)), features.shape[1]


def video_features(column: Column, side: int, *, with_differences: bool = False) -> tuple[Floats, int]:
    """Compute thumbnails of three frames and the mean absolute difference of frames.

    Args:
        column: uint8 ``[N, frames, height, width, channels]`` with lengths.
        side: Length of a thumbnail's longer side, in pixels.
        with_differences: Whether the changes between the three thumbnails are added, for trees, which cannot subtract.

    Returns:
        float32 ``[N, ...]`` in -1..1, zero where absent: the first, middle and last frame, their differences if
        requested, and the mean absolute difference of consecutive frames at a side of 8 pixels; and the number of
        features that are thumbnails.
    """
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    last = np.maximum(lengths, 1) - 1
    rows = np.arange(len(column))
    frames = [
        thumbnails(Column(column.values[rows, at], column.present), side)[0] for at in (0 * last, last // 2, last)
    ]
    parts = [*frames, *(np.diff(frames, axis=0) if with_differences else [])]
    return np.concatenate([*parts, _mean_change(column, lengths)], axis=1), sum(part.shape[1] for part in frames)


def _mean_change(column: Column, lengths: NDArray[np.int64]) -> Floats:
    """Return the mean absolute difference of consecutive frames at each pixel, ``[N, pixels]``."""
    parts = [np.zeros((0, thumbnails(_frames(column, slice(0)), CHANGE_SIDE)[1]), np.float32)]
    for start in range(0, len(column), VIDEO_BATCH_ROWS):
        rows = slice(start, start + VIDEO_BATCH_ROWS)
        small = thumbnails(_frames(column, rows), CHANGE_SIDE)[0].reshape(
            len(lengths[rows]), column.values.shape[1], -1
        )
        steps = np.arange(1, small.shape[1]) < lengths[rows, None]
        is_valid = (steps & column.present[rows, None])[..., None]
        total = np.where(is_valid, np.abs(np.diff(small, axis=1)), np.float32(0)).sum(axis=1)
        parts.append(total / np.maximum(is_valid.sum(axis=1), 1).astype(np.float32))
    return np.concatenate(parts)


def _frames(column: Column, rows: slice) -> Column:
    values = column.values[rows]
    return Column(values.reshape(-1, *values.shape[2:]), np.ones(values.shape[0] * values.shape[1], np.bool_))


@lru_cache(maxsize=256)
def area_weights(size: int, bins: int) -> Floats:
    """Return the weights of area averaging along an axis.

    Args:
        size: Size of the axis.
        bins: Number of output bins.

    Returns:
        float32 ``[bins, size]``, shared, so it must not be modified.
    """
    edges = np.linspace(0, size, bins + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.asarray(np.clip(overlap, 0.0, None) * bins / max(size, 1), dtype=np.float32)


def choose_batch_rows(column: Column) -> int:
    """Choose the number of rows of a batch, so that memory is bounded.

    Args:
        column: The cells.

    Returns:
        Rows, at most 512.
    """
    return max(1, min(MAX_BATCH_ROWS, MAX_BATCH_VALUES // max(column.values[:1].size, 1)))


def compute_in_batches(
    function: Callable[[int], Floats], num_rows: int, num_features: int, step: int = MAX_BATCH_ROWS
) -> Floats:
    """Compute the features of many rows in batches.

    Args:
        function: Computes the features of the ``step`` rows from a row on.
        num_rows: N.
        num_features: Features of a row.
        step: Rows of a batch.

    Returns:
        float32 ``[N, num_features]``.
    """
    features = np.zeros((num_rows, num_features), np.float32)
    for start in range(0, num_rows, step):
        features[start : start + step] = function(start)
    return features
