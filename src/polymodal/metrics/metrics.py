"""Scores of predictions, by target kind, with bootstrap intervals (numpy only).

Every metric is written for weighted rows: a score gives all rows the weight one, a bootstrap resample gives
each row the number of times it was drawn. So all resamples of a metric are computed at once, and a score and
its interval can never be two different formulas.

Shape legend: N rows, C classes (or labels), R resamples; weights are float64 ``[R, N]``.

Names and definitions are scikit-learn's. What is not defined on the given rows (a ROC curve of one class, for
example) is left out of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metrics = dict[str, Floats]
Measure = Callable[[Floats], Metrics]
"""From row weights ``[R, N]`` to metrics ``[R]``."""

HIGHER_IS_BETTER: dict[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "f1": True,
    "precision": True,
    "recall": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "ece": False,
    "rmse": False,
    "mae": False,
    "mape": False,
    "r2": True,
    "recall_at_1": True,
    "recall_at_5": True,
    "recall_at_10": True,
    "median_rank": False,
    "map_50": True,
    "map": True,
    "exact_match": True,
    "bleu": True,
    "rouge_l": True,
    "psnr": True,
    "wer": False,
    "cer": False,
}
"""Every metric's name; True where a larger value is better."""

POSITIVE_NAMES = frozenset({"1", "1.0", "true", "yes", "positive", "pos", "y", "t"})
NUM_BINS = 15
RANKING_RESAMPLES = 100
CELLS_AT_ONCE = 1_000_000


def positive_class(classes: Sequence[str]) -> int:
    """Say which of two classes is the positive one.

    Args:
        classes: The names of the classes.

    Returns:
        The index of the class named 1, true, yes or positive; else of the second in sorted order.
    """
    for index, name in enumerate(classes):
        if str(name).strip().lower() in POSITIVE_NAMES:
            return index
    ordered = sorted(range(len(classes)), key=lambda index: str(classes[index]))
    return ordered[min(1, len(ordered) - 1)]


def primary_metric(kind: str, classes: Sequence[str] = (), largest_share: float = 0.0) -> str:
    """Name the one metric that stands for a target.

    Accuracy says little where one class holds nearly all rows, and a calibrated model then rarely names the
    small class; so beyond a share of 80 % two classes are ranked (``roc_auc``), and several are averaged
    (``macro_f1``).

    Args:
        kind: "category", "categories" or "number".
        classes: The names of the classes.
        largest_share: Share of the training rows in the largest class.

    Returns:
        A key of ``HIGHER_IS_BETTER``.
    """
    if kind == "number":
        return "rmse"
    if kind == "categories":
        return "macro_f1"
    if largest_share <= 0.8:
        return "accuracy"
    return "roc_auc" if len(classes) == 2 else "macro_f1"


def score(kind: str, truth: NDArray[np.generic], prediction: Floats, classes: Sequence[str] = ()) -> dict[str, float]:
    """Score predictions against the truth.

    Args:
        kind: "category", "categories" or "number".
        truth: ``[N]`` class indices, ``[N, C]`` labels of 0 and 1, or ``[N]`` numbers.
        prediction: ``[N, C]`` probabilities, or ``[N]`` numbers.
        classes: The names of the classes or labels; a number needs none.

    Returns:
        Metric to value; metrics that are undefined on these rows are left out.
    """
    if not len(truth):
        return {}
    counted, ranked = _counted(kind, truth, prediction, classes), _ranked(kind, truth, prediction, classes)
    return score_of(lambda weights: {**counted(weights), **ranked(weights)}, len(truth))


def score_of(measure: Measure, num_rows: int) -> dict[str, float]:
    """Score with any metrics of weighted rows.

    Args:
        measure: From weights ``[R, N]`` to metrics ``[R]``.
        num_rows: N.

    Returns:
        Metric to value; metrics that are undefined on these rows are left out.
    """
    if not num_rows:
        return {}
    measured = measure(np.ones((1, num_rows)))
    return {name: float(measured[name][0]) for name in HIGHER_IS_BETTER if _is_defined(measured, name)}


def intervals_of(measure: Measure, num_rows: int, seed: int = 0, num_resamples: int = 200) -> dict[str, list[float]]:
    """Compute 95 % percentile bootstrap intervals of any metrics of weighted rows.

    Args:
        measure: From weights ``[R, N]`` to metrics ``[R]``.
        num_rows: N.
        seed: Fixes the resamples.
        num_resamples: How many resamples are drawn.

    Returns:
        Metric to ``[low, high]``.
    """
    return _percentiles(measure, _draws(num_rows, num_resamples, seed)) if num_rows else {}


def intervals(
    kind: str,
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str] = (),
    seed: int = 0,
    num_resamples: int = 200,
) -> dict[str, list[float]]:
    """Compute 95 % percentile bootstrap intervals over rows (Efron & Tibshirani 1993, chapter 13).

    ``roc_auc`` and ``average_precision`` need every row in order and use at most 100 resamples.

    Args:
        kind: "category", "categories" or "number".
        truth: As for ``score``.
        prediction: As for ``score``.
        classes: As for ``score``.
        seed: Fixes the resamples.
        num_resamples: How many resamples are drawn.

    Returns:
        Metric to ``[low, high]``, for the metrics that ``score`` gives.
    """
    if not len(truth):
        return {}
    counted = _counted(kind, truth, prediction, classes)
    ranked = _ranked(kind, truth, prediction, classes)
    low_high = _percentiles(counted, _draws(len(truth), num_resamples, seed))
    low_high.update(_percentiles(ranked, _draws(len(truth), min(num_resamples, RANKING_RESAMPLES), seed)))
    defined = score(kind, truth, prediction, classes)
    return {name: low_high[name] for name in defined if name in low_high}


def calibration_bins(kind: str, truth: NDArray[np.generic], prediction: Floats) -> list[dict[str, float]]:
    """Group predictions by confidence and say how often each group is right.

    Args:
        kind: "category" or "categories"; labels are pooled.
        truth: As for ``score``.
        prediction: As for ``score``.

    Returns:
        One entry per occupied bin of 15 of equal width: mean ``confidence``, ``accuracy`` and ``count``.
    """
    confidence, correct = _confidence(kind, truth, prediction)
    bins = _bin_of(confidence)
    count, right, total = (np.bincount(bins, weights, NUM_BINS) for weights in (None, correct, confidence))
    return [
        {"confidence": float(total[i] / count[i]), "accuracy": float(right[i] / count[i]), "count": int(count[i])}
        for i in np.flatnonzero(count)
    ]


def confusion(truth: NDArray[np.int64], prediction: Floats) -> NDArray[np.int64]:
    """Count rows by true and predicted class.

    Args:
        truth: int64 ``[N]`` class indices.
        prediction: ``[N, C]`` probabilities.

    Returns:
        int64 ``[C, C]``: rows are the truth, columns the most probable class.
    """
    num_classes = prediction.shape[1]
    cells = truth * num_classes + prediction.argmax(axis=1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _counted(kind: str, truth: NDArray[np.generic], prediction: Floats, classes: Sequence[str]) -> Measure:
    """Return the metrics that are sums over rows, as a function of the weights."""
    if kind == "number":
        return lambda weights: _number_metrics(weights, truth.astype(np.float64), prediction)
    if kind == "category":
        return _category_counts(truth.astype(np.int64), prediction, classes)
    return _categories_counts(truth.astype(np.bool_), prediction)


def _category_counts(truth: NDArray[np.int64], prediction: Floats, classes: Sequence[str]) -> Measure:
    num_classes = prediction.shape[1]
    true, guessed = _one_hot(truth, num_classes), _one_hot(prediction.argmax(axis=1), num_classes)
    losses = -np.log(np.clip(prediction[np.arange(len(truth)), truth], np.finfo(np.float64).eps, 1.0))
    positive = positive_class(classes) if num_classes == 2 else None
    calibration = _calibration_sums("category", truth, prediction)

    def measure(weights: Floats) -> Metrics:
        hits, support, predicted = weights @ (true * guessed), weights @ true, weights @ guessed
        totals = weights.sum(axis=1)
        metrics = {
            "accuracy": hits.sum(axis=1) / totals,
            "balanced_accuracy": _mean_where(_ratio(hits, support), support > 0),
            "macro_f1": _mean_where(_ratio(2 * hits, support + predicted), support + predicted > 0),
            "log_loss": weights @ losses / totals,
            "ece": _expected_calibration_error(weights, calibration),
        }
        return {**metrics, **_precision_recall(hits, support, predicted, positive)}

    return measure


def _categories_counts(truth: NDArray[np.bool_], prediction: Floats) -> Measure:
    guessed = prediction >= 0.5
    hit, exact = (truth & guessed).astype(np.float64), (truth == guessed).all(axis=1).astype(np.float64)
    right = np.where(truth, prediction, 1.0 - prediction)
    losses = -np.log(np.clip(right, np.finfo(np.float64).eps, 1.0)).mean(axis=1)
    calibration = _calibration_sums("categories", truth, prediction)

    def measure(weights: Floats) -> Metrics:
        totals = weights.sum(axis=1)
        hits, support, predicted = (weights @ part.astype(np.float64) for part in (hit, truth, guessed))
        f1 = _ratio(2 * hits, support + predicted)
        sums = [part.sum(axis=1) for part in (hits, support, predicted)]
        return {
            "accuracy": weights @ exact / totals,
            "macro_f1": f1.mean(axis=1),
            "f1": _ratio(2 * sums[0], sums[1] + sums[2]),
            "precision": _ratio(sums[0], sums[2]),
            "recall": _ratio(sums[0], sums[1]),
            "log_loss": weights @ losses / totals,
            "ece": _expected_calibration_error(weights, calibration),
        }

    return measure


def _precision_recall(hits: Floats, support: Floats, predicted: Floats, positive: int | None) -> Metrics:
    """Return f1, precision and recall: of the positive class of two, else averaged over the classes that occur."""
    parts = {
        "f1": _ratio(2 * hits, support + predicted),
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, support),
    }
    if positive is None:
        return {name: _mean_where(value, support + predicted > 0) for name, value in parts.items()}
    occurs = support[:, positive] > 0
    return {name: np.where(occurs, value[:, positive], np.nan) for name, value in parts.items()}


def _number_metrics(weights: Floats, truth: Floats, prediction: Floats) -> Metrics:
    totals, error = weights.sum(axis=1), prediction - truth
    squared = weights @ error**2
    centre = weights @ truth / totals
    spread = (weights * (truth[None, :] - centre[:, None]) ** 2).sum(axis=1)
    metrics = {
        "rmse": np.sqrt(squared / totals),
        "mae": weights @ np.abs(error) / totals,
        "r2": np.where(spread > 0, 1.0 - squared / np.where(spread > 0, spread, 1.0), np.nan),
    }
    if (truth != 0).all():
        metrics["mape"] = weights @ np.abs(error / truth) / totals
    return metrics


def _ranked(kind: str, truth: NDArray[np.generic], prediction: Floats, classes: Sequence[str]) -> Measure:
    """Return the metrics that need the rows in order of their score, as a function of the weights."""
    if kind == "number":
        return lambda _weights: {}
    if kind == "categories":
        pairs = [(truth[:, label].astype(np.bool_), prediction[:, label]) for label in range(prediction.shape[1])]
    elif prediction.shape[1] == 2:
        positive = positive_class(classes)
        pairs = [(truth == positive, prediction[:, positive])]
    else:
        pairs = [(truth == index, prediction[:, index]) for index in range(prediction.shape[1])]
    curves = [_Ranking(is_positive, scores) for is_positive, scores in pairs if 0 < is_positive.sum() < len(truth)]

    def measure(weights: Floats) -> Metrics:
        if not curves:
            return {}
        areas = np.stack([np.stack(curve.areas(weights)) for curve in curves])
        defined = np.isfinite(areas)
        roc_auc, average_precision = _ratio(np.where(defined, areas, 0.0).sum(axis=0), defined.sum(axis=0), np.nan)
        return {"roc_auc": roc_auc, "average_precision": average_precision}

    return measure


class _Ranking:
    """Rows sorted by descending score; the areas under their ROC and precision-recall curves."""

    def __init__(self, is_positive: NDArray[np.bool_], scores: Floats) -> None:
        order = np.argsort(-scores, kind="stable")
        self.positives, self.negatives = order[is_positive[order]], order[~is_positive[order]]
        ranked = scores[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        passed = np.cumsum(is_positive[order])[ends]
        kept = np.append(True, np.diff(passed) > 0)
        kept[-1] = True
        # Between two positives the curve only runs sideways: thresholds that add no positive are merged.
        kept[:-1] |= kept[1:]
        self.num_positives, self.num_rows = passed[kept], ends[kept] + 1

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the ROC area and the average precision of each resample, NaN where a side is empty."""
        hits = _cumulative(weights[:, self.positives], self.num_positives)
        misses = _cumulative(weights[:, self.negatives], self.num_rows - self.num_positives)
        gained = np.diff(hits, axis=1)
        below = (gained * (misses[:, 1:] + misses[:, :-1])).sum(axis=1) / 2
        precise = (gained * _ratio(hits[:, 1:], hits[:, 1:] + misses[:, 1:])).sum(axis=1)
        positives, both = hits[:, -1], hits[:, -1] * misses[:, -1]
        return 1.0 - _ratio(below, both, np.nan), np.where(both > 0, _ratio(precise, positives), np.nan)


def _cumulative(weights: Floats, ends: NDArray[np.int64]) -> Floats:
    """Return the weight of the first ``ends`` columns, led by a zero: ``[R, ends + 1]``."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums[:, np.append(0, ends)]


def _confidence(kind: str, truth: NDArray[np.generic], prediction: Floats) -> tuple[Floats, Floats]:
    """Return the probability of what is predicted, and 1 where that is right; labels one after another."""
    if kind == "category":
        return prediction.max(axis=1), (prediction.argmax(axis=1) == truth).astype(np.float64)
    is_right = (prediction >= 0.5) == truth.astype(np.bool_)
    return np.maximum(prediction, 1.0 - prediction).ravel(), is_right.astype(np.float64).ravel()


def _bin_of(confidence: Floats) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)


def _calibration_sums(kind: str, truth: NDArray[np.generic], prediction: Floats) -> Floats:
    """Return each row's share of every bin's accuracy minus confidence, ``[N, bins]``."""
    confidence, correct = _confidence(kind, truth, prediction)
    per_row = confidence.size // len(truth)
    gaps = np.zeros((len(truth), NUM_BINS))
    rows = np.repeat(np.arange(len(truth)), per_row)
    np.add.at(gaps, (rows, _bin_of(confidence)), (correct - confidence) / per_row)
    return gaps


def _expected_calibration_error(weights: Floats, gaps: Floats) -> Floats:
    """Guo et al. 2017, equation 3, with 15 bins of equal width."""
    return np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))


def _one_hot(indices: NDArray[np.int64], num_classes: int) -> Floats:
    hot = np.zeros((len(indices), num_classes))
    hot[np.arange(len(indices)), indices] = 1.0
    return hot


def _ratio(upper: Floats, lower: Floats, otherwise: float = 0.0) -> Floats:
    return np.where(lower > 0, upper / np.where(lower > 0, lower, 1.0), otherwise)


def _mean_where(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    return _ratio((values * counted).sum(axis=1), counted.sum(axis=1).astype(np.float64), np.nan)


def _draws(num_rows: int, num_resamples: int, seed: int) -> Iterator[Floats]:
    """Yield bootstrap weights, a bounded number of resamples at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // num_rows)
    for start in range(0, num_resamples, at_once):
        count = min(at_once, num_resamples - start)
        drawn = generator.integers(num_rows, size=(count, num_rows)) + np.arange(count)[:, None] * num_rows
        yield np.bincount(drawn.ravel(), minlength=count * num_rows).reshape(count, num_rows).astype(np.float64)


def _percentiles(measure: Measure, draws: Iterator[Floats]) -> dict[str, list[float]]:
    parts = [measure(weights) for weights in draws]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        name: [float(bound) for bound in np.percentile(values[np.isfinite(values)], [2.5, 97.5])]
        for name, values in samples.items()
        if np.isfinite(values).any()
    }


def _is_defined(measured: Metrics, name: str) -> bool:
    return name in measured and bool(np.isfinite(measured[name][0]))
