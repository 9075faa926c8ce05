"""Sketches: short vectors that summarise a cell, for every modality (numpy only).

Sketches are what reconstruction is trained on, and what is predicted for absent streams.

Shape legend: N rows, D numbers of a sketch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.modalities import ModalityEntry
from polymodal.plugins import AspectTable

Floats = NDArray[np.float32]

SIDE = 16
"""Maximum height and width to which images are averaged, and number of segments of audio and series."""
VIDEO_SIDE = 8
VIDEO_SEGMENTS = 4
NUM_BUCKETS = 256
"""Number of hash buckets of a text's tokens."""
MAX_LENGTH = 512


def sketch(modality: str, column: Column) -> Floats:
    """Compute the sketches of a column.

    Args:
        modality: Name of the column's modality.
        column: Its arrays.

    Returns:
        float32 ``[N, D]``, with NaN where a value is absent.
    """
    values = SKETCHES[modality](column)
    present = column.present if column.present.shape == values.shape else column.row_present[:, None]
    return np.where(present, values, np.float32(np.nan)).astype(np.float32)


def equal_slices(size: int, max_parts: int) -> list[slice]:
    """Divide an axis into at most ``max_parts`` equal slices.

    Args:
        size: Length of the axis.
        max_parts: Maximum number of slices.

    Returns:
        The slices, in order.
    """
    edges = np.linspace(0, size, min(size, max_parts) + 1).round().astype(int)
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _means(values: NDArray[np.generic], axis: int, max_parts: int) -> Floats:
    """Average equal slices of one axis."""
    cut = [
        np.take(values, range(*part.indices(values.shape[axis])), axis)
        for part in equal_slices(values.shape[axis], max_parts)
    ]
    return np.stack([part.mean(axis=axis, dtype=np.float32) for part in cut], axis=axis)


def _flat(values: NDArray[np.generic]) -> Floats:
    return values.reshape(len(values), int(np.prod(values.shape[1:]))).astype(np.float32)


def _image(column: Column) -> Floats:
    return _flat(_means(_means(column.values, 1, SIDE), 2, SIDE) / np.float32(255))


def _text(column: Column) -> Floats:
    sketches = np.zeros((len(column), NUM_BUCKETS), dtype=np.float32)
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    inside = np.arange(column.values.shape[1])[None] < np.where(column.row_present, lengths, 0)[:, None]
    rows, places = np.nonzero(inside)
    sketches[rows, column.values[rows, places].astype(np.int64) % NUM_BUCKETS] = 1
    return sketches


def _flat_means(column: Column) -> Floats:
    return _flat(_means(_flat(column.values), 1, MAX_LENGTH))


def _tabular(column: Column) -> Floats:
    return _flat(column.values)


def _video(column: Column) -> Floats:
    return _steps(column, VIDEO_SEGMENTS, VIDEO_SIDE)


def _steps(column: Column, count: int = SIDE, max_parts: int = SIDE) -> Floats:
    """Average segments of each row's own length; the values of a step are averaged as well."""
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    size = _average_axes(column.values[:1, :1], max_parts).shape[1]
    sketches = np.zeros((len(column), count, size), dtype=np.float32)
    for row in np.flatnonzero(column.row_present & (lengths > 0)):
        steps = _average_axes(column.values[row : row + 1, : lengths[row]][0][:, None], max_parts)
        for place, part in enumerate(_overlapping_slices(int(lengths[row]), count)):
            sketches[row, place] = steps[part].mean(axis=0)
    return _flat(sketches)


def _points(column: Column) -> Floats:
    """Return for segments of time the share of points, and mean and standard deviation of their features.

    Points are unordered, so the axis of points is not divided.
    """
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    sketches = np.zeros((len(column), SIDE, 2 * column.values.shape[3] - 1), dtype=np.float32)
    for row in np.flatnonzero(column.row_present & (lengths > 0)):
        for place, part in enumerate(_overlapping_slices(int(lengths[row]), SIDE)):
            sketches[row, place] = _point_statistics(column.values[row, : lengths[row]][part])
    return _flat(sketches)


def _point_statistics(frames: NDArray[np.generic]) -> Floats:
    """Summarise the points ``[frames, points, features + 1]``, whose last value is 1 for a point and 0 for padding."""
    values = frames.reshape(-1, frames.shape[2]).astype(np.float32)
    real = values[values[:, -1] > 0, :-1]
    share = np.array([len(real) / len(values)], dtype=np.float32)
    if not len(real):
        return np.concatenate([np.zeros(2 * real.shape[1], dtype=np.float32), share])
    return np.concatenate([real.mean(axis=0), real.std(axis=0), share])


def _overlapping_slices(length: int, count: int) -> list[slice]:
    """Divide a length into exactly ``count`` slices; slices of short lengths overlap."""
    edges = np.linspace(0, length, count + 1)
    return [slice(int(a), max(int(np.ceil(b)), int(a) + 1)) for a, b in pairwise(edges)]


def _average_axes(steps: NDArray[np.generic], max_parts: int) -> Floats:
    """Reduce ``[steps, 1, ...]`` to ``[steps, numbers]`` by averaging slices of each further axis."""
    values = np.nan_to_num(steps[:, 0].astype(np.float32))
    for axis in range(1, values.ndim):
        values = _means(values, axis, max_parts)
    return _flat(values)


SKETCHES: AspectTable[Callable[[Column], Floats]] = AspectTable(
    ModalityEntry,
    "sketch",
    {
        "tabular": _tabular,
        "text": _text,
        "image": _image,
        "audio": _steps,
        "video": _video,
        "vector": _flat_means,
        "series": _steps,
        "points": _points,
        "geo": _flat_means,
    },
    default=_flat_means,
)
"""Modality of a stream to its sketch."""
