"""Bootstrap intervals of any metrics of weighted rows (numpy only).

Shape legend: N rows, C classes (or labels), R resamples; weights are float64 ``[R, N]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.scores import ROWS, measure_rows, score_of
from polymodal.metrics.table import METRICS, functions_of, metric_of
from polymodal.metrics.weighted import MAX_BLOCK_VALUES, Floats, Measure

NUM_RESAMPLES = 200


def intervals(
    kind: str,
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str] = (),
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, list[float]]:
    """Compute 95 % percentile bootstrap intervals over rows (Efron & Tibshirani 1993, chapter 13).

    ``roc_auc`` and ``average_precision`` need every row in order and use at most 100 resamples.

    Args:
        kind: "category", "categories" or "number".
        truth: As for ``score``.
        prediction: As for ``score``.
        classes: As for ``score``.
        seed: Seed of the resamples.
        num_resamples: Number of resamples.

    Returns:
        Metric to ``[low, high]``, for the metrics that ``score`` gives.
    """
    if not len(truth):
        return {}
    rows = ROWS[kind](truth, prediction, classes)
    found: dict[str, list[float]] = {}
    for most, names in _by_resamples(kind, num_resamples).items():
        found |= intervals_of(measure_rows(kind, rows, names), len(truth), seed, most)
    defined = score_of(measure_rows(kind, rows), len(truth))
    return {name: found[name] for name in defined if name in found}


def intervals_of(
    measure: Measure, num_rows: int, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, list[float]]:
    """Compute 95 % percentile bootstrap intervals of any metrics of weighted rows.

    Args:
        measure: From weights ``[R, N]`` to metrics ``[R]``.
        num_rows: N.
        seed: Seed of the resamples.
        num_resamples: Number of resamples.

    Returns:
        Metric to ``[low, high]``.

    Raises:
        ValueError: If a metric has no row in ``METRICS``.
    """
    return _percentiles(measure, _draws(num_rows, num_resamples, seed)) if num_rows else {}


def _by_resamples(kind: str, num_resamples: int) -> dict[int, list[str]]:
    """Group the metrics of a kind by how many resamples they use."""
    groups: dict[int, list[str]] = {}
    for name in functions_of(kind):
        groups.setdefault(min(num_resamples, METRICS[name].max_resamples or num_resamples), []).append(name)
    return groups


def _draws(num_rows: int, num_resamples: int, seed: int) -> Iterator[Floats]:
    """Yield bootstrap weights, a bounded number of resamples at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, MAX_BLOCK_VALUES // num_rows)
    for start in range(0, num_resamples, at_once):
        count = min(at_once, num_resamples - start)
        drawn = generator.integers(num_rows, size=(count, num_rows)) + np.arange(count)[:, None] * num_rows
        yield np.bincount(drawn.ravel(), minlength=count * num_rows).reshape(count, num_rows).astype(np.float64)


def _percentiles(measure: Measure, draws: Iterator[Floats]) -> dict[str, list[float]]:
    parts = [measure(weights) for weights in draws]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if metric_of(name)}
    return {
        name: [float(bound) for bound in np.percentile(values[np.isfinite(values)], [2.5, 97.5])]
        for name, values in samples.items()
        if np.isfinite(values).any()
    }
