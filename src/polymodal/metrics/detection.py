"""Average precision of found boxes, for weighted rows (numpy only).

The definition is COCO's (Lin et al. 2014, arXiv 1405.0312, and its evaluation code): in each picture the surest
boxes of a label take the free true box they overlap most; precision is read at 101 recalls; labels count alike.

Shape legend: N rows, R resamples, L labels, D found boxes of a label in all rows, G true boxes of a row, T overlaps.
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
from polymodal.metrics.weighted import CELLS_AT_ONCE, Floats, Weighted

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""T: the least overlaps at which a box counts as found; the first stands for ``map_50``."""
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_PER_LABEL = 100
"""Found boxes of a label that count in a row, the surest ones."""
SURE = 0.3
"""Found boxes from this score on are drawn, counted in words and graded."""


@dataclass(frozen=True)
class _Ranked:
    """One label's found boxes in all rows, the surest first.

    Attributes:
        rows: int64 ``[D]``, the row of each.
        hits: bool ``[T, D]``, True where it took a true box.
        support: float64 ``[N]``, true boxes of each row.
    """

    rows: NDArray[np.int64]
    hits: NDArray[np.bool_]
    support: Floats


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Compute intersection over union of every pair.

    Args:
        first: ``[A, 4]``: x_min, y_min, x_max, y_max.
        second: ``[B, 4]``.

    Returns:
        float64 ``[A, B]`` in 0..1.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2, dtype=np.float64)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1, dtype=np.float64) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


class BoxRows:
    """Rows of labelled boxes each. All matching is done once, here."""

    def __init__(self, truth: Sequence[Cell], found: Sequence[Cell]) -> None:
        """Match the boxes.

        Args:
            truth: Lists of ``{"label", "box"}`` ``[N]``.
            found: Lists of ``{"label", "box", "score"}`` ``[N]``; without a score a box counts as sure.
        """
        self.ranked = list(_rank(truth, found).values())
        longest = max([len(truth), *(len(label.rows) for label in self.ranked)], default=1)
        self.at_once = max(1, CELLS_AT_ONCE // longest)

    def weighted(self, weights: Floats) -> WeightedBoxes:
        """Weigh the rows.

        Args:
            weights: ``[R, N]``.

        Returns:
            What the metrics are computed from.
        """
        return WeightedBoxes(self, weights)


class WeightedBoxes(Weighted[BoxRows]):
    """Weighted precisions of found boxes."""

    @cached_property
    def precisions(self) -> Floats:
        """Average precision at each overlap ``[R, T]``; labels without a true box do not count."""
        starts = range(0, len(self.weights), self.rows.at_once)
        parts = [self.weights[start : start + self.rows.at_once] for start in starts]
        return np.concatenate([_mean_precisions(self.rows.ranked, part) for part in parts])


def map_50(boxes: WeightedBoxes) -> Floats:
    """Mean average precision at an overlap of one half."""
    return boxes.precisions[:, 0]


def mean_average_precision(boxes: WeightedBoxes) -> Floats:
    """Mean average precision at overlaps from 0.5 to 0.95."""
    return np.asarray(boxes.precisions.mean(axis=1))


def measure_labels(truth: Sequence[Cell], found: Sequence[Cell]) -> list[dict[str, Any]]:
    """Score each label by itself.

    Args:
        truth: As for ``BoxRows``.
        found: As for ``BoxRows``.

    Returns:
        One entry a label that has true boxes: ``label``, ``support`` (their number), ``ap`` and ``ap_50``.
    """
    ranked, rows = _rank(truth, found), np.ones((1, len(truth)))
    scores = {label: _precisions(entry, rows)[0] for label, entry in ranked.items() if entry.support.any()}
    return [
        {"label": label, "support": int(ranked[label].support.sum()), "ap": float(at.mean()), "ap_50": float(at[0])}
        for label, at in scores.items()
    ]


def match_boxes(truth: Sequence[Any], found: Sequence[Any]) -> tuple[list[bool], list[bool]]:
    """Say which boxes of one row meet one of the same label, at an overlap of at least one half.

    Args:
        truth: True boxes, ``{"label", "box"}``.
        found: Found boxes, ``{"label", "box", "score"}``.

    Returns:
        Which true boxes were found, and which found boxes are right.
    """
    seen, right = [False] * len(truth), [False] * len(found)
    for label in {str(box["label"]) for box in found}:
        places = [[i for i, box in enumerate(boxes) if str(box["label"]) == label] for boxes in (truth, found)]
        places[1].sort(key=lambda place: -_score(found[place]))
        pairs = overlaps(_array([found[i] for i in places[1]]), _array([truth[i] for i in places[0]]))
        for at, mine in enumerate(_take(pairs, OVERLAPS[:1])[0]):
            if mine >= 0:
                seen[places[0][mine]] = right[places[1][at]] = True
    return seen, right


def sure_boxes(found: Iterable[Any]) -> list[Any]:
    """Return the boxes that are likely right.

    Args:
        found: ``{"label", "box", "score"}``; without a score a box counts as sure.

    Returns:
        Those with a score of ``SURE`` or more.
    """
    return [box for box in found if _score(box) >= SURE]


def grade_boxes(truth: Sequence[Cell], found: Sequence[Cell]) -> Floats:
    """Grade each row by the F1 of the boxes that are likely right, at an overlap of at least one half.

    Args:
        truth: As for ``BoxRows``.
        found: As for ``BoxRows``.

    Returns:
        ``[N]``, 1 where all is right, also where there is nothing and nothing was found.
    """
    grades = np.ones(len(truth))
    for row, (true, said) in enumerate(zip(truth, found, strict=True)):
        sure = sure_boxes(said)
        if true or sure:
            grades[row] = 2 * sum(match_boxes(true, sure)[1]) / (len(true) + len(sure))
    return grades


def _score(box: Any) -> float:
    return float(box.get("score", 1.0))


def _array(boxes: Iterable[Any]) -> Floats:
    return np.array([box["box"] for box in boxes], dtype=np.float64).reshape(-1, 4)


def _rank(truth: Sequence[Cell], found: Sequence[Cell]) -> dict[str, _Ranked]:
    labels = sorted({str(box["label"]) for cells in (truth, found) for boxes in cells for box in boxes})
    return {label: _rank_label(label, truth, found) for label in labels}


def _rank_label(label: str, truth: Sequence[Cell], found: Sequence[Cell]) -> _Ranked:
    own = [[[box for box in boxes if str(box["label"]) == label] for boxes in cells] for cells in (truth, found)]
    surest = [sorted(boxes, key=lambda box: -_score(box))[:MOST_PER_LABEL] for boxes in own[1]]
    taken = [
        _take(overlaps(_array(boxes), _array(true)), OVERLAPS) >= 0 for boxes, true in zip(surest, own[0], strict=True)
    ]
    rows = np.repeat(np.arange(len(truth)), [len(boxes) for boxes in surest])
    order = np.argsort([-_score(box) for boxes in surest for box in boxes], kind="stable")
    hits = np.concatenate([np.zeros((len(OVERLAPS), 0), dtype=np.bool_), *taken], axis=1)
    return _Ranked(rows[order], hits[:, order], np.array([len(boxes) for boxes in own[0]], dtype=np.float64))


def _take(pairs_DG: Floats, least_T: Floats) -> NDArray[np.int64]:
    """Let each found box, in order, take the free true box it overlaps most; of equal ones the last."""
    taken = np.full((len(least_T), len(pairs_DG)), -1, dtype=np.int64)
    free = np.ones((len(least_T), pairs_DG.shape[1]), dtype=np.bool_)
    for box in np.flatnonzero(pairs_DG.max(axis=1, initial=0.0) >= least_T[0]):
        open_TG = np.where(free, pairs_DG[box], -1.0)[:, ::-1]
        best = open_TG.argmax(axis=1)
        won = np.flatnonzero(open_TG[np.arange(len(best)), best] >= least_T)
        place = free.shape[1] - 1 - best[won]
        taken[won, box], free[won, place] = place, False
    return taken


def _mean_precisions(ranked: Sequence[_Ranked], weights: Floats) -> Floats:
    found = [_precisions(label, weights) for label in ranked]
    counted = np.array([weights @ label.support > 0 for label in ranked]).reshape(len(ranked), len(weights))
    number = counted.sum(axis=0)
    sums = sum((np.where(c[:, None], p, 0.0) for c, p in zip(counted, found, strict=True)), np.zeros((len(weights), 1)))
    return np.where(number[:, None] > 0, sums / np.maximum(number, 1)[:, None], np.nan)


def _precisions(label: _Ranked, weights: Floats) -> Floats:
    """Return the label's average precision at each overlap, ``[R, T]``; 0 where it has no true box.

    Precision can only be best where a true box was just found, so the curve is read there alone.
    """
    support = weights @ label.support
    drawn = weights[:, label.rows]
    passed = np.cumsum(drawn, axis=1)
    areas = np.zeros((len(weights), len(label.hits)))
    for at, hit in enumerate(label.hits):
        places = np.flatnonzero(hit)
        right = np.cumsum(drawn[:, places], axis=1)
        precision = right / np.maximum(passed[:, places], 1e-300)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / np.where(support > 0, support, np.inf)[:, None]
        reached = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
        areas[:, at] = (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return np.where(support[:, None] > 0, areas, 0.0)


def count_labels(boxes: Iterable[Any]) -> str:
    """Say in words how many boxes of each label there are.

    Args:
        boxes: ``{"label", "box"}``.

    Returns:
        Such as "12 RBC, 1 WBC"; "no box" where there is none.
    """
    counts = Counter(str(box["label"]) for box in boxes)
    return ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "no box"
