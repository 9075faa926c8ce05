"""The section "How sure" of an evaluation: promises beside what was kept, abstention, confidence without a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.certainty.abstention import risk_coverage
from polymodal.certainty.calibration import Calibration
from polymodal.certainty.coverage import (
    LEVELS,
    Kept,
    by_class,
    confidence_rises,
    kept_by_intervals,
    kept_by_sets,
    measure,
)
from polymodal.ensemble.ensemble import rows_by_pattern
from polymodal.metrics.shares import wilson_interval
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.prediction_sets import (
    answer_scores,
    answer_thresholds,
    label_confidence,
    number_difficulty,
    number_intervals,
    set_thresholds,
)
from polymodal.model.scorer import Scorer
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import StructuredTarget
from polymodal.targets.base import Prediction

SHOWN_LEVEL = 0.9
"""The promise whose keeping is shown by stream and by class."""
ACCURACIES = (0.8, 0.9, 0.95, 0.99)
"""Accuracies for which the threshold of abstention is tested."""


@dataclass(frozen=True)
class Answered:
    """Final predictions of the evaluated rows under one stream mask.

    Attributes:
        members: What the members predict.
        prediction: The final prediction of every row.
    """

    members: MemberPredictions
    prediction: Prediction


def certainty_section(
    model: TrainedModel,
    name: str,
    scorer: Scorer,
    full: Answered,
    without: Mapping[str, Answered],
    values: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure how sure a target's answers are.

    Args:
        model: The model.
        name: The target's name.
        scorer: Its scorer, with at least one row whose truth is known.
        full: All streams.
        without: Stream to the same rows with it masked.
        values: Value of each row in the column that coverage was asked by, if there is one.

    Returns:
        ``promises`` at three levels, ``streams`` without each stream, ``strata`` by the column that coverage was asked
        by, ``classes`` and ``abstain`` of a category; or a ``notice``: one sentence why there are none.
    """
    calibration = model.calibrations.get(name)
    if isinstance(scorer.target, StructuredTarget):
        return {"notice": f"Predictions of the kind {scorer.target.kind!r} have no sets or intervals."}
    if calibration is None:
        return {"notice": "No sets or intervals: the model has no calibration rows of this target."}
    judge = _Judge(model, name, scorer, values)
    held = judge.kept(full, SHOWN_LEVEL).held
    sections: dict[str, Any] = {
        "unit": "width" if calibration.kind == "number" else "size",
        "promises": [_promise(judge, full, level) for level in LEVELS],
        "streams": {
            stream: _without_stream(judge, full, answered, stream)
            for stream, answered in without.items()
            if full.members.visible[stream][scorer.known].any()
        },
    }
    if values is not None:
        names, numbers = np.unique(np.asarray(values)[scorer.known], return_inverse=True)
        sections["strata"] = by_class(held, numbers.reshape(-1), [str(value) for value in names])
    if calibration.kind == "category":
        sections["classes"] = by_class(held, scorer.truth, scorer.target.classes or ())
        sections["abstain"] = _abstention(calibration, scorer, full)
    return sections


@dataclass(frozen=True)
class _Judge:
    """Compares sets or intervals of a target with its truth.

    Attributes:
        model: The model.
        name: The target's name.
        scorer: Its scorer.
        values: Value of each row in the column that coverage was asked by, if there is one.
    """

    model: TrainedModel
    name: str
    scorer: Scorer
    values: Sequence[str] | None

    @property
    def calibration(self) -> Calibration:
        """The target's calibration rows."""
        return self.model.calibrations[self.name]

    def thresholds(self, answered: Answered, coverage: float) -> NDArray[np.float64]:
        """Return the threshold of every row."""
        return set_thresholds(self.calibration, answered.members.visible, coverage, self.values)

    def kept(self, answered: Answered, coverage: float) -> Kept:
        """Return what the sets or intervals of the rows held whose truth is known."""
        known, thresholds = self.scorer.known, self.thresholds(answered, coverage)
        if self.calibration.kind == "number":
            difficulty = number_difficulty(self.model, self.name, answered.members, answered.prediction)
            intervals = number_intervals(answered.prediction, difficulty, thresholds)
            return kept_by_intervals(intervals[known], self.scorer.truth)
        included = answer_scores(self.scorer.target, answered.prediction) <= thresholds[:, None]
        return kept_by_sets(self.calibration.kind, included[known], self.scorer.truth)

    def num_calibration(self, answered: Answered, used: NDArray[np.bool_]) -> int:
        """Return how many calibration rows of one group would make the coverage of these rows vary as much.

        Args:
            answered: The rows.
            used: bool ``[rows]``, those that are measured; at least one.

        Returns:
            ``1 / sum(share ** 2 / rows)`` over the groups that choose thresholds.
        """
        visible = {stream: mask[used] for stream, mask in answered.members.visible.items()}
        values = np.asarray(self.values)[used] if self.values is not None else None
        variance = 0.0
        for absent, rows in rows_by_pattern(visible):
            for value in [None] if values is None else np.unique(values[rows]):
                number = len(rows) if values is None else int((values[rows] == value).sum())
                size = self.calibration.group_size(absent, None if value is None else str(value))
                variance += (number / int(used.sum())) ** 2 / size
        return max(1, round(1 / variance))


def _promise(judge: _Judge, answered: Answered, coverage: float) -> dict[str, Any]:
    is_single = judge.calibration.kind == "category" and bool((judge.thresholds(answered, coverage) == 0).all())
    num_calibration = judge.num_calibration(answered, judge.scorer.known)
    return {**measure(judge.kept(answered, coverage), coverage, num_calibration), "is_single": is_single}


def _without_stream(judge: _Judge, full: Answered, without: Answered, stream: str) -> dict[str, Any]:
    """Measure the rows that had a stream after it was removed."""
    scorer = judge.scorer
    used = full.members.visible[stream][scorer.known]
    scores = scorer.score(without.prediction)
    num_calibration = judge.num_calibration(without, full.members.visible[stream] & scorer.known)
    entry = measure(judge.kept(without, SHOWN_LEVEL).take(used), SHOWN_LEVEL, num_calibration)
    entry |= {metric: scores[metric] for metric in ("ece", "log_loss") if metric in scores}
    if judge.calibration.kind == "category":
        pair = full.prediction, without.prediction
        entry["confidence_rises"] = _rises(scorer, pair, used)
        networks = [answered.members.predictions[judge.name].get("fusion") for answered in (full, without)]
        if networks[0] is not None and networks[1] is not None:
            entry["network_rises"] = _rises(scorer, (networks[0], networks[1]), used)
    return entry


def _rises(scorer: Scorer, pair: tuple[Prediction, Prediction], used: NDArray[np.bool_]) -> dict[str, float]:
    """Compare the confidence of the used rows with all streams and without one."""
    full, without = (label_confidence(scorer.target, prediction[scorer.known])[used] for prediction in pair)
    return confidence_rises(full, without)


def _abstention(calibration: Calibration, scorer: Scorer, full: Answered) -> dict[str, Any]:
    prediction = full.prediction[scorer.known]
    confidence = label_confidence(scorer.target, prediction)
    hits = answer_scores(scorer.target, prediction)[np.arange(len(prediction)), scorer.truth] == 0
    points, area = risk_coverage(confidence, 1.0 - hits)
    return {
        "curve": points,
        "aurc": area,
        "accuracies": [_at_accuracy(calibration, scorer, full, confidence, hits, wanted) for wanted in ACCURACIES],
    }


def _at_accuracy(
    calibration: Calibration,
    scorer: Scorer,
    full: Answered,
    confidence: NDArray[np.float64],
    hits: NDArray[np.bool_],
    wanted: float,
) -> dict[str, Any]:
    """Measure the rows that are answered where an accuracy is wanted."""
    least = answer_thresholds(calibration, full.members.visible, wanted)[scorer.known]
    answered = confidence >= least
    number, right = int(answered.sum()), int(hits[answered].sum())
    finite = least[np.isfinite(least)]
    return {
        "wanted": wanted,
        "threshold": float(np.median(finite)) if len(finite) else None,
        "rows": number,
        "answered": number / len(answered),
        "measured": right / number if number else None,
        "interval": wilson_interval(right, number) if number else None,
    }
