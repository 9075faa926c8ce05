"""Average precision of predicted boxes, for weighted rows (numpy only).

The definition is COCO's (Lin et al. 2014, arXiv 1405.0312, and its evaluation code): in each image the boxes of a
label are matched in the order of their scores to the unmatched true box with the highest IoU; precision is
interpolated at 101 recalls; labels have equal weight.

Shape legend: N rows, R resamples, L labels, D predicted boxes of a label in all rows, G true boxes of a row, T IoU
thresholds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.metrics.weighted import MAX_BLOCK_VALUES, Floats, Weighted

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The T IoU thresholds of a match; the first is that of ``map_50``."""
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100
"""Maximum number of predicted boxes of a label in a row, those with the highest scores."""
SCORE_THRESHOLD = 0.3
"""Predicted boxes from this score on are drawn, counted and rated."""


@dataclass(frozen=True)
class _RankedBoxes:
    """The predicted boxes of one label in all rows, sorted by descending score.

    Attributes:
        rows: int64 ``[D]``, the row of each.
        hits: bool ``[T, D]``, True where it is matched to a true box.
        support: float64 ``[N]``, true boxes of each row.
    """

    rows: NDArray[np.int64]
    hits: NDArray[np.bool_]
    support: Floats


def box_iou(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Compute the intersection over union of all pairs of boxes.

    Args:
        first: ``[A, 4]``: x_min, y_min, x_max, y_max.
        second: ``[B, 4]``.

    Returns:
        float64 ``[A, B]`` in 0..1.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2, dtype=np.float64)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1, dtype=np.float64) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - intersection
    return np.where(union > 0, intersection / np.where(union > 0, union, 1.0), 0.0)


class BoxRows:
    """Rows of labelled boxes; the boxes are matched once, here."""

    def __init__(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> None:
        """Match the boxes.

        Args:
            truth: Lists of ``{"label", "box"}`` ``[N]``.
            predictions: Lists of ``{"label", "box", "score"}`` ``[N]``; without a score, 1 is assumed.
        """
        self.ranked = list(_rank_boxes(truth, predictions).values())
        longest = max([len(truth), *(len(label.rows) for label in self.ranked)], default=1)
        self.at_once = max(1, MAX_BLOCK_VALUES // longest)

    def weighted(self, weights: Floats) -> WeightedBoxes:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            The data that the metrics are computed from.
        """
        return WeightedBoxes(self, weights)


class WeightedBoxes(Weighted[BoxRows]):
    """Weighted precisions of predicted boxes."""

    @cached_property
    def precisions(self) -> Floats:
        """Average precision at each IoU threshold ``[R, T]``; labels without a true box are left out."""
        starts = range(0, len(self.weights), self.rows.at_once)
        parts = [self.weights[start : start + self.rows.at_once] for start in starts]
        return np.concatenate([_mean_precisions(self.rows.ranked, part) for part in parts])


def map_50(boxes: WeightedBoxes) -> Floats:
    """Mean average precision at an IoU of 0.5."""
    return boxes.precisions[:, 0]


def mean_average_precision(boxes: WeightedBoxes) -> Floats:
    """Mean average precision at IoU thresholds from 0.5 to 0.95."""
    return np.asarray(boxes.precisions.mean(axis=1))


def box_label_scores(truth: Sequence[Cell], predictions: Sequence[Cell]) -> list[dict[str, Any]]:
    """Compute the scores of each label.

    Args:
        truth: As for ``BoxRows``.
        predictions: As for ``BoxRows``.

    Returns:
        One entry a label that has true boxes: ``label``, ``support`` (their number), ``ap`` and ``ap_50``.
    """
    ranked, rows = _rank_boxes(truth, predictions), np.ones((1, len(truth)))
    scores = {label: _precisions(entry, rows)[0] for label, entry in ranked.items() if entry.support.any()}
    return [
        {"label": label, "support": int(ranked[label].support.sum()), "ap": float(at.mean()), "ap_50": float(at[0])}
        for label, at in scores.items()
    ]


def match_boxes(truth: Sequence[Any], predictions: Sequence[Any]) -> tuple[list[bool], list[bool]]:
    """Match predicted to true boxes of the same label, at an IoU of at least 0.5.

    Args:
        truth: True boxes, ``{"label", "box"}``.
        predictions: Predicted boxes, ``{"label", "box", "score"}``.

    Returns:
        Whether each true box was found, and whether each predicted box is correct.
    """
    is_found, is_correct = [False] * len(truth), [False] * len(predictions)
    for label in {str(box["label"]) for box in predictions}:
        places = [[i for i, box in enumerate(boxes) if str(box["label"]) == label] for boxes in (truth, predictions)]
        places[1].sort(key=lambda place: -_score(predictions[place]))
        pairs = box_iou(_array([predictions[i] for i in places[1]]), _array([truth[i] for i in places[0]]))
        for at, mine in enumerate(_match(pairs, IOU_THRESHOLDS[:1])[0]):
            if mine >= 0:
                is_found[places[0][mine]] = is_correct[places[1][at]] = True
    return is_found, is_correct


def confident_boxes(predictions: Iterable[Any]) -> list[Any]:
    """Return the boxes with a high score.

    Args:
        predictions: ``{"label", "box", "score"}``; without a score, 1 is assumed.

    Returns:
        Those with a score of at least ``SCORE_THRESHOLD``.
    """
    return [box for box in predictions if _score(box) >= SCORE_THRESHOLD]


def box_quality(truth: Sequence[Cell], predictions: Sequence[Cell]) -> Floats:
    """Rate each row by the F1 of the boxes with a high score, at an IoU of at least 0.5.

    Args:
        truth: As for ``BoxRows``.
        predictions: As for ``BoxRows``.

    Returns:
        ``[N]``, 1 where all is correct, also without any true and predicted box.
    """
    grades = np.ones(len(truth))
    for row, (true, predicted) in enumerate(zip(truth, predictions, strict=True)):
        sure = confident_boxes(predicted)
        if true or sure:
            grades[row] = 2 * sum(match_boxes(true, sure)[1]) / (len(true) + len(sure))
    return grades


def _score(box: Any) -> float:
    return float(box.get("score", 1.0))


def _array(boxes: Iterable[Any]) -> Floats:
    return np.array([box["box"] for box in boxes], dtype=np.float64).reshape(-1, 4)


def _rank_boxes(truth: Sequence[Cell], predictions: Sequence[Cell]) -> dict[str, _RankedBoxes]:
    labels = sorted({str(box["label"]) for cells in (truth, predictions) for boxes in cells for box in boxes})
    return {label: _rank_label(label, truth, predictions) for label in labels}


def _rank_label(label: str, truth: Sequence[Cell], predictions: Sequence[Cell]) -> _RankedBoxes:
    own = [[[box for box in boxes if str(box["label"]) == label] for boxes in cells] for cells in (truth, predictions)]
    surest = [sorted(boxes, key=lambda box: -_score(box))[:MAX_DETECTIONS] for boxes in own[1]]
    matched = [
        _match(box_iou(_array(boxes), _array(true)), IOU_THRESHOLDS) >= 0
        for boxes, true in zip(surest, own[0], strict=True)
    ]
    rows = np.repeat(np.arange(len(truth)), [len(boxes) for boxes in surest])
    order = np.argsort([-_score(box) for boxes in surest for box in boxes], kind="stable")
    hits = np.concatenate([np.zeros((len(IOU_THRESHOLDS), 0), dtype=np.bool_), *matched], axis=1)
    return _RankedBoxes(rows[order], hits[:, order], np.array([len(boxes) for boxes in own[0]], dtype=np.float64))


def _match(pairs_DG: Floats, thresholds_T: Floats) -> NDArray[np.int64]:
    """Match each predicted box, in order, to the unmatched true box with the highest IoU; of equal ones the last."""
    matched = np.full((len(thresholds_T), len(pairs_DG)), -1, dtype=np.int64)
    is_free = np.ones((len(thresholds_T), pairs_DG.shape[1]), dtype=np.bool_)
    for box in np.flatnonzero(pairs_DG.max(axis=1, initial=0.0) >= thresholds_T[0]):
        free_iou_TG = np.where(is_free, pairs_DG[box], -1.0)[:, ::-1]
        best = free_iou_TG.argmax(axis=1)
        matches = np.flatnonzero(free_iou_TG[np.arange(len(best)), best] >= thresholds_T)
        place = is_free.shape[1] - 1 - best[matches]
        matched[matches, box], is_free[matches, place] = place, False
    return matched


def _mean_precisions(ranked: Sequence[_RankedBoxes], weights: Floats) -> Floats:
    predictions = [_precisions(label, weights) for label in ranked]
    counted = np.array([weights @ label.support > 0 for label in ranked]).reshape(len(ranked), len(weights))
    number = counted.sum(axis=0)
    sums = sum(
        (np.where(c[:, None], p, 0.0) for c, p in zip(counted, predictions, strict=True)), np.zeros((len(weights), 1))
    )
    return np.where(number[:, None] > 0, sums / np.maximum(number, 1)[:, None], np.nan)


def _precisions(label: _RankedBoxes, weights: Floats) -> Floats:
    """Return the label's average precision at each IoU threshold, ``[R, T]``; 0 where it has no true box.

    The maxima of precision are at matches, so the curve is evaluated there only.
    """
    support = weights @ label.support
    drawn = weights[:, label.rows]
    passed = np.cumsum(drawn, axis=1)
    areas = np.zeros((len(weights), len(label.hits)))
    for at, hit in enumerate(label.hits):
        places = np.flatnonzero(hit)
        is_correct = np.cumsum(drawn[:, places], axis=1)
        precision = is_correct / np.maximum(passed[:, places], 1e-300)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = is_correct / np.where(support > 0, support, np.inf)[:, None]
        reached = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
        areas[:, at] = (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return np.where(support[:, None] > 0, areas, 0.0)


def count_labels(boxes: Iterable[Any]) -> str:
    """Return a text with the number of boxes of each label.

    Args:
        boxes: ``{"label", "box"}``.

    Returns:
        Such as "12 RBC, 1 WBC"; "no box" where there is none.
    """
    counts = Counter(str(box["label"]) for box in boxes)
    return ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "no box"
