"""Scores of predictions: the metrics of a kind of target, on unweighted rows (numpy only).

Shape legend: N rows, C classes (or labels), R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.classification import categories_rows, category_rows
from polymodal.metrics.regression import number_rows
from polymodal.metrics.table import METRICS, functions_of, metric_of
from polymodal.metrics.weighted import Floats, Measure, Rows

ROWS: dict[str, Callable[[NDArray[np.generic], Floats, Sequence[str], Sequence[float] | None], Rows]] = {
    "category": category_rows,
    "categories": categories_rows,
    "number": number_rows,
}
"""Kind of target to how its rows are prepared, from truth, prediction, the names of the classes and label weights."""


def primary_metric(kind: str, classes: Sequence[str] = (), largest_share: float = 0.0) -> str:
    """Return the primary metric of a target.

    With imbalanced classes accuracy is not informative, and a calibrated model rarely predicts the minority class; so
    if the largest class has more than 80 % of the rows it is ``roc_auc`` for two classes and ``macro_f1`` for more.

    Args:
        kind: "category", "categories" or "number".
        classes: The names of the classes.
        largest_share: Share of the training rows in the largest class.

    Returns:
        Name in ``METRICS``.
    """
    if kind == "number":
        return "rmse"
    if kind == "categories":
        return "macro_f1"
    if largest_share <= 0.8:
        return "accuracy"
    return "roc_auc" if len(classes) == 2 else "macro_f1"


def score(
    kind: str,
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str] = (),
    label_weights: Sequence[float] | None = None,
) -> dict[str, float]:
    """Score predictions against the truth.

    Args:
        kind: "category", "categories" or "number".
        truth: ``[N]`` class indices, ``[N, C]`` labels of 0 and 1, or ``[N]`` numbers.
        prediction: ``[N, C]`` probabilities, or ``[N]`` numbers.
        classes: The names of the classes or labels; a number needs none.
        label_weights: Of a category, the factor of each class's probability where its label is chosen; None: the most
            probable class is.

    Returns:
        Metric to value; metrics that are undefined on these rows are left out.
    """
    if not len(truth):
        return {}
    return score_of(measure_rows(kind, ROWS[kind](truth, prediction, classes, label_weights)), len(truth))


def score_of(measure: Measure, num_rows: int) -> dict[str, float]:
    """Score with any metrics of weighted rows.

    Args:
        measure: From weights ``[R, N]`` to metrics ``[R]``.
        num_rows: N.

    Returns:
        Metric to value, in the order of ``METRICS``; metrics that are undefined on these rows are left out.

    Raises:
        ValueError: If a metric has no row in ``METRICS``.
    """
    if not num_rows:
        return {}
    values = {name: float(value[0]) for name, value in measure(np.ones((1, num_rows))).items() if metric_of(name)}
    return {name: values[name] for name in METRICS if np.isfinite(values.get(name, np.nan))}


def measure_rows(kind: str, rows: Rows, names: Collection[str] | None = None) -> Measure:
    """Return the function that computes the metrics of rows.

    Args:
        kind: Kind of target.
        rows: The rows.
        names: The metrics; None for all of the kind.

    Returns:
        From weights ``[R, N]`` to metrics ``[R]``.

    Raises:
        ValueError: If the kind has no metric.
    """
    functions = functions_of(kind)
    chosen = {name: function for name, function in functions.items() if names is None or name in names}

    def measure(weights: Floats) -> dict[str, Floats]:
        weighted = rows.weighted(weights)
        return {name: function(weighted) for name, function in chosen.items()}

    return measure
