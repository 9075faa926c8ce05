"""Differences between two predictions of the same rows, with intervals and p-values (numpy).

Shape legend: N rows, C classes, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.classification import positive_class, predicted_classes
from polymodal.metrics.counts import binomial, mean_ranks
from polymodal.metrics.shares import NORMAL_95
from polymodal.metrics.table import metric_of
from polymodal.metrics.weighted import Floats


@dataclass(frozen=True)
class PairedDifference:
    """How far the first of two predictions leads on the same rows.

    Attributes:
        lead: By how much its score is better; negative where it is worse, whatever the metric's direction.
        interval: 95 % interval of ``lead``.
        p_value: Of no difference, two-sided.
        test: "McNemar", "DeLong" or "paired bootstrap".
        wins: Rows that it alone gets right; None where rows are not right or wrong.
        losses: Rows that the other alone gets right.
    """

    lead: float
    interval: list[float]
    p_value: float
    test: str
    wins: int | None = None
    losses: int | None = None

    def state(self) -> dict[str, Any]:
        """Return the difference as plain JSON."""
        return vars(self) | {"interval": list(self.interval)}


def compare_rows_right(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Compare two predictions by the rows they get right.

    The test is McNemar's with the mid-p value (Fagerland, Lydersen & Laake 2013), the interval that of Agresti & Min
    2005, which adds one half to each cell of the table and so has a width without any discordant row.

    Args:
        first: bool ``[N]``, True where the first prediction is right.
        second: bool ``[N]``, the same for the other.

    Returns:
        The difference of the shares of right rows.
    """
    wins, losses, rows = int((first & ~second).sum()), int((second & ~first).sum()), len(first)
    shift = (wins - losses) / (rows + 2)
    margin = NORMAL_95 * math.sqrt(max(wins + losses + 1 - (wins - losses) ** 2 / (rows + 2), 0.0)) / (rows + 2)
    return PairedDifference(
        lead=(wins - losses) / rows,
        interval=[shift - margin, shift + margin],
        p_value=_mid_p_value(wins, losses),
        test="McNemar",
        wins=wins,
        losses=losses,
    )


def _mid_p_value(wins: int, losses: int) -> float:
    fewer = min(wins, losses)
    chances = binomial(wins + losses, 0.5)[: fewer + 1]
    return float(min(1.0, 2 * chances.sum() - chances[fewer]))


def compare_roc_auc(is_positive: NDArray[np.bool_], first: Floats, second: Floats) -> PairedDifference | None:
    """Compare the ROC areas of two scores of the same rows (DeLong, DeLong & Clarke-Pearson 1988).

    Args:
        is_positive: bool ``[N]``.
        first: Score of each row ``[N]``, larger where it is more likely positive.
        second: The same for the other prediction.

    Returns:
        The difference; None where the areas have no variance.
    """
    parts = [_placements(is_positive, scores) for scores in (first, second)]
    (positive_a, negative_a), (positive_b, negative_b) = parts
    gaps = positive_a - positive_b, negative_a - negative_b
    if min(map(len, gaps)) < 2:
        return None
    error = math.sqrt(sum(float(gap.var(ddof=1)) / len(gap) for gap in gaps))
    lead = float(positive_a.mean() - positive_b.mean())
    if error == 0:
        return None
    interval = [lead - NORMAL_95 * error, lead + NORMAL_95 * error]
    return PairedDifference(lead, interval, math.erfc(abs(lead) / error / math.sqrt(2)), "DeLong")


def _placements(is_positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Return the share of negatives below each positive row, and of positives above each negative one."""
    together = mean_ranks(scores)
    positives, negatives = is_positive.sum(), (~is_positive).sum()
    below = (together[is_positive] - mean_ranks(scores[is_positive])) / max(negatives, 1)
    above = 1 - (together[~is_positive] - mean_ranks(scores[~is_positive])) / max(positives, 1)
    return below, above


def compare_samples(lead: float, first: Floats, second: Floats, higher_is_better: bool) -> PairedDifference | None:
    """Compare two predictions by their scores on the same resamples (Efron & Tibshirani 1993, chapters 13 and 16).

    Args:
        lead: By how much the first one's score on the rows is better.
        first: Its score on the resamples ``[R]``.
        second: The other's score on the same resamples ``[R]``.
        higher_is_better: Direction of the metric.

    Returns:
        The difference; None where no resample has both scores.
    """
    leads = (first - second) * (1 if higher_is_better else -1)
    leads = leads[np.isfinite(leads)]
    if not len(leads):
        return None
    tail = min(int((leads <= 0).sum()), int((leads >= 0).sum()))
    interval = [float(bound) for bound in np.percentile(leads, [2.5, 97.5])]
    return PairedDifference(lead, interval, min(1.0, 2 * (tail + 1) / (len(leads) + 1)), "paired bootstrap")


def compare_predictions(
    kind: str,
    metric: str,
    truth: NDArray[np.generic],
    pair: tuple[Floats, Floats],
    classes: Sequence[str] = (),
    label_weights: Sequence[float] | None = None,
) -> PairedDifference | None:
    """Compare two predictions of a flat target by a test that is made for its metric.

    Args:
        kind: "category", "categories" or "number".
        metric: The metric.
        truth: As for ``score``.
        pair: Both predictions, as for ``score``.
        classes: As for ``score``.
        label_weights: As for ``score``.

    Returns:
        The difference; None where no test is made for the metric: ``compare_samples`` serves any.
    """
    if metric == "accuracy" and len(truth):
        right = [_is_right(kind, truth, prediction, label_weights) for prediction in pair]
        return compare_rows_right(right[0], right[1])
    if metric == "roc_auc" and kind == "category" and len(classes) == 2:
        positive = positive_class(classes)
        return compare_roc_auc(truth == positive, pair[0][:, positive], pair[1][:, positive])
    return None


def _is_right(
    kind: str, truth: NDArray[np.generic], prediction: Floats, label_weights: Sequence[float] | None
) -> NDArray[np.bool_]:
    if kind == "category":
        return np.asarray(predicted_classes(prediction, label_weights) == truth)
    return np.asarray(((prediction >= 0.5) == truth.astype(np.bool_)).all(axis=1))


def better_by(metric: str, first: float, second: float) -> float:
    """Return by how much the first score is better.

    Args:
        metric: The metric of both.
        first: A score.
        second: Another one.

    Returns:
        Positive where the first is better, whatever the metric's direction.
    """
    return (first - second) * (1 if metric_of(metric).higher_is_better else -1)
