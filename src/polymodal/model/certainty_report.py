"""The section "How sure" of an evaluation: promises beside what was kept, abstention, confidence without a stream."""

from __future__ import annotations

from collections.abc import Mapping
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
    model: TrainedModel, name: str, scorer: Scorer, full: Answered, without: Mapping[str, Answered]
) -> dict[str, Any]:
    """Measure how sure a target's answers are.

    Args:
        model: The model.
        name: The target's name.
        scorer: Its scorer, with at least one row whose truth is known.
        full: All streams.
        without: Stream to the same rows with it masked.

    Returns:
        ``promises`` at three levels, ``streams`` without each stream, ``classes`` and ``abstain`` of a category; or a
        ``notice``: one sentence why there are none.
    """
    calibration = model.calibrations.get(name)
    if isinstance(scorer.target, StructuredTarget):
        return {"notice": f"Predictions of the kind {scorer.target.kind!r} have no sets or intervals."}
    if calibration is None:
        return {"notice": "No sets or intervals: the model has no calibration rows of this target."}
    sections: dict[str, Any] = {
        "unit": "width" if calibration.kind == "number" else "size",
        "promises": [_promise(model, name, scorer, full, level) for level in LEVELS],
        "streams": {
            stream: _without_stream(model, name, scorer, full, answered, stream)
            for stream, answered in without.items()
            if _removed(full, stream)[scorer.known].any()
        },
    }
    if calibration.kind == "category":
        held = _kept(model, name, scorer, full, SHOWN_LEVEL).held
        sections["classes"] = by_class(held, scorer.truth, scorer.target.classes or ())
        sections["abstain"] = _abstention(calibration, scorer, full)
    return sections


def _kept(model: TrainedModel, name: str, scorer: Scorer, answered: Answered, coverage: float) -> Kept:
    """Compare the sets or intervals of the rows whose truth is known."""
    calibration, known = model.calibrations[name], scorer.known
    thresholds = set_thresholds(calibration, answered.members.visible, coverage)
    if calibration.kind == "number":
        difficulty = number_difficulty(model, name, answered.members, answered.prediction)
        return kept_by_intervals(number_intervals(answered.prediction, difficulty, thresholds)[known], scorer.truth)
    included = answer_scores(scorer.target, answered.prediction) <= thresholds[:, None]
    return kept_by_sets(calibration.kind, included[known], scorer.truth)


def _promise(model: TrainedModel, name: str, scorer: Scorer, answered: Answered, coverage: float) -> dict[str, Any]:
    calibration = model.calibrations[name]
    entry = measure(_kept(model, name, scorer, answered, coverage), coverage, _smallest_group(calibration, answered))
    return {**entry, "is_single": _is_single(calibration, answered, coverage)}


def _smallest_group(calibration: Calibration, answered: Answered) -> int | None:
    """Return the calibration rows of the only pattern of absent streams there is; None of several."""
    visible = answered.members.visible
    patterns = np.unique(np.stack(list(visible.values()), axis=1), axis=0)
    absent = {stream for stream, is_visible in zip(visible, patterns[0], strict=True) if not is_visible}
    sizes = [group.num_rows for group in calibration.groups if set(group.absent) == absent]
    return sizes[0] if len(patterns) == 1 and sizes else None


def _is_single(calibration: Calibration, answered: Answered, coverage: float) -> bool:
    """Return whether every set is the predicted label alone, as that is right more often than was promised."""
    is_class = calibration.kind == "category"
    return is_class and bool((set_thresholds(calibration, answered.members.visible, coverage) == 0).all())


def _removed(full: Answered, stream: str) -> NDArray[np.bool_]:
    """Return the rows that had a stream, which was then removed."""
    return full.members.visible[stream]


def _without_stream(
    model: TrainedModel, name: str, scorer: Scorer, full: Answered, without: Answered, stream: str
) -> dict[str, Any]:
    """Measure the rows that had a stream after it was removed."""
    used = _removed(full, stream)[scorer.known]
    kept = _kept(model, name, scorer, without, SHOWN_LEVEL).take(used)
    scores = scorer.score(without.prediction)
    entry = measure(kept, SHOWN_LEVEL)
    entry |= {metric: scores[metric] for metric in ("ece", "log_loss") if metric in scores}
    if model.calibrations[name].kind == "category":
        pair = (label_confidence(scorer.target, answered.prediction[scorer.known]) for answered in (full, without))
        entry["confidence_rises"] = confidence_rises(*(confidence[used] for confidence in pair))
    return entry


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
