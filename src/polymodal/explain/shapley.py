"""Shapley values and interaction indices of the players of a cooperative game (numpy only).

The players are the streams that are present, and the value of a coalition is the explained scalar where only its
streams are there.

Shape legend: M players, Q coalitions, K games, P permutations.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

MAX_EXACT = 10
"""Most players of which all coalitions are asked: 1,024 of them."""
SAMPLED_COALITIONS = 2000
"""About how many coalitions are asked of more players."""
MIN_PAIRS = 4
"""Fewest pairs of permutations, from which the standard errors are estimated."""

Floats = NDArray[np.float64]
Coalitions = NDArray[np.bool_]


def all_coalitions(num_players: int) -> Coalitions:
    """Return every coalition.

    Args:
        num_players: M, at most about 20.

    Returns:
        bool ``[2^M, M]``; player i is in row q where bit i of q is set.
    """
    return (np.arange(2**num_players)[:, None] >> np.arange(num_players) & 1).astype(np.bool_)


def shapley_values(values_QK: Floats) -> Floats:
    """Compute exact Shapley values (Shapley 1953).

    ``φ_i = Σ_S |S|! (M - |S| - 1)! / M! · (v(S + i) - v(S))`` over the coalitions S without i; they sum to
    ``v(all) - v(none)``.

    Args:
        values_QK: The value of every coalition, in the order of ``all_coalitions``.

    Returns:
        float64 ``[M, K]``.

    Example:
        >>> shapley_values(np.array([[0.0], [1.0], [2.0], [3.0]])).ravel().tolist()
        [1.0, 2.0]
    """
    num_players = _num_players(values_QK)
    sizes = all_coalitions(num_players).sum(axis=1)
    weights = np.array([_weight(size, num_players - size - 1, num_players) for size in range(num_players)])
    return np.stack([_weighted_gains(values_QK, sizes, weights, player) for player in range(num_players)])


def shapley_interactions(values_QK: Floats) -> Floats:
    """Compute the exact Shapley interaction index of every pair (Grabisch & Roubens 1999, definition 3).

    ``I_ij = Σ_S |S|! (M - |S| - 2)! / (M - 1)! · (v(S + i + j) - v(S + i) - v(S + j) + v(S))`` over the coalitions S
    without both: above zero where they say more together than one by one (synergy), below where they say the same.

    Args:
        values_QK: The value of every coalition, in the order of ``all_coalitions``.

    Returns:
        float64 ``[M, M, K]``, symmetric, zeros on the diagonal.
    """
    num_players = _num_players(values_QK)
    indices, sizes = np.arange(len(values_QK)), all_coalitions(num_players).sum(axis=1)
    result = np.zeros((num_players, num_players, values_QK.shape[1]))
    weights = np.array([_weight(size, num_players - size - 2, num_players - 1) for size in range(num_players - 1)])
    for i in range(num_players):
        for j in range(i):
            bits = (1 << i) | (1 << j)
            without = indices[indices & bits == 0]
            joint, alone = values_QK[without | bits], values_QK[without | 1 << i] + values_QK[without | 1 << j]
            result[i, j] = result[j, i] = weights[sizes[without]] @ (joint - alone + values_QK[without])
    return result


@dataclass(frozen=True)
class SampledCoalitions:
    """Coalitions that permutations pass through.

    Attributes:
        orders: int64 ``[P, M]``, players in the order in which they join; each is followed by its reverse.
        coalitions: bool ``[Q, M]``, all different.
        path: int64 ``[P, M + 1]``, the coalitions of each permutation.
    """

    orders: NDArray[np.int64]
    coalitions: Coalitions
    path: NDArray[np.int64]

    @classmethod
    def draw(cls, num_players: int, seed: int = 0) -> SampledCoalitions:
        """Draw permutations with their reverses (antithetic sampling, Mitchell et al. 2022, section 3.1).

        Args:
            num_players: M.
            seed: Fixes the sample.

        Returns:
            About ``SAMPLED_COALITIONS`` of them, more where that is too few for a standard error.
        """
        pairs, random = max(MIN_PAIRS, SAMPLED_COALITIONS // (2 * num_players)), np.random.default_rng(seed)
        forward = np.stack([random.permutation(num_players) for _ in range(pairs)])
        orders = np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, num_players)
        ranks = np.argsort(orders, axis=1)
        joined = ranks[:, None, :] < np.arange(num_players + 1)[None, :, None]
        coalitions, path = np.unique(joined.reshape(-1, num_players), axis=0, return_inverse=True)
        return cls(orders, coalitions, path.reshape(len(orders), -1))

    def values(self, values_QK: Floats) -> tuple[Floats, Floats]:
        """Estimate Shapley values from permutations (Castro et al. 2009).

        Args:
            values_QK: The value of each of the coalitions.

        Returns:
            The values and their standard errors over the pairs of permutations, float64 ``[M, K]``. The values sum to
            ``v(all) - v(none)``, as those of each permutation do.
        """
        gains = np.diff(values_QK[self.path], axis=1)
        ranks = np.argsort(self.orders, axis=1)
        of_player = np.take_along_axis(gains, ranks[:, :, None], axis=1)
        of_pair = of_player.reshape(-1, 2, *of_player.shape[1:]).mean(axis=1)
        return of_pair.mean(axis=0), of_pair.std(axis=0, ddof=1) / np.sqrt(len(of_pair))


def _num_players(values_QK: Floats) -> int:
    return int(values_QK.shape[0]).bit_length() - 1


def _weight(first: int, second: int, total: int) -> float:
    return factorial(first) * factorial(second) / factorial(total)


def _weighted_gains(values_QK: Floats, sizes: NDArray[np.int64], weights: Floats, player: int) -> Floats:
    indices = np.arange(len(values_QK))
    without = indices[indices >> player & 1 == 0]
    return np.asarray(weights[sizes[without]] @ (values_QK[without | 1 << player] - values_QK[without]))
