"""Metrics of retrieval between streams (numpy only).

Shape legend: Q queries, N candidates, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.weighted import Floats, MetricFunction, Weighted


@dataclass(frozen=True)
class Ranking:
    """The results of the queries of one direction.

    Attributes:
        rows: int64 ``[Q]``, the queries' rows.
        first: Rank of the first relevant candidate, from 1, ``[Q]``.
        precision: Average precision over all relevant candidates, ``[Q]``.
    """

    rows: NDArray[np.int64]
    first: Floats
    precision: Floats


def rank(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    labels: NDArray[np.int64],
) -> Ranking:
    """Rank all candidates for each query by cosine similarity; ties are broken at random with a fixed seed.

    Average precision is that of Manning, Raghavan and Schütze 2008, equation 8.8, before the mean.

    Args:
        queries: Unit vectors ``[Q, D]``.
        candidates: Unit vectors ``[N, D]``.
        rows: The rows of queries and candidates in the table.
        labels: Label of every row of the table; a candidate is relevant if it has the query's.

    Returns:
        Queries without any relevant candidate are left out.
    """
    shuffled = np.random.default_rng(0).permutation(len(candidates))
    relevant = labels[rows[0]][:, None] == labels[rows[1]][shuffled][None, :]
    usable = relevant.any(axis=1)
    similarity = queries[usable] @ candidates[shuffled].T
    order = np.argsort(-similarity, axis=1, kind="stable")
    hits = np.take_along_axis(relevant[usable], order, axis=1)
    places = np.arange(1, len(candidates) + 1)
    found = np.cumsum(hits, axis=1) / places
    precision = (found * hits).sum(axis=1) / np.maximum(hits.sum(axis=1), 1)
    return Ranking(rows[0][usable], hits.argmax(axis=1) + 1.0, precision)


@dataclass(frozen=True, eq=False)
class RetrievalRows:
    """Rows with a vector for some streams each.

    Attributes:
        rankings: What each query found, for each direction (``"a → b"``).
    """

    rankings: Mapping[str, Ranking]

    def weighted(self, weights: Floats) -> WeightedQueries:
        """Weigh the rows.

        Args:
            weights: Weights of the table's rows ``[R, rows]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedQueries(self, weights)


class WeightedQueries(Weighted[RetrievalRows]):
    """Weights of the queries of each direction."""

    @cached_property
    def directions(self) -> list[tuple[Ranking, Floats, Floats]]:
        """Each direction's ranking, the weights of its queries ``[R, Q]`` and their sums ``[R]``."""
        chosen = [(ranking, self.weights[:, ranking.rows]) for ranking in self.rows.rankings.values()]
        return [(ranking, weights, np.maximum(weights.sum(axis=1), 1e-12)) for ranking, weights in chosen]

    def mean(self, values: Sequence[Floats]) -> Floats:
        """Average over the directions.

        Args:
            values: ``[R]`` of each direction.

        Returns:
            ``[R]``, NaN where there is no direction.
        """
        return np.asarray(np.mean(values, axis=0)) if values else np.full(len(self.weights), np.nan)


def recall_at(cutoff: int) -> MetricFunction:
    """Return the metric of a cutoff.

    Args:
        cutoff: Number of candidates that are looked at.

    Returns:
        The share of queries that find a relevant candidate among so many.
    """

    def recall(queries: WeightedQueries) -> Floats:
        found = [(weights @ (r.first <= cutoff).astype(np.float64) / total) for r, weights, total in queries.directions]
        return queries.mean(found)

    return recall


def median_rank(queries: WeightedQueries) -> Floats:
    """Median rank of the first relevant candidate."""
    return queries.mean([_weighted_median(ranking.first, weights) for ranking, weights, _ in queries.directions])


def mean_average_precision(queries: WeightedQueries) -> Floats:
    """Mean average precision over the queries."""
    return queries.mean([weights @ ranking.precision / total for ranking, weights, total in queries.directions])


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[:, order], axis=1)
    middle = (sums >= sums[:, -1:] / 2).argmax(axis=1) if len(values) else np.zeros(len(weights), dtype=np.int64)
    return values[order][middle] if len(values) else np.full(len(weights), np.nan)


def rank_all(vectors: Sequence[Mapping[str, NDArray[np.float32]]], labels: NDArray[np.int64]) -> dict[str, Ranking]:
    """Rank every stream against every other.

    Args:
        vectors: Stream to unit vector of each row; a stream is left out where it is absent.
        labels: int64 ``[rows]``; rows of one label are relevant to each other.

    Returns:
        ``"a → b"`` to ranking, for pairs with queries and candidates.
    """
    streams = sorted({stream for row in vectors for stream in row})
    rows = {s: np.array([place for place, row in enumerate(vectors) if s in row], dtype=np.int64) for s in streams}
    stacked = {s: np.stack([vectors[place][s] for place in rows[s]]) for s in streams}
    found = {
        f"{a} → {b}": rank(stacked[a], stacked[b], (rows[a], rows[b]), labels)
        for a in streams
        for b in streams
        if a != b
    }
    return {name: ranking for name, ranking in found.items() if len(ranking.rows)}
