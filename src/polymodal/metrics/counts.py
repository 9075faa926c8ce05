"""Distributions of counts, and ranks (numpy).

SciPy has them as well, but prediction and evaluation do without it: it is large and slow to import.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BISECTIONS = 60


def binomial(total: int, share: float) -> Floats:
    """Return the probabilities of a binomial distribution.

    Args:
        total: Number of draws.
        share: Probability of each, from 0 to 1.

    Returns:
        float64 ``[total + 1]``, of each count.
    """
    counts = np.arange(total + 1)
    if share in (0.0, 1.0):
        return np.asarray(counts == round(total * share), np.float64)
    logs = _log_choices(total) + counts * np.log(share) + (total - counts) * np.log1p(-share)
    return np.asarray(np.exp(logs))


def beta_binomial(total: int, hits: int, misses: int) -> Floats:
    """Return the probabilities of a beta-binomial distribution whose parameters are whole numbers.

    Args:
        total: Number of draws.
        hits: First parameter of the beta distribution, at least 1.
        misses: Second one, at least 1.

    Returns:
        float64 ``[total + 1]``, of each count.
    """
    counts, log_factorials = np.arange(total + 1), _log_factorials(total + hits + misses)
    logs = log_factorials[counts + hits - 1] + log_factorials[total - counts + misses - 1]
    logs -= log_factorials[total + hits + misses - 1]
    logs -= log_factorials[hits - 1] + log_factorials[misses - 1] - log_factorials[hits + misses - 1]
    return np.asarray(np.exp(_log_choices(total) + logs))


def count_quantile(probabilities: Floats, share: float) -> int:
    """Return the least count up to which lies at least a share of a distribution.

    Args:
        probabilities: Of each count.
        share: Above 0 and below 1.

    Returns:
        The count.
    """
    place = int(np.searchsorted(np.cumsum(probabilities), share * (1 - 1e-12)))
    return min(place, len(probabilities) - 1)


def least_share(hits: int, total: int, tail: float) -> float:
    """Return the lower bound of Clopper and Pearson 1934 on a share.

    Args:
        hits: Rows that count.
        total: All rows, above 0.
        tail: Probability that the share is lower.

    Returns:
        The bound.
    """
    if hits == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial(total, middle)[hits:].sum() < tail else (low, middle)
    return (low + high) / 2


def mean_ranks(values: NDArray[Any]) -> Floats:
    """Return the ranks of values from 1; equal values get the mean of theirs.

    Args:
        values: ``[N]``.

    Returns:
        float64 ``[N]``.
    """
    _, places, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(sizes) - (sizes - 1) / 2)[places])


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's correlation of ranks.

    Args:
        first: ``[N]``, of at least two different values.
        second: The same.

    Returns:
        From -1 to 1.
    """
    return float(np.corrcoef(mean_ranks(first), mean_ranks(second))[0, 1])


def _log_factorials(largest: int) -> Floats:
    return np.concatenate([np.zeros(1), np.cumsum(np.log(np.arange(1, largest + 1)))])


def _log_choices(total: int) -> Floats:
    logs = _log_factorials(total)
    return np.asarray(logs[total] - logs - logs[::-1])
