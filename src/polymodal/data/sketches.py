"""A short list of numbers that tells roughly what a cell holds, the same for every modality (numpy only).

Sketches are what an autoencoder learns to give back, and what is recovered where a stream is absent.

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
"""Pictures are reduced to at most so many places along each side; sounds and series to so many stretches."""
VIDEO_SIDE = 8
VIDEO_STRETCHES = 4
WORDS = 256
"""Texts are reduced to which of so many groups of tokens occur in them."""
LONGEST = 512


def sketch(modality: str, column: Column) -> Floats:
    """Reduce a column's cells.

    Args:
        modality: Name of the column's modality.
        column: Its arrays.

    Returns:
        float32 ``[N, D]``, with NaN where a value is absent.
    """
    values = SKETCHES[modality](column)
    present = column.present if column.present.shape == values.shape else column.row_present[:, None]
    return np.where(present, values, np.float32(np.nan)).astype(np.float32)


def blocks(size: int, most: int) -> list[slice]:
    """Cut an axis into at most so many equal stretches.

    Args:
        size: Length of the axis.
        most: Most stretches.

    Returns:
        The stretches, one after the other.
    """
    edges = np.linspace(0, size, min(size, most) + 1).round().astype(int)
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _means(values: NDArray[np.generic], axis: int, most: int) -> Floats:
    """Average equal stretches of one axis."""
    cut = [np.take(values, range(*part.indices(values.shape[axis])), axis) for part in blocks(values.shape[axis], most)]
    return np.stack([part.mean(axis=axis, dtype=np.float32) for part in cut], axis=axis)


def _flat(values: NDArray[np.generic]) -> Floats:
    return values.reshape(len(values), int(np.prod(values.shape[1:]))).astype(np.float32)


def _image(column: Column) -> Floats:
    return _flat(_means(_means(column.values, 1, SIDE), 2, SIDE) / np.float32(255))


def _text(column: Column) -> Floats:
    found = np.zeros((len(column), WORDS), dtype=np.float32)
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    inside = np.arange(column.values.shape[1])[None] < np.where(column.row_present, lengths, 0)[:, None]
    rows, places = np.nonzero(inside)
    found[rows, column.values[rows, places].astype(np.int64) % WORDS] = 1
    return found


def _whole(column: Column) -> Floats:
    return _flat(_means(_flat(column.values), 1, LONGEST))


def _table(column: Column) -> Floats:
    return _flat(column.values)


def _video(column: Column) -> Floats:
    return _steps(column, VIDEO_STRETCHES, VIDEO_SIDE)


def _steps(column: Column, count: int = SIDE, most: int = SIDE) -> Floats:
    """Average stretches of time, each row's own length; what a step holds is reduced as well."""
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    size = _reduced(column.values[:1, :1], most).shape[1]
    found = np.zeros((len(column), count, size), dtype=np.float32)
    for row in np.flatnonzero(column.row_present & (lengths > 0)):
        steps = _reduced(column.values[row : row + 1, : lengths[row]][0][:, None], most)
        for place, part in enumerate(_stretches(int(lengths[row]), count)):
            found[row, place] = steps[part].mean(axis=0)
    return _flat(found)


def _points(column: Column) -> Floats:
    """Say for stretches of time how many points there are, and the mean and deviation of each of their features.

    The order of points means nothing, so places along it are not averaged.
    """
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    found = np.zeros((len(column), SIDE, 2 * column.values.shape[3] - 1), dtype=np.float32)
    for row in np.flatnonzero(column.row_present & (lengths > 0)):
        for place, part in enumerate(_stretches(int(lengths[row]), SIDE)):
            found[row, place] = _cloud(column.values[row, : lengths[row]][part])
    return _flat(found)


def _cloud(frames: NDArray[np.generic]) -> Floats:
    """Describe the points ``[frames, points, features + 1]`` of which the last value is 1, not padding."""
    values = frames.reshape(-1, frames.shape[2]).astype(np.float32)
    real = values[values[:, -1] > 0, :-1]
    share = np.array([len(real) / len(values)], dtype=np.float32)
    if not len(real):
        return np.concatenate([np.zeros(2 * real.shape[1], dtype=np.float32), share])
    return np.concatenate([real.mean(axis=0), real.std(axis=0), share])


def _stretches(length: int, count: int) -> list[slice]:
    """Cut a length into exactly so many stretches; short ones repeat steps."""
    edges = np.linspace(0, length, count + 1)
    return [slice(int(a), max(int(np.ceil(b)), int(a) + 1)) for a, b in pairwise(edges)]


def _reduced(steps: NDArray[np.generic], most: int) -> Floats:
    """Reduce ``[steps, 1, ...]`` to ``[steps, numbers]``, every further axis but the last by averages."""
    values = np.nan_to_num(steps[:, 0].astype(np.float32))
    for axis in range(1, values.ndim):
        values = _means(values, axis, most)
    return _flat(values)


SKETCHES: AspectTable[Callable[[Column], Floats]] = AspectTable(
    ModalityEntry,
    "sketch",
    {
        "tabular": _table,
        "text": _text,
        "image": _image,
        "audio": _steps,
        "video": _video,
        "vector": _whole,
        "series": _steps,
        "points": _points,
        "geo": _whole,
    },
    default=_whole,
)
"""Modality of a stream to its sketch."""
