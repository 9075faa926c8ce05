"""Cheap features of sounds, for the baselines (numpy).

Shape legend: N rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.ensemble.image_features import area_weights, in_parts, rows_at_once

Floats = NDArray[np.float32]

PICTURE_BINS = 20
NUM_CEPSTRAL = 16
ROWS_OF_LIKE_LENGTH = 128


def sound_features(column: Column, channels: int = 1) -> tuple[Floats, int]:
    """Describe sounds by small pictures and by statistics, one of each for every channel.

    Args:
        column: float ``[N, frames, channels * features]`` with lengths; a waveform counts as one feature.
        channels: Channels, whose features follow each other.

    Returns:
        float32 ``[N, ...]``: the spectrograms stretched to 20 x 20, then the mean, deviation and mean absolute
        change of their cepstral coefficients and the logarithm of the duration; and the number of pixels (400 of
        each channel).
    """
    size = column.values.shape[2] // channels
    found = [_channel_features(column, slice(start, start + size)) for start in range(0, channels * size, size)]
    num_pixels = found[0][1]
    pixels, statistics = ([values[:, part] for values, _ in found] for part in np.s_[:num_pixels, num_pixels:])
    return np.concatenate([*pixels, *statistics], axis=1), channels * num_pixels


def _channel_features(column: Column, channel: slice) -> tuple[Floats, int]:
    num_features = channel.stop - channel.start
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    lengths = np.where(column.row_present, np.maximum(lengths, 1), 1)
    bands = area_weights(num_features, min(num_features, PICTURE_BINS))
    cosines = _cosines(num_features)

    step = min(rows_at_once(column), ROWS_OF_LIKE_LENGTH)
    order = np.argsort(lengths, kind="stable")  # what is padded is described too, so like lengths go together

    def described(start: int) -> Floats:
        rows = order[start : start + step]
        part = np.asarray(column.values[:, : lengths[rows[-1]]][rows][..., channel], dtype=np.float32)
        inside = (np.arange(part.shape[1]) < lengths[rows, None]) & column.row_present[rows, None]
        part = np.where(inside[..., None], part, np.float32(0.0))
        picture = _stretched(part @ bands.T, lengths[rows]).reshape(len(part), -1)
        return np.concatenate([picture, _statistics(part @ cosines.T, inside, lengths[rows])], axis=1)

    num_pixels = PICTURE_BINS * len(bands)
    found = in_parts(described, len(column), num_pixels + 3 * len(cosines) + 1, step)
    return found[np.argsort(order)], num_pixels


def _stretched(frames: Floats, lengths: NDArray[np.int64]) -> Floats:
    """Average frames over 20 equal parts of each clip: ``[N, 20, bands]``."""
    sums = np.concatenate([np.zeros_like(frames[:, :1]), np.cumsum(frames, axis=1, dtype=np.float32)], axis=1)
    edges = lengths[:, None] * np.linspace(0, 1, PICTURE_BINS + 1)[None, :]
    low = np.minimum(edges.astype(np.int64), lengths[:, None])
    high, rest = np.minimum(low + 1, lengths[:, None]), (edges - low)[..., None]
    below, above = (np.take_along_axis(sums, index[..., None], axis=1) for index in (low, high))
    at_edges = below + (above - below) * rest
    return np.asarray(np.diff(at_edges, axis=1) / (lengths / PICTURE_BINS)[:, None, None], dtype=np.float32)


def _statistics(frames: Floats, inside: NDArray[np.bool_], lengths: NDArray[np.int64]) -> Floats:
    count = np.maximum(lengths, 1)[:, None].astype(np.float32)
    mean = frames.sum(axis=1) / count
    spread = np.sqrt((((frames - mean[:, None]) ** 2) * inside[..., None]).sum(axis=1) / count)
    change = (np.abs(np.diff(frames, axis=1)) * inside[:, 1:, None]).sum(axis=1) / count
    return np.concatenate([mean, spread, change, np.log(count)], axis=1)


def _cosines(num_features: int) -> Floats:
    """Return the first rows of the orthonormal DCT-II, ``[coefficients, features]``."""
    steps = (np.arange(num_features) + 0.5) / num_features
    table = np.cos(np.pi * np.arange(min(NUM_CEPSTRAL, num_features))[:, None] * steps)
    return np.asarray(table * np.sqrt(2 / num_features), dtype=np.float32)
