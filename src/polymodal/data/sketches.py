"""Sketches: short vectors that summarise a cell, for every modality (numpy only).

Sketches are what reconstruction is trained on, and what is predicted for absent streams.

Shape legend: N rows, D numbers of a sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.modalities import ModalityEntry
from polymodal.plugins import AspectTable

Floats = NDArray[np.float32]

SIDE = 16
"""Maximum number of means to which the values of a step of audio and series are averaged."""
MAX_CLASSES = 100
"""Most values of a category that a sketch tells apart, the most frequent ones."""
VIDEO_SIDE = 8
VIDEO_SEGMENTS = 4
NUM_BUCKETS = 256
"""Number of hash buckets of a text's tokens."""
MAX_LENGTH = 512


@dataclass(frozen=True)
class SketchLayout:
    """What the numbers of a sketch stand for, where a column's arrays do not tell.

    Attributes:
        resolution: Greatest height and width of an image, and number of segments of audio, series and points.
        cardinalities: Number of codes of each of the first fields of a table, which are in the sketch, 0 for a number;
            empty: all fields are, and codes are taken as numbers.
    """

    resolution: int = 16
    cardinalities: tuple[int, ...] = ()


def sketch(modality: str, column: Column, layout: SketchLayout | None = None) -> Floats:
    """Compute the sketches of a column.

    Args:
        modality: Name of the column's modality.
        column: Its arrays.
        layout: How they are laid out; None: 16 segments, codes of categories as numbers.

    Returns:
        float32 ``[N, D]``, with NaN where a value is absent.
    """
    values = SKETCHES[modality](column, layout or SketchLayout())
    present = column.present if column.present.shape == values.shape else column.row_present[:, None]
    return np.where(present, values, np.float32(np.nan)).astype(np.float32)


def field_widths(cardinalities: Sequence[int]) -> list[int]:
    """Return how many numbers of a sketch each field of a table has.

    Args:
        cardinalities: Number of codes of each field, 0 for a number.

    Returns:
        1 for a number; for a category one for each value, at most ``MAX_CLASSES``.
    """
    return [max(1, min(cardinality - 1, MAX_CLASSES)) for cardinality in cardinalities]


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


def _image(column: Column, layout: SketchLayout) -> Floats:
    side = layout.resolution
    return _flat(_means(_means(column.values, 1, side), 2, side) / np.float32(255))


def _text(column: Column, _layout: SketchLayout) -> Floats:
    sketches = np.zeros((len(column), NUM_BUCKETS), dtype=np.float32)
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    inside = np.arange(column.values.shape[1])[None] < np.where(column.row_present, lengths, 0)[:, None]
    rows, places = np.nonzero(inside)
    sketches[rows, column.values[rows, places].astype(np.int64) % NUM_BUCKETS] = 1
    return sketches


def _flat_means(column: Column, _layout: SketchLayout) -> Floats:
    return _flat(_means(_flat(column.values), 1, MAX_LENGTH))


def _tabular(column: Column, layout: SketchLayout) -> Floats:
    """Return numbers as they are, and of a category whether it is each of its values; NaN for values not told apart."""
    if not layout.cardinalities:
        return _flat(column.values)
    pairs = zip(layout.cardinalities, field_widths(layout.cardinalities), strict=True)
    parts = [
        _one_hot(column.values[:, field], width) if cardinality else column.values[:, [field]]
        for field, (cardinality, width) in enumerate(pairs)
    ]
    known = np.repeat(column.present[:, : len(parts)], field_widths(layout.cardinalities), axis=1)
    return np.where(known, np.concatenate(parts, axis=1), np.float32(np.nan)).astype(np.float32)


def _one_hot(codes: NDArray[np.generic], width: int) -> Floats:
    found: Floats = (codes[:, None] == np.arange(1, width + 1)).astype(np.float32)
    found[~found.any(axis=1)] = np.nan
    return found


def _video(column: Column, _layout: SketchLayout) -> Floats:
    return _average_steps(column, VIDEO_SEGMENTS, VIDEO_SIDE)


def _steps(column: Column, layout: SketchLayout) -> Floats:
    return _average_steps(column, layout.resolution, SIDE)


def _average_steps(column: Column, count: int, max_parts: int) -> Floats:
    """Average segments of each row's own length; the values of a step are averaged as well."""
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    size = _average_axes(column.values[:1, :1], max_parts).shape[1]
    sketches = np.zeros((len(column), count, size), dtype=np.float32)
    for row in np.flatnonzero(column.row_present & (lengths > 0)):
        steps = _average_axes(column.values[row : row + 1, : lengths[row]][0][:, None], max_parts)
        for place, part in enumerate(_overlapping_slices(int(lengths[row]), count)):
            sketches[row, place] = steps[part].mean(axis=0)
    return _flat(sketches)


def _points(column: Column, layout: SketchLayout) -> Floats:
    """Return for segments of time the share of points, and mean and standard deviation of their features.

    Points are unordered, so the axis of points is not divided.
    """
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    count = layout.resolution
    sketches = np.zeros((len(column), count, 2 * column.values.shape[3] - 1), dtype=np.float32)
    for row in np.flatnonzero(column.row_present & (lengths > 0)):
        for place, part in enumerate(_overlapping_slices(int(lengths[row]), count)):
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


SKETCHES: AspectTable[Callable[[Column, SketchLayout], Floats]] = AspectTable(
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
