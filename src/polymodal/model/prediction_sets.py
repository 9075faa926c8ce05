"""Sets, intervals and abstention of predictions, from the calibration rows that a model remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.certainty.calibration import Calibration, rounded
from polymodal.certainty.nonconformity import class_scores, label_scores
from polymodal.certainty.thresholds import rows_needed
from polymodal.data.tables.slices import slice_value
from polymodal.ensemble.ensemble import rows_by_pattern
from polymodal.errors import ConfigError, parameter_error, warn
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, CategoryTarget, NumberTarget, StructuredTarget, label_weights_of
from polymodal.targets.base import Prediction
from polymodal.targets.labels import to_label

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
NO_CALIBRATION = (
    "This model has no calibration rows: it was saved by an earlier version, or no validation row had its target. "
    "Train it again with validation rows."
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of predictions besides the answer.

    Attributes:
        coverage: How often a set or an interval is to hold the truth, between 0 and 1; None: no sets.
        accuracy: How often an answer is to be right; rows that are too unsure are not answered. None: all are.
    """

    coverage: float | None = None
    accuracy: float | None = None

    def check(self, model: TrainedModel) -> None:
        """Check that a model can do it; tell what of it it cannot.

        Args:
            model: The model.

        Raises:
            ConfigError: If a share is not between 0 and 1, or no target has calibration rows.
        """
        for name, share in (("coverage", self.coverage), ("abstain", self.accuracy)):
            if share is not None and not 0 < share < 1:
                raise parameter_error(name, "predictions", "above 0 and below 1, such as 0.9", share)
        if self.coverage is not None:
            _check_targets(model, "a prediction set or interval", frozenset({"category", "categories", "number"}))
        if self.accuracy is not None:
            _check_targets(model, "answers to leave out", frozenset({"category"}))


def _check_targets(model: TrainedModel, what: str, kinds: frozenset[str]) -> None:
    """Raise an error if no target can have it; warn of those that cannot."""
    fitting = [name for name, target in model.targets.items() if target.kind in kinds]
    able = [name for name in fitting if name in model.calibrations]
    if fitting and not able:
        raise ConfigError(NO_CALIBRATION)
    if not able:
        described = "a class" if kinds == {"category"} else "a class, labels or one number"
        found = ", ".join(f"{name!r} ({target.kind})" for name, target in model.targets.items())
        raise ConfigError(f"A target needs {described} in each row to have {what}. This model predicts {found}.")
    for name in model.targets.keys() - set(able):
        warn(f"The target {name!r} cannot have {what}: it is {model.targets[name].kind}, or has no calibration rows.")


@dataclass(frozen=True, kw_only=True)
class Certain:
    """Sets, intervals and abstention of some rows; each by target.

    Attributes:
        sets: Labels of each row, the most probable first.
        intervals: float64 ``[rows, 2]``, infinite where nothing can be excluded.
        abstained: bool ``[rows]``, True where there is no answer.
        unbounded: Rows whose set or interval is everything, as the calibration rows are too few.
        unanswered: Rows without an answer because no confidence makes the wanted accuracy sure.
        lacks_column: Whether the table lacks the column that coverage was asked by.
    """

    sets: dict[str, list[list[Cell]]] = field(default_factory=dict)
    intervals: dict[str, Floats] = field(default_factory=dict)
    abstained: dict[str, Mask] = field(default_factory=dict)
    unbounded: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)
    lacks_column: bool = False


def stratum_values(model: TrainedModel, cells: Mapping[str, Sequence[Cell]]) -> list[str] | None:
    """Return each row's value in the column that coverage was asked by.

    Args:
        model: The model.
        cells: Column to cells.

    Returns:
        One a row; None where no column was named, or it is not there.
    """
    column = model.config.coverage_by
    return [slice_value(cell) for cell in cells[column]] if column is not None and column in cells else None


def make_certain(
    model: TrainedModel,
    members: MemberPredictions,
    combined: Mapping[str, Prediction],
    wish: Wish,
    values: Sequence[str] | None = None,
) -> Certain:
    """Compute what is wished for some rows.

    Args:
        model: The model.
        members: What its members predict.
        combined: Target to the final prediction.
        wish: What is asked.
        values: Value of each row in the column that coverage was asked by, if there is one.

    Returns:
        Sets, intervals and abstention of the targets that have them.
    """
    is_asked = wish.coverage is not None and model.config.coverage_by is not None
    found = Certain(lacks_column=is_asked and values is None)
    for name, calibration in model.calibrations.items():
        prediction = combined[name]
        if wish.coverage is not None:
            thresholds = set_thresholds(calibration, members.visible, wish.coverage, values)
            found.unbounded[name] = int(np.isinf(thresholds).sum())
            if calibration.kind == "number":
                difficulty = number_difficulty(model, name, members, prediction)
                intervals, target = number_intervals(prediction, difficulty, thresholds), model.targets[name]
                if isinstance(target, NumberTarget):
                    intervals = target.limited_intervals(intervals)
                found.intervals[name] = intervals
            else:
                scores = answer_scores(model.targets[name], prediction)
                found.sets[name] = _labels(model.targets[name], scores, scores <= thresholds[:, None])
        if wish.accuracy is not None and calibration.kind == "category":
            least = answer_thresholds(calibration, members.visible, wish.accuracy)
            found.unanswered[name] = int(np.isinf(least).sum())
            found.abstained[name] = label_confidence(model.targets[name], prediction) < least
    return found


def answer_scores(target: AnyTarget, prediction: Prediction) -> Floats:
    """Score every class or label of each row; what is at most the threshold is in the set.

    Args:
        target: A category or labels.
        prediction: Probabilities ``[rows, classes]``.

    Returns:
        float64 ``[rows, classes]``.
    """
    return class_scores(prediction, label_weights_of(target)) if target.kind == "category" else label_scores(prediction)


def number_difficulty(model: TrainedModel, name: str, members: MemberPredictions, prediction: Prediction) -> Floats:
    """Return the residual that is expected of each row of a number.

    Args:
        model: The model.
        name: The target's name.
        members: What its members predict.
        prediction: The final prediction ``[rows]``.

    Returns:
        float64 ``[rows]``, above 0.
    """
    spread = model.ensembles[name].spread(members.predictions[name], members.present, prediction)
    difficulty = model.calibrations[name].difficulty
    assert difficulty is not None
    return difficulty.of(spread, prediction)


def number_intervals(prediction: Prediction, difficulty: Floats, thresholds: Floats) -> Floats:
    """Return the interval of each row.

    Args:
        prediction: Numbers ``[rows]``.
        difficulty: What ``number_difficulty`` returned.
        thresholds: What ``set_thresholds`` returned.

    Returns:
        float64 ``[rows, 2]``.
    """
    width = thresholds * difficulty
    return np.stack([prediction - width, prediction + width], axis=1)


def set_thresholds(
    calibration: Calibration, visible: Mapping[str, Mask], coverage: float, values: Sequence[str] | None = None
) -> Floats:
    """Return the threshold on the scores of each row.

    Args:
        calibration: The target's calibration rows.
        visible: Stream to bool ``[rows]``, True where it is present.
        coverage: The promise.
        values: Value of each row in the column that coverage was asked by, if there is one.

    Returns:
        float64 ``[rows]``.
    """
    if values is None:
        return _by_pattern(visible, lambda absent: calibration.set_threshold(absent, coverage))
    thresholds, own = np.empty(len(values)), np.asarray(values)
    for absent, rows in rows_by_pattern(visible):
        for value in np.unique(own[rows]):
            thresholds[rows[own[rows] == value]] = calibration.set_threshold(absent, coverage, str(value))
    return thresholds


def answer_thresholds(calibration: Calibration, visible: Mapping[str, Mask], accuracy: float) -> Floats:
    """Return the least confidence with which each row is answered.

    Args:
        calibration: The calibration rows of a category.
        visible: Stream to bool ``[rows]``, True where it is present.
        accuracy: What is wanted of the answers.

    Returns:
        float64 ``[rows]``.
    """
    return _by_pattern(visible, lambda absent: calibration.answer_threshold(absent, accuracy))


def _by_pattern(visible: Mapping[str, Mask], threshold: Callable[[frozenset[str]], float]) -> Floats:
    thresholds = np.empty(len(next(iter(visible.values()))))
    for absent, rows in rows_by_pattern(visible):
        thresholds[rows] = threshold(absent)
    return thresholds


def label_confidence(target: AnyTarget, prediction: Prediction) -> Floats:
    """Return the probability of the label that is predicted, rounded as that of calibration rows.

    Args:
        target: A category.
        prediction: Probabilities ``[rows, classes]``.

    Returns:
        float64 ``[rows]``.
    """
    assert isinstance(target, CategoryTarget)
    return rounded(target.label_probabilities(prediction))


def _labels(target: AnyTarget, scores: Floats, included: Mask) -> list[list[Cell]]:
    """Name what is in each row's set, the most probable first."""
    names: list[Cell] = list(target.classes or []) if not isinstance(target, StructuredTarget) else []
    if isinstance(target, CategoryTarget):
        names = [to_label(name, target.label_type) for name in target.names]
    pairs = zip(np.argsort(scores, axis=1, kind="stable"), included, strict=True)
    return [[names[index] for index in order if inside[index]] for order, inside in pairs]


class Teller:
    """Tells once a table of which rows nothing can be excluded, and which cannot be answered."""

    def __init__(self, model: TrainedModel, wish: Wish) -> None:
        """Store what was asked.

        Args:
            model: The model.
            wish: What is asked of its predictions.
        """
        self._model = model
        self._wish = wish
        self._lacks_column = False
        self._counts: dict[str, Counter[str]] = {"unbounded": Counter(), "unanswered": Counter()}

    def see(self, found: Certain) -> None:
        """Count the rows of a chunk.

        Args:
            found: What was predicted of them.
        """
        self._counts["unbounded"].update(found.unbounded)
        self._counts["unanswered"].update(found.unanswered)
        self._lacks_column = self._lacks_column or found.lacks_column

    def finish(self) -> None:
        """Warn, a sentence for each target."""
        if self._lacks_column:
            warn(
                f"The table has no column {self._model.config.coverage_by!r}, by which coverage was asked for: the "
                "promise is for all rows together."
            )
        for name, number in self._counts["unbounded"].items():
            if number and self._wish.coverage is not None:
                what = (
                    "an interval without an end"
                    if self._model.targets[name].kind == "number"
                    else "a set of all classes"
                )
                warn(
                    f"{number:,} rows have {what} for {name!r}: a coverage of {self._wish.coverage:g} needs "
                    f"{rows_needed(self._wish.coverage):,} validation rows with the same absent streams, and there are "
                    "fewer. Ask for a lower coverage, or train with more validation rows."
                )
        for name, number in self._counts["unanswered"].items():
            if number:
                warn(
                    f"{number:,} rows have no answer for {name!r}: no confidence makes an accuracy of "
                    f"{self._wish.accuracy:g} sure on the validation rows with the same absent streams. Ask for a "
                    "lower accuracy, or train with more validation rows."
                )
