"""Features of audio for the baselines (numpy).

Shape legend: N rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.ensemble.image_features import area_weights, choose_batch_rows, compute_in_batches

Floats = NDArray[np.float32]

SPECTROGRAM_BINS = 20
NUM_CEPSTRAL = 16
LENGTH_BATCH_ROWS = 128


def audio_features(column: Column, channels: int = 1, segment_steps: int = 0) -> tuple[Floats, int]:
    """Compute a small spectrogram and statistics of each channel.

    Args:
        column: float ``[N, frames, channels * features]`` with lengths; a waveform counts as one feature.
        channels: Number of channels, whose features are concatenated.
        segment_steps: Steps of a segment of long clips; 0: clips are short.

    Returns:
        float32 ``[N, ...]``: the spectrograms stretched to 20 x 20, then the mean, deviation and mean absolute
        change of their cepstral coefficients and the logarithm of the duration; of long clips also the largest and
        the smallest mean, deviation and change of a segment; and the number of pixels (400 of each channel).
    """
    size = column.values.shape[2] // channels
    starts = range(0, channels * size, size)
    found = [_channel_features(column, slice(start, start + size), segment_steps) for start in starts]
    num_pixels = found[0][1]
    pixels, statistics = ([values[:, part] for values, _ in found] for part in np.s_[:num_pixels, num_pixels:])
    return np.concatenate([*pixels, *statistics], axis=1), channels * num_pixels


def _channel_features(column: Column, channel: slice, segment_steps: int) -> tuple[Floats, int]:
    num_bins = channel.stop - channel.start
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    lengths = np.where(column.row_present, np.maximum(lengths, 1), 1)
    bands = area_weights(num_bins, min(num_bins, SPECTROGRAM_BINS))
    cosines = _cosines(num_bins)

    step = min(choose_batch_rows(column), LENGTH_BATCH_ROWS)
    order = np.argsort(lengths, kind="stable")  # batches of similar length, since padding is computed too

    def batch_features(start: int) -> Floats:
        rows = order[start : start + step]
        part = np.asarray(column.values[:, : lengths[rows[-1]]][rows][..., channel], dtype=np.float32)
        is_valid = (np.arange(part.shape[1]) < lengths[rows, None]) & column.row_present[rows, None]
        part = np.where(is_valid[..., None], part, np.float32(0.0))
        spectrogram = _resample_time(part @ bands.T, lengths[rows]).reshape(len(part), -1)
        cepstra = part @ cosines.T
        features = [spectrogram, _statistics(cepstra, is_valid, lengths[rows])]
        if segment_steps:
            features.append(_extremes(cepstra, is_valid, segment_steps))
        return np.concatenate(features, axis=1)

    num_pixels = SPECTROGRAM_BINS * len(bands)
    num_features = num_pixels + 3 * len(cosines) + 1 + (6 * len(cosines) if segment_steps else 0)
    found = compute_in_batches(batch_features, len(column), num_features, step)
    return found[np.argsort(order)], num_pixels


def _resample_time(frames: Floats, lengths: NDArray[np.int64]) -> Floats:
    """Average frames over 20 equal segments of each clip: ``[N, 20, bands]``."""
    sums = np.concatenate([np.zeros_like(frames[:, :1]), np.cumsum(frames, axis=1, dtype=np.float32)], axis=1)
    edges = lengths[:, None] * np.linspace(0, 1, SPECTROGRAM_BINS + 1)[None, :]
    low = np.minimum(edges.astype(np.int64), lengths[:, None])
    high, fraction = np.minimum(low + 1, lengths[:, None]), (edges - low)[..., None]
    below, above = (np.take_along_axis(sums, index[..., None], axis=1) for index in (low, high))
    at_edges = below + (above - below) * fraction
    return np.asarray(np.diff(at_edges, axis=1) / (lengths / SPECTROGRAM_BINS)[:, None, None], dtype=np.float32)


def _statistics(frames: Floats, is_valid: NDArray[np.bool_], lengths: NDArray[np.int64]) -> Floats:
    count = np.maximum(lengths, 1)[:, None].astype(np.float32)
    mean = frames.sum(axis=1) / count
    std = np.sqrt((((frames - mean[:, None]) ** 2) * is_valid[..., None]).sum(axis=1) / count)
    mean_change = (np.abs(np.diff(frames, axis=1)) * is_valid[:, 1:, None]).sum(axis=1) / count
    return np.concatenate([mean, std, mean_change, np.log(count)], axis=1)


def _extremes(frames: Floats, is_valid: NDArray[np.bool_], segment_steps: int) -> Floats:
    """Return the largest and the smallest statistics of the segments of each clip, ``[N, 6 * coefficients]``."""
    num_rows, num_frames, size = frames.shape
    missing = -num_frames % segment_steps
    frames = np.pad(frames, ((0, 0), (0, missing), (0, 0))).reshape(-1, segment_steps, size)
    is_valid = np.pad(is_valid, ((0, 0), (0, missing))).reshape(-1, segment_steps)
    lengths = is_valid.sum(axis=1)
    values = _statistics(frames, is_valid, lengths)[:, :-1].reshape(num_rows, -1, 3 * size)
    is_there = (lengths > 0).reshape(num_rows, -1, 1)
    is_there[:, 0] = True
    largest = np.where(is_there, values, -np.inf).max(axis=1)
    return np.concatenate([largest, np.where(is_there, values, np.inf).min(axis=1)], axis=1)


def _cosines(num_features: int) -> Floats:
    """Return the first rows of the orthonormal DCT-II, ``[coefficients, features]``."""
    steps = (np.arange(num_features) + 0.5) / num_features
    table = np.cos(np.pi * np.arange(min(NUM_CEPSTRAL, num_features))[:, None] * steps)
    return np.asarray(table * np.sqrt(2 / num_features), dtype=np.float32)
