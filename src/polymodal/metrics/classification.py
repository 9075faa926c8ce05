"""Metrics of classification (``category``) and multi-label classification (``categories``) (numpy only).

Names and definitions are scikit-learn's. Metrics that are undefined on the given rows (such as ROC AUC with one class)
are NaN.

Shape legend: N rows, C classes (or labels), R resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.calibration import calibration_gaps
from polymodal.metrics.ranking_curves import RankingCurve
from polymodal.metrics.shares import wilson_interval
from polymodal.metrics.weighted import Floats, Weighted, mean_where, ratio

POSITIVE_NAMES = frozenset({"1", "1.0", "true", "yes", "positive", "pos", "y", "t"})
MIN_PROBABILITY = np.finfo(np.float64).eps
EQUAL = 1e-9
"""Weighted probabilities that differ by less, relatively, are equal."""


@dataclass(frozen=True, eq=False)
class ClassRows:
    """Rows with classes or labels, and the probability of each.

    Attributes:
        is_true: ``[N, C]``, 1 where the row has the class.
        is_predicted: ``[N, C]``, 1 for the chosen class, or for labels with a probability of one half or more.
        probabilities: ``[N, C]``.
        losses: Cross-entropy ``[N]``, of labels the mean.
        gaps: Each row's share of every bin's accuracy minus confidence ``[N, bins]``.
        curves: A curve for each class that has positive and negative rows; of two classes, for the positive one.
        positive: The class that F1, precision and recall are of, where there are two.
    """

    is_true: Floats
    is_predicted: Floats
    probabilities: Floats
    losses: Floats
    gaps: Floats
    curves: Sequence[RankingCurve]
    positive: int | None

    @cached_property
    def is_hit(self) -> Floats:
        """1 where a class is true and predicted, ``[N, C]``."""
        return self.is_true * self.is_predicted

    @cached_property
    def is_right(self) -> Floats:
        """1 where a row is completely correct, ``[N]``."""
        return np.asarray((self.is_true == self.is_predicted).all(axis=1), dtype=np.float64)

    def weighted(self, weights: Floats) -> WeightedClasses:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedClasses(self, weights)


class WeightedClasses(Weighted[ClassRows]):
    """Weighted counts of each class."""

    @cached_property
    def hits(self) -> Floats:
        """Weight of the rows in which a class is true and predicted ``[R, C]``."""
        return self.weights @ self.rows.is_hit

    @cached_property
    def support(self) -> Floats:
        """Weight of the rows in which a class is true ``[R, C]``."""
        return self.weights @ self.rows.is_true

    @cached_property
    def predicted(self) -> Floats:
        """Weight of the rows in which a class is predicted ``[R, C]``."""
        return self.weights @ self.rows.is_predicted

    @cached_property
    def areas(self) -> Floats:
        """ROC area and average precision, means over the curves ``[2, R]``."""
        if not self.rows.curves:
            return np.full((2, len(self.weights)), np.nan)
        areas = np.stack([np.stack(curve.areas(self.weights)) for curve in self.rows.curves])
        defined = np.isfinite(areas)
        return ratio(np.where(defined, areas, 0.0).sum(axis=0), defined.sum(axis=0), np.nan)


def predicted_classes(prediction: Floats, label_weights: Sequence[float] | None = None) -> NDArray[np.int64]:
    """Choose a class for each row.

    Args:
        prediction: Probabilities ``[N, C]``.
        label_weights: Factor of each class's probability; None: the most probable class is chosen. With the inverse
            class frequencies it is the Bayes-optimal choice for the balanced error (Menon et al. 2021, section 2).

    Returns:
        int64 ``[N]``: the class of the largest weighted probability; of equal ones, as in a row that has the class
        frequencies themselves for probabilities, the most probable.
    """
    if label_weights is None:
        return np.asarray(prediction.argmax(axis=1))
    weighted = prediction * np.asarray(label_weights)
    is_largest = weighted >= weighted.max(axis=1, keepdims=True) * (1 - EQUAL)
    return np.asarray(np.where(is_largest, prediction, -1.0).argmax(axis=1))


def category_rows(
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str],
    label_weights: Sequence[float] | None = None,
) -> ClassRows:
    """Prepare rows with one class each.

    Args:
        truth: Class indices ``[N]``.
        prediction: Probabilities ``[N, C]``.
        classes: The names of the classes.
        label_weights: As for ``predicted_classes``.

    Returns:
        The data that the metrics are computed from.
    """
    indices, num_classes = truth.astype(np.int64), prediction.shape[1]
    right = prediction[np.arange(len(indices)), indices]
    positive = positive_class(classes) if num_classes == 2 else None
    ranked = range(num_classes) if positive is None else [positive]
    return ClassRows(
        is_true=_one_hot(indices, num_classes),
        is_predicted=_one_hot(predicted_classes(prediction, label_weights), num_classes),
        probabilities=prediction,
        losses=-np.log(np.clip(right, MIN_PROBABILITY, 1.0)),
        gaps=calibration_gaps("category", truth, prediction),
        curves=_curves((indices == index, prediction[:, index]) for index in ranked),
        positive=positive,
    )


def categories_rows(
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str],  # noqa: ARG001
    label_weights: Sequence[float] | None = None,  # noqa: ARG001
) -> ClassRows:
    """Prepare rows with any number of labels each.

    Args:
        truth: Labels of 0 and 1 ``[N, C]``.
        prediction: Probabilities ``[N, C]``.
        classes: Not used: no label is the positive one.
        label_weights: Not used.

    Returns:
        The data that the metrics are computed from.
    """
    is_true = truth.astype(np.bool_)
    right = np.where(is_true, prediction, 1.0 - prediction)
    return ClassRows(
        is_true=is_true.astype(np.float64),
        is_predicted=(prediction >= 0.5).astype(np.float64),
        probabilities=prediction,
        losses=-np.log(np.clip(right, MIN_PROBABILITY, 1.0)).mean(axis=1),
        gaps=calibration_gaps("categories", truth, prediction),
        curves=_curves((is_true[:, label], prediction[:, label]) for label in range(prediction.shape[1])),
        positive=None,
    )


def accuracy(counts: WeightedClasses) -> Floats:
    """Share of correct rows; for labels, of rows where all are correct."""
    return counts.weights @ counts.rows.is_right / counts.totals


def right_rows(counts: WeightedClasses) -> tuple[Floats, Floats]:
    """Count the correct rows, and all."""
    return counts.weights @ counts.rows.is_right, counts.totals


def predicted_positives(counts: WeightedClasses) -> tuple[Floats, Floats]:
    """Of two classes, count the hits of the positive one and the rows in which it is predicted; else nothing."""
    return _of_counts(counts, counts.predicted)


def true_positives(counts: WeightedClasses) -> tuple[Floats, Floats]:
    """Of two classes, count the hits of the positive one and the rows that have it; else nothing."""
    return _of_counts(counts, counts.support)


def balanced_accuracy(counts: WeightedClasses) -> Floats:
    """Mean recall of the classes that occur."""
    return mean_where(ratio(counts.hits, counts.support), counts.support > 0)


def macro_f1(counts: WeightedClasses) -> Floats:
    """Mean F1 of the classes that occur or are predicted."""
    return mean_where(_f1(counts), counts.support + counts.predicted > 0)


def macro_f1_of_labels(counts: WeightedClasses) -> Floats:
    """Mean F1 of all labels, 0 for those that neither occur nor are predicted."""
    return np.asarray(_f1(counts).mean(axis=1))


def f1(counts: WeightedClasses) -> Floats:
    """F1 of the positive class of two, else the mean over classes."""
    return _of_positive(counts, _f1(counts))


def precision(counts: WeightedClasses) -> Floats:
    """Precision of the positive class of two, else the mean over classes."""
    return _of_positive(counts, ratio(counts.hits, counts.predicted))


def recall(counts: WeightedClasses) -> Floats:
    """Recall of the positive class of two, else the mean over classes."""
    return _of_positive(counts, ratio(counts.hits, counts.support))


def micro_f1(counts: WeightedClasses) -> Floats:
    """F1 of all labels pooled."""
    return ratio(2 * counts.hits.sum(axis=1), counts.support.sum(axis=1) + counts.predicted.sum(axis=1))


def micro_precision(counts: WeightedClasses) -> Floats:
    """Precision of all labels pooled."""
    return ratio(counts.hits.sum(axis=1), counts.predicted.sum(axis=1))


def micro_recall(counts: WeightedClasses) -> Floats:
    """Recall of all labels pooled."""
    return ratio(counts.hits.sum(axis=1), counts.support.sum(axis=1))


def roc_auc(counts: WeightedClasses) -> Floats:
    """Area under the ROC curve of the positive class of two, else the mean over classes, each against the rest."""
    return np.asarray(counts.areas[0])


def average_precision(counts: WeightedClasses) -> Floats:
    """Average precision of the positive class of two, else the mean over classes, each against the rest."""
    return np.asarray(counts.areas[1])


def log_loss(counts: WeightedClasses) -> Floats:
    """Mean cross-entropy in nats."""
    return counts.weights @ counts.rows.losses / counts.totals


def expected_calibration_error(counts: WeightedClasses) -> Floats:
    """Guo et al. 2017, equation 3, with 15 bins of equal width."""
    return np.asarray(np.abs(counts.weights @ counts.rows.gaps).sum(axis=1) / counts.totals)


def positive_class(classes: Sequence[str]) -> int:
    """Return the index of the positive one of two classes.

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


def confusion(
    truth: NDArray[np.int64], prediction: Floats, label_weights: Sequence[float] | None = None
) -> NDArray[np.int64]:
    """Count rows by true and predicted class.

    Args:
        truth: int64 ``[N]`` class indices.
        prediction: ``[N, C]`` probabilities.
        label_weights: As for ``predicted_classes``.

    Returns:
        int64 ``[C, C]``: rows are the truth, columns the chosen class.
    """
    num_classes = prediction.shape[1]
    cells = truth * num_classes + predicted_classes(prediction, label_weights)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(
    truth: NDArray[np.generic],
    prediction: Floats,
    classes: Sequence[str],
    label_weights: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Compute the scores of each class.

    Args:
        truth: Class indices ``[N]``.
        prediction: Probabilities ``[N, C]``.
        classes: Their names.
        label_weights: As for ``predicted_classes``.

    Returns:
        As ``label_scores``, for the classes.
    """
    indices = truth.astype(np.int64)
    is_true = _one_hot(indices, len(classes)).astype(np.bool_)
    is_predicted = _one_hot(predicted_classes(prediction, label_weights), len(classes)).astype(np.bool_)
    return _scores_by_column(is_true, is_predicted, classes)


def label_scores(truth: NDArray[np.generic], prediction: Floats, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Compute the scores of each label.

    Args:
        truth: Labels of 0 and 1 ``[N, C]``.
        prediction: Probabilities ``[N, C]``.
        labels: Their names.

    Returns:
        One entry a label: ``label``, ``precision``, ``recall``, ``f1``, ``support``, its number of rows, and
        ``intervals``, the 95 % interval of precision and recall.
    """
    return _scores_by_column(truth.astype(np.bool_), prediction >= 0.5, labels)


def _scores_by_column(
    is_true: NDArray[np.bool_], is_predicted: NDArray[np.bool_], labels: Sequence[str]
) -> list[dict[str, Any]]:
    entries = []
    for index, label in enumerate(labels):
        true, predicted = is_true[:, index], is_predicted[:, index]
        hits, support, found = int((true & predicted).sum()), int(true.sum()), int(predicted.sum())
        precise, recalled = hits / max(found, 1), hits / max(support, 1)
        both = 2 * precise * recalled / max(precise + recalled, 1e-12)
        bounds = {"precision": wilson_interval(hits, found)} if found else {}
        bounds |= {"recall": wilson_interval(hits, support)} if support else {}
        scores = {"precision": precise, "recall": recalled, "f1": both}
        entries.append({"label": label, **scores, "support": support, "intervals": bounds})
    return entries


def _f1(counts: WeightedClasses) -> Floats:
    return ratio(2 * counts.hits, counts.support + counts.predicted)


def _of_positive(counts: WeightedClasses, values: Floats) -> Floats:
    """Return the positive class's value of two, else the mean over the classes that occur or are predicted."""
    positive = counts.rows.positive
    if positive is None:
        return mean_where(values, counts.support + counts.predicted > 0)
    return np.where(counts.support[:, positive] > 0, values[:, positive], np.nan)


def _of_counts(counts: WeightedClasses, totals: Floats) -> tuple[Floats, Floats]:
    positive = counts.rows.positive
    if positive is None:
        return np.zeros(len(totals)), np.zeros(len(totals))
    return counts.hits[:, positive], totals[:, positive]


def _curves(pairs: Iterable[tuple[NDArray[np.bool_], Floats]]) -> list[RankingCurve]:
    return [RankingCurve(is_positive, scores) for is_positive, scores in pairs if 0 < is_positive.sum() < len(scores)]


def _one_hot(indices: NDArray[np.int64], num_classes: int) -> Floats:
    one_hot = np.zeros((len(indices), num_classes))
    one_hot[np.arange(len(indices)), indices] = 1.0
    return one_hot
