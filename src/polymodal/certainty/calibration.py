"""What is remembered of calibration rows, pattern by pattern of absent streams, so that any promise can be made later.

Groups of rows with their own thresholds are the categories of Mondrian conformal prediction (Vovk et al. 2005, section
4.5); rows in which a stream was masked stand for rows in which it is absent (Zaffran et al. 2023, arXiv 2306.02732,
algorithm 1), which is exact where cells are missing at random, regardless of their content.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.certainty.abstention import accuracy_threshold
from polymodal.certainty.difficulty import Difficulty
from polymodal.certainty.nonconformity import class_scores, label_scores, number_scores
from polymodal.certainty.thresholds import risk_threshold

Floats = NDArray[np.float64]
Pattern = frozenset[str]
"""The streams that are absent."""

MAX_ROWS = 5_000
"""Most rows of a group that are remembered, drawn at random: coverage is then exact to half a percentage point."""


@dataclass(frozen=True, kw_only=True)
class CalibrationGroup:
    """Calibration rows with one pattern of absent streams and, if a column was named, one value in it.

    Attributes:
        absent: The absent streams, sorted.
        value: The value of the column; None: any.
        num_rows: Rows.
        scores: Nonconformity scores of their true answers, rising.
        weights: What is lost with each true answer; empty: 1.
        confidences: Probability of the predicted label of each row; empty unless the target is a category.
        hits: Whether that label was right.
    """

    absent: list[str]
    value: str | None = None
    num_rows: int
    scores: list[float]
    weights: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration rows of one target.

    Attributes:
        kind: "category", "categories" or "number".
        groups: By pattern and, if a column was named, by value.
        difficulty: What residuals are normalised by; None unless the target is a number.
    """

    kind: str
    groups: list[CalibrationGroup]
    difficulty: Difficulty | None = None

    def set_threshold(self, absent: Pattern, coverage: float, value: str | None = None) -> float:
        """Return the threshold on the scores of rows of a pattern.

        Args:
            absent: The absent streams.
            coverage: The promise, between 0 and 1.
            value: Value of the column that coverage was asked by.

        Returns:
            That of the rows of the pattern and the value, else of the pattern; if these are too few, the strictest of
            the patterns around it. Infinity where none has enough rows: nothing can be excluded.
        """

        def of(groups: Sequence[CalibrationGroup]) -> list[float]:
            found = (risk_threshold(group.scores, group.num_rows, coverage, group.weights) for group in groups)
            return [threshold for threshold in found if math.isfinite(threshold)]

        own = [group for group in self.groups if frozenset(group.absent) == absent]
        for wanted in (value, None):
            if found := of([group for group in own if group.value == wanted]):
                return found[0]
        return max(of(self._around(absent)), default=math.inf)

    def answer_threshold(self, absent: Pattern, accuracy: float) -> float:
        """Return the least confidence of an answer in rows of a pattern.

        Args:
            absent: The absent streams.
            accuracy: The accuracy that is wanted of the answers.

        Returns:
            That of the rows of the pattern; of a pattern without rows, the strictest of those around it. Infinity where
            they make no such accuracy sure.
        """
        own = [group for group in self.groups if frozenset(group.absent) == absent and group.value is None]
        groups = own or self._around(absent)
        return max((accuracy_threshold(group.confidences, group.hits, accuracy) for group in groups), default=math.inf)

    def group_size(self, absent: Pattern, value: str | None = None) -> int:
        """Return how many calibration rows answer for a pattern and a value.

        Args:
            absent: The absent streams.
            value: Value of the column that coverage was asked by.

        Returns:
            At least 1: of the value, else of the pattern, else of the smallest pattern around it.
        """
        own = [group for group in self.groups if frozenset(group.absent) == absent]
        found = [group for wanted in (value, None) for group in own if group.value == wanted]
        sizes = [group.num_rows for group in found] or [min((g.num_rows for g in self._around(absent)), default=1)]
        return max(sizes[0], 1)

    def _around(self, absent: Pattern) -> list[CalibrationGroup]:
        """Return the rows of patterns in which fewer or more streams are absent, but not all."""
        nothing = max((len(group.absent) for group in self.groups), default=0)  # its scores are those of the prior
        others = [group for group in self.groups if group.value is None and len(group.absent) < nothing]
        return [group for group in others if absent.issuperset(group.absent) or absent.issubset(group.absent)]

    def state(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Restore it.

        Args:
            state: What ``state`` returned.

        Returns:
            An equal calibration.
        """
        difficulty = state["difficulty"]
        groups = [CalibrationGroup(**group) for group in state["groups"]]
        return cls(
            kind=state["kind"], groups=groups, difficulty=None if difficulty is None else Difficulty(**difficulty)
        )


def class_group(
    absent: Pattern,
    probabilities: Floats,
    truth: NDArray[Any],
    label_weights: list[float] | None = None,
    value: str | None = None,
) -> CalibrationGroup:
    """Remember rows of one class each.

    Args:
        absent: The absent streams.
        probabilities: float64 ``[N, C]``.
        truth: int64 ``[N]``.
        label_weights: How labels are chosen.
        value: Value of the column that coverage was asked by.

    Returns:
        The group.
    """
    scores = class_scores(probabilities, label_weights)
    hits = np.take_along_axis(scores, truth[:, None], axis=1)[:, 0] == 0
    chosen = scores.argmin(axis=1)
    return CalibrationGroup(
        absent=sorted(absent),
        value=value,
        num_rows=len(truth),
        scores=_plain(np.sort(scores[np.arange(len(truth)), truth])),
        confidences=rounded(probabilities[np.arange(len(truth)), chosen]).tolist(),
        hits=hits.tolist(),
    )


def label_group(
    absent: Pattern, probabilities: Floats, truth: NDArray[Any], value: str | None = None
) -> CalibrationGroup:
    """Remember rows of any number of labels each.

    Args:
        absent: The absent streams.
        probabilities: float64 ``[N, C]``.
        truth: 0 and 1 ``[N, C]``.
        value: Value of the column that coverage was asked by.

    Returns:
        The group; a label weighs one divided by the number of labels of its row.
    """
    is_true = truth.astype(np.bool_)
    scores, shares = label_scores(probabilities)[is_true], 1.0 / np.maximum(is_true.sum(axis=1), 1)
    weights, order = np.broadcast_to(shares[:, None], is_true.shape)[is_true], np.argsort(scores, kind="stable")
    return CalibrationGroup(
        absent=sorted(absent),
        value=value,
        num_rows=len(truth),
        scores=_plain(scores[order]),
        weights=weights[order].tolist(),
    )


def number_group(
    absent: Pattern, prediction: Floats, truth: Floats, difficulty: Floats, value: str | None = None
) -> CalibrationGroup:
    """Remember rows of one number each.

    Args:
        absent: The absent streams.
        prediction: float64 ``[N]``.
        truth: float64 ``[N]``.
        difficulty: float64 ``[N]``.
        value: Value of the column that coverage was asked by.

    Returns:
        The group.
    """
    scores = number_scores(truth, prediction, difficulty)
    return CalibrationGroup(absent=sorted(absent), value=value, num_rows=len(truth), scores=_plain(np.sort(scores)))


def rounded(confidences: Floats) -> Floats:
    """Round confidences to seven decimals, so that those of calibration rows and of new rows are compared alike."""
    return np.round(confidences, 7)


def _plain(values: Floats) -> list[float]:
    """Round up to seven digits: equal scores of new rows must not be above the threshold."""
    return [float(f"{value * (1 + 5e-7):.7g}") for value in values]
