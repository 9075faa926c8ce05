"""What streams are worth on average, for the streams that are absent: empirical Bayes over held-out rows.

The mean of few rows is uncertain, and an order by uncertain means is a poor one. Each is therefore shrunk towards what
a linear model says of all pairs of absent streams and streams to get, in proportion to its variance (Efron & Morris
1975).

Shape legend: P pairs, N rows, F features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.acquisition.calibration import HeldOutLosses

Floats = NDArray[np.float64]
Pair = tuple[frozenset[str], frozenset[str]]
"""Streams that are absent, and those of them to get."""

MAX_ENUMERATED = 4
"""Streams up to which every pattern of absent streams and every set of them to get is learned from."""
DRAWN_PAIRS = 96
"""Pairs of a pattern and a set to get that are drawn for more streams."""
MIN_VARIANCE = 1e-8


class MeanWorth:
    """The mean fall of the loss for pairs of absent streams and streams to get."""

    def __init__(self, measured: HeldOutLosses, streams: Sequence[str]) -> None:
        """Measure the pairs that are learned from, and fit the linear model of them.

        Args:
            measured: The losses of held-out rows.
            streams: The model's streams.
        """
        self._measured, self._streams = measured, list(streams)
        pairs = pairs_to_learn(self._streams)
        means, variances = (np.array(values) for values in zip(*map(self._of_rows, pairs), strict=True))
        self._coefficients = _fit(np.stack([self._features(*pair) for pair in pairs]), means, variances)
        fitted = np.array([self._features(*pair) @ self._coefficients for pair in pairs])
        known = np.isfinite(variances)
        spread = (means - fitted)[known] ** 2 - variances[known]
        self._spread = max(0.0, float(spread.mean())) if known.any() else 0.0

    def of(self, absent: frozenset[str], streams: frozenset[str]) -> float:
        """Return what streams are worth on average.

        Args:
            absent: Streams that are absent.
            streams: Some of them, that are got.

        Returns:
            The mean, shrunk; negative where the answer became worse.
        """
        mean, variance = self._of_rows((absent, streams))
        fitted = float(self._features(absent, streams) @ self._coefficients)
        if not np.isfinite(variance):
            return fitted
        return (self._spread * mean + variance * fitted) / (self._spread + variance)

    def _of_rows(self, pair: Pair) -> tuple[float, float]:
        """Return the mean of the rows that have the streams, and its variance; infinite of fewer than two rows."""
        absent, streams = pair
        has = np.all([self._measured.rows.presence[stream] for stream in streams], axis=0)
        worth = self._measured.reductions(absent, streams)[has]
        if len(worth) < 2:
            return 0.0, np.inf
        return float(worth.mean()), max(float(worth.var(ddof=1)) / len(worth), MIN_VARIANCE)

    def _features(self, absent: frozenset[str], streams: frozenset[str]) -> Floats:
        """Return which streams are got, and the same times how many others are there, float64 ``[F]``."""
        got = np.array([float(stream in streams) for stream in self._streams])
        return np.concatenate([got, got * (len(self._streams) - len(absent))])


def _fit(features: Floats, means: Floats, variances: Floats) -> Floats:
    """Fit by least squares weighted by the variances, with a ridge of 1, float64 ``[F]``."""
    weights = 1.0 / np.sqrt(variances)
    ridge = np.eye(features.shape[1])
    left = np.concatenate([features * weights[:, None], ridge])
    right = np.concatenate([means * weights, np.zeros(len(ridge))])
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0])


def pairs_to_learn(streams: list[str]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """List patterns of absent streams with sets of them to get: all of few streams, a sample of many.

    Args:
        streams: The model's streams.

    Returns:
        Absent streams and those to get; pairs of one pattern stand together.
    """
    if len(streams) <= MAX_ENUMERATED:
        return [(absent, got) for absent in subsets(streams) for got in subsets(sorted(absent))]
    random, drawn = np.random.default_rng(0), []
    for stream in itertools.islice(itertools.cycle(streams), DRAWN_PAIRS):
        others = [name for name in streams if name != stream]
        absent = frozenset([stream, *(name for name in others if random.random() < 0.5)])
        got = frozenset([stream, *(name for name in sorted(absent) if random.random() < 0.3)])
        drawn.append((absent, got))
    return sorted(drawn, key=lambda pair: (sorted(pair[0]), sorted(pair[1])))


def subsets(streams: list[str]) -> list[frozenset[str]]:
    """Return all sets of streams but the empty one."""
    sizes = range(1, len(streams) + 1)
    return [frozenset(found) for size in sizes for found in itertools.combinations(streams, size)]
