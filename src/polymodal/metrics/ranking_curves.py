"""Areas under the ROC curve and the precision-recall curve, for weighted rows (numpy only).

Shape legend: N rows, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.weighted import Floats, ratio


class RankingCurve:
    """Rows sorted by descending score; the areas under their ROC and precision-recall curves."""

    def __init__(self, is_positive: NDArray[np.bool_], scores: Floats) -> None:
        """Sort the rows.

        Args:
            is_positive: bool ``[N]``, some True and some False.
            scores: ``[N]``, larger where a row is more likely positive.
        """
        order = np.argsort(-scores, kind="stable")
        self.positives, self.negatives = order[is_positive[order]], order[~is_positive[order]]
        ranked = scores[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        passed = np.cumsum(is_positive[order])[ends]
        kept = np.append(True, np.diff(passed) > 0)
        kept[-1] = True
        # Thresholds that add no positive are merged: recall is constant between them.
        kept[:-1] |= kept[1:]
        self.num_positives, self.num_rows = passed[kept], ends[kept] + 1

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """Compute the ROC area and the average precision.

        Args:
            weights: ``[R, N]``.

        Returns:
            Both ``[R]``, NaN where all rows with weight are positive, or all negative.
        """
        hits = _cumulative(weights[:, self.positives], self.num_positives)
        misses = _cumulative(weights[:, self.negatives], self.num_rows - self.num_positives)
        gained = np.diff(hits, axis=1)
        below = (gained * (misses[:, 1:] + misses[:, :-1])).sum(axis=1) / 2
        precise = (gained * ratio(hits[:, 1:], hits[:, 1:] + misses[:, 1:])).sum(axis=1)
        positives, both = hits[:, -1], hits[:, -1] * misses[:, -1]
        return 1.0 - ratio(below, both, np.nan), np.where(both > 0, ratio(precise, positives), np.nan)


@dataclass(frozen=True)
class CurvePoints:
    """The thresholds at which a score's decisions change, and what follows from each.

    Attributes:
        thresholds: Descending scores ``[T]``; rows with at least that score are flagged.
        hits: Positive rows flagged ``[T]``.
        flagged: Rows flagged ``[T]``.
        num_positives: Positive rows in all.
        num_rows: Rows in all.
    """

    thresholds: Floats
    hits: NDArray[np.int64]
    flagged: NDArray[np.int64]
    num_positives: int
    num_rows: int

    def roc_area(self) -> float:
        """Return the area under the ROC curve."""
        x, y, _ = np.array(self.roc(len(self.thresholds))).T
        return float(((x[1:] - x[:-1]) * (y[1:] + y[:-1])).sum() / 2)

    def roc(self, num_points: int) -> list[list[float]]:
        """Return the ROC curve.

        Args:
            num_points: Most points; more are thinned out evenly.

        Returns:
            ``[share of negatives flagged, share of positives flagged, threshold]``, from nothing to all; the threshold
            of the first point is 1.
        """
        misses = (self.flagged - self.hits) / max(self.num_rows - self.num_positives, 1)
        curve = np.stack([misses, self.hits / max(self.num_positives, 1), self.thresholds], axis=1)
        return [[0.0, 0.0, 1.0], *_thinned(curve, num_points).tolist()]

    def precision_recall(self, num_points: int) -> list[list[float]]:
        """Return the precision-recall curve.

        Args:
            num_points: Most points; more are thinned out evenly.

        Returns:
            ``[recall, precision, threshold]``, from the highest threshold to the lowest.
        """
        curve = np.stack([self.hits / max(self.num_positives, 1), self.hits / self.flagged, self.thresholds], axis=1)
        return [list(point) for point in _thinned(curve, num_points).tolist()]


def curve_points(is_positive: NDArray[np.bool_], scores: Floats) -> CurvePoints:
    """Count hits and flagged rows at every threshold.

    Args:
        is_positive: bool ``[N]``.
        scores: ``[N]``, larger where a row is more likely positive.

    Returns:
        The counts at each distinct score.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(is_positive[order], dtype=np.int64)[ends]
    return CurvePoints(ranked[ends], hits, ends + 1, int(is_positive.sum()), len(scores))


def _thinned(points: Floats, most: int) -> Floats:
    return points[np.unique(np.linspace(0, len(points) - 1, min(most, len(points))).round().astype(np.int64))]


def _cumulative(weights: Floats, ends: NDArray[np.int64]) -> Floats:
    """Return the weight of the first ``ends`` columns, led by a zero: ``[R, ends + 1]``."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums[:, np.append(0, ends)]
