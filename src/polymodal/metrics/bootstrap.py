"""Bootstrap intervals of any metrics of weighted rows (numpy only).

All predictions of the same rows are resampled with the same draws, so that their resampled scores are paired.

Shape legend: N rows, C classes (or labels), R resamples; weights are float64 ``[R, N]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.scores import ROWS, measure_rows, score_of
from polymodal.metrics.shares import open_ended, wilson_interval
from polymodal.metrics.table import METRICS, functions_of, metric_of, shares_of
from polymodal.metrics.weighted import MAX_BLOCK_VALUES, Floats, Measure, Rows

NUM_RESAMPLES = 200
MAX_RESAMPLES = 1000
"""Resamples of few rows, which are cheap; the more rows, the fewer, but never below ``NUM_RESAMPLES``."""
VALUES_AT_MAX = 400_000
"""Rows times resamples up to which there are ``MAX_RESAMPLES``."""

Samples = dict[str, Floats]
"""Metric to its values on the resamples ``[R]``."""


def intervals(
    kind: str,
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str] = (),
    seed: int = 0,
    num_resamples: int | None = None,
    label_weights: Sequence[float] | None = None,
) -> dict[str, list[float]]:
    """Compute 95 % intervals over rows.

    Shares of rows (accuracy; precision and recall of one of two classes) have Wilson's score interval, all other
    metrics the percentiles of a bootstrap (Efron & Tibshirani 1993, chapter 13).

    Args:
        kind: "category", "categories" or "number".
        truth: As for ``score``.
        prediction: As for ``score``.
        classes: As for ``score``.
        seed: Seed of the resamples.
        num_resamples: Number of resamples; None for 1000 of few rows and 200 of many.
        label_weights: As for ``score``.

    Returns:
        Metric to ``[low, high]``, for the metrics that ``score`` gives.
    """
    samples = resample(kind, truth, prediction, classes, seed, num_resamples, label_weights)
    return intervals_from(kind, truth, prediction, classes, samples, label_weights)


def intervals_from(
    kind: str,
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str],
    samples: Samples,
    label_weights: Sequence[float] | None = None,
) -> dict[str, list[float]]:
    """Compute 95 % intervals from resampled scores.

    Args:
        kind: As for ``intervals``.
        truth: As for ``intervals``.
        prediction: As for ``intervals``.
        classes: As for ``intervals``.
        samples: What ``resample`` returned for them.
        label_weights: As for ``score``.

    Returns:
        Metric to ``[low, high]``, for the metrics that ``score`` gives.
    """
    if not len(truth):
        return {}
    rows = ROWS[kind](truth, prediction, classes, label_weights)
    found = percentile_intervals(samples, _fewest_rows(kind, truth)) | _share_intervals(kind, rows, len(truth))
    return {name: found[name] for name in score_of(measure_rows(kind, rows), len(truth)) if name in found}


def resample(
    kind: str,
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str] = (),
    seed: int = 0,
    num_resamples: int | None = None,
    label_weights: Sequence[float] | None = None,
) -> Samples:
    """Score bootstrap resamples of the rows.

    ``roc_auc`` and ``average_precision`` of several classes need every row in order and use at most 100 resamples.

    Args:
        kind: As for ``intervals``.
        truth: As for ``intervals``.
        prediction: As for ``intervals``.
        classes: As for ``intervals``.
        seed: As for ``intervals``.
        num_resamples: As for ``intervals``.
        label_weights: As for ``score``.

    Returns:
        The metrics' values on the resamples; of predictions of the same rows, resample for resample the same rows.
    """
    if not len(truth):
        return {}
    rows = ROWS[kind](truth, prediction, classes, label_weights)
    most = num_resamples or int(np.clip(VALUES_AT_MAX // len(truth), NUM_RESAMPLES, MAX_RESAMPLES))
    samples: Samples = {}
    for number, names in _by_resamples(kind, most, is_slow=kind == "categories" or len(classes) > 2).items():
        samples |= resample_measure(measure_rows(kind, rows, names), len(truth), seed, number)
    return samples


def resample_measure(measure: Measure, num_rows: int, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Samples:
    """Score bootstrap resamples of rows with any metrics.

    Args:
        measure: From weights ``[R, N]`` to metrics ``[R]``.
        num_rows: N.
        seed: Seed of the resamples.
        num_resamples: Number of resamples.

    Returns:
        The metrics' values on the resamples.

    Raises:
        ValueError: If a metric has no row in ``METRICS``.
    """
    if not num_rows:
        return {}
    parts = [measure(weights) for weights in _draws(num_rows, num_resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if metric_of(name)}


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
    return percentile_intervals(resample_measure(measure, num_rows, seed, num_resamples), num_rows)


def percentile_intervals(samples: Mapping[str, Floats], num_rows: int) -> dict[str, list[float]]:
    """Compute the middle 95 % of resampled scores.

    Args:
        samples: Metric to its values on the resamples ``[R]``.
        num_rows: Number of rows that could have shown another value, where all resamples agree on 0 or 1.

    Returns:
        Metric to ``[low, high]``; metrics that are undefined on every resample are left out.
    """
    found = {}
    for name, values in samples.items():
        if np.isfinite(values).any():
            bounds = [float(bound) for bound in np.percentile(values[np.isfinite(values)], [2.5, 97.5])]
            found[name] = open_ended(bounds, num_rows) if metric_of(name).zero_to_one else bounds
    return found


def _share_intervals(kind: str, rows: Rows, num_rows: int) -> dict[str, list[float]]:
    """Compute the score intervals of the metrics that are shares of rows."""
    weighted = rows.weighted(np.ones((1, num_rows)))
    counts = {name: count(weighted) for name, count in shares_of(kind).items()}
    return {name: wilson_interval(float(hits[0]), float(of[0])) for name, (hits, of) in counts.items() if of[0] > 0}


def _fewest_rows(kind: str, truth: NDArray[np.generic]) -> int:
    """Return the number of rows of the rarest class, on which a mean over classes depends most."""
    return int(np.unique(truth, return_counts=True)[1].min()) if kind == "category" else len(truth)


def _by_resamples(kind: str, num_resamples: int, is_slow: bool) -> dict[int, list[str]]:
    """Group the metrics of a kind by how many resamples they use."""
    groups: dict[int, list[str]] = {}
    for name in functions_of(kind):
        most = METRICS[name].max_resamples if is_slow else None
        groups.setdefault(min(num_resamples, most or num_resamples), []).append(name)
    return groups


def _draws(num_rows: int, num_resamples: int, seed: int) -> Iterator[Floats]:
    """Yield bootstrap weights, a bounded number of resamples at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, MAX_BLOCK_VALUES // num_rows)
    for start in range(0, num_resamples, at_once):
        count = min(at_once, num_resamples - start)
        drawn = generator.integers(num_rows, size=(count, num_rows)) + np.arange(count)[:, None] * num_rows
        yield np.bincount(drawn.ravel(), minlength=count * num_rows).reshape(count, num_rows).astype(np.float64)
