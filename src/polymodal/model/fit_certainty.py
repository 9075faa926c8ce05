"""Calibration rows of sets, intervals and abstention: final predictions of validation rows, out of fold.

Validation rows chose the weights, biases and temperatures of the ensembles, so final predictions of these rows are
better than those of new rows. Each fold of rows is therefore predicted by an ensemble that was fitted without it, from
members that were not fitted on it (cross-conformal prediction: Vovk 2015, arXiv 1208.0806). What is left is that the
same rows chose the epoch of the network: one choice among a few.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.certainty.calibration import (
    MAX_ROWS,
    Calibration,
    CalibrationGroup,
    class_group,
    label_group,
    number_group,
)
from polymodal.certainty.difficulty import Difficulty
from polymodal.data.tables.stored_columns import take_cells
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.ensemble_weights import MemberRows, fit_ensemble, member_present, rows_of_patterns
from polymodal.model.batches import Examples
from polymodal.model.fit_ensemble import HeldOutRows, sample_validation
from polymodal.model.member_predictions import prior_prediction
from polymodal.model.prediction_sets import stratum_values
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget, label_weights_of

FOLDS = ((1_000, 5), (10**9, 2))
"""Below so many validation rows there are so many folds: with many rows the weights hardly depend on half of them."""

Floats = NDArray[np.float64]


def fit_certainty(model: TrainedModel, rows: Mapping[str, HeldOutRows], validation: Examples) -> TrainedModel:
    """Remember the calibration rows of every target of classes, labels or one number.

    Args:
        model: The model with its ensembles.
        rows: Target to what its ensemble was fitted on.
        validation: All validation rows.

    Returns:
        The model with its calibrations; none of a target that no validation row has.
    """
    flat = {name: target for name, target in model.targets.items() if not isinstance(target, StructuredTarget)}
    values = row_strata(model, sample_validation(validation, model.targets, model.config.seed))
    calibrations = {
        name: calibrate(target, rows[name], model.ensembles[name], model.config.seed, values)
        for name, target in flat.items()
        if name in rows and len(rows[name].members[0].rows)
    }
    return dataclasses.replace(model, calibrations=calibrations)


@dataclass(frozen=True)
class _Rows:
    """Calibration rows, as they are or with a stream masked.

    Attributes:
        prediction: The final prediction, by an ensemble that was not fitted on the row.
        truth: Their truth.
        spread: float64 ``[N]``, of members around the prediction of a number, later its difficulty; else zeros.
        fold: int64 ``[N]``, which fold held the row out.
        rows: int64 ``[N]``, the number of each row in the table.
    """

    prediction: Floats
    truth: NDArray[Any]
    spread: Floats
    fold: NDArray[np.int64]
    rows: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> _Rows:
        """Return some of the rows."""
        return _Rows(*(getattr(self, entry.name)[rows] for entry in dataclasses.fields(self)))


def row_strata(model: TrainedModel, examples: Examples) -> list[str] | None:
    """Return the value of each row in the column that coverage was asked by.

    Args:
        model: The model.
        examples: The rows.

    Returns:
        One a row; None where no column was named, or the table lacks it.
    """
    column = model.config.coverage_by
    known = {name: take_cells(cells, examples.rows) for name, cells in examples.cells.items() if name == column}
    return stratum_values(model, known)


def calibrate(
    target: AnyTarget,
    held_out: HeldOutRows,
    ensemble: Ensemble,
    seed: int,
    values: Sequence[str] | None = None,
) -> Calibration:
    """Remember the calibration rows of one target.

    Args:
        target: A category, labels or a number.
        held_out: What its ensemble was fitted on, at least one row.
        ensemble: Its ensemble.
        seed: Seed of the folds.
        values: Value of each row of the table in the column that coverage was asked by.

    Returns:
        Nonconformity scores and confidences, pattern by pattern of absent streams.
    """
    parts = _out_of_fold(held_out, ensemble, seed)
    pieces: dict[frozenset[str], list[_Rows]] = {}
    for absent, place, used in rows_of_patterns([*held_out.members, *held_out.further]):
        pieces.setdefault(absent, []).append(parts[place].take(used))
    groups, difficulty = {absent: _join(found) for absent, found in pieces.items()}, None
    no_inputs = _without_inputs(target, parts[0])
    if target.kind == "number":
        difficulty = _fit_difficulty(_join(list(groups.values()) or [no_inputs]))
        groups = _with_difficulty(groups)
        no_inputs = dataclasses.replace(no_inputs, spread=difficulty.of(no_inputs.spread, no_inputs.prediction))
    groups[frozenset(held_out.members[0].visible)] = no_inputs
    strata = [(absent, value, part) for absent, found in groups.items() for value, part in _strata(found, values)]
    return Calibration(
        kind=target.kind,
        groups=[_group(target, absent, value, _sample(part, seed)) for absent, value, part in strata],
        difficulty=difficulty,
    )


def _strata(rows: _Rows, values: Sequence[str] | None) -> list[tuple[str | None, _Rows]]:
    """Return all rows, and those of each value of the column that coverage was asked by."""
    if values is None:
        return [(None, rows)]
    own = np.asarray(values)[rows.rows]
    return [(None, rows), *((str(value), rows.take(np.flatnonzero(own == value))) for value in np.unique(own))]


def _out_of_fold(held_out: HeldOutRows, ensemble: Ensemble, seed: int) -> list[_Rows]:
    """Predict the rows, as they are and masked, each by an ensemble that was fitted without it."""
    rows, parts = held_out.members[0].rows, [*held_out.members, *held_out.further]
    num_folds = min(next(folds for most, folds in FOLDS if len(rows) < most), len(rows))
    dealt = np.random.default_rng([seed, 1]).permutation(len(rows)) % num_folds
    folds = [dealt[np.searchsorted(rows, part.rows)] for part in parts]
    predictions = [np.zeros(next(iter(part.members.values())).shape) for part in parts]
    for fold in range(num_folds):
        rest = [part.take(found != fold) for part, found in zip(held_out.members, folds, strict=False)]
        noisy = held_out.noisy
        if noisy is not None:  # a copy of a held-out row has its truth
            noisy = noisy.take(~np.isin(noisy.rows, rows[dealt == fold]))
        fitted = fit_ensemble(held_out.kind, rest, held_out.prior, seed, held_out.baselines, noisy)
        for part, found, prediction in zip(parts, folds, predictions, strict=True):
            if (found == fold).any():
                prediction[found == fold] = _combine(fitted, part.take(found == fold), held_out.prior)
    return [
        _Rows(prediction, part.truth, _spread(held_out.kind, ensemble, part, prediction), found, part.rows)
        for part, prediction, found in zip(parts, predictions, folds, strict=True)
    ]


def _present(part: MemberRows) -> dict[str, NDArray[np.bool_]]:
    return {name: member_present(name, part.visible) for name in part.members}


def _combine(ensemble: Ensemble, part: MemberRows, prior: Floats) -> Floats:
    return ensemble.combine(part.members, _present(part), prior, part.visible)


def _spread(kind: str, ensemble: Ensemble, part: MemberRows, prediction: Floats) -> Floats:
    return ensemble.spread(part.members, _present(part), prediction) if kind == "number" else np.zeros(len(part.rows))


def _join(parts: Sequence[_Rows]) -> _Rows:
    names = [entry.name for entry in dataclasses.fields(_Rows)]
    return _Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _without_inputs(target: AnyTarget, rows: _Rows) -> _Rows:
    """Return the rows as they are predicted where no stream is present: by the prior."""
    prior = prior_prediction(target, len(rows.rows))
    return dataclasses.replace(rows, prediction=prior, spread=np.zeros(len(rows.rows)))


def _with_difficulty(groups: Mapping[frozenset[str], _Rows]) -> dict[frozenset[str], _Rows]:
    """Replace the spread of each row by its difficulty, with coefficients that were fitted without its fold."""
    found = {absent: dataclasses.replace(rows, spread=np.ones(len(rows.rows))) for absent, rows in groups.items()}
    if not groups:
        return found
    joined = _join(list(groups.values()))
    for fold in np.unique(joined.fold):
        rest = joined.take(np.flatnonzero(joined.fold != fold))
        fitted = _fit_difficulty(rest if len(rest.rows) else joined)
        for absent, rows in groups.items():
            held_out = rows.fold == fold
            found[absent].spread[held_out] = fitted.of(rows.spread[held_out], rows.prediction[held_out])
    return found


def _fit_difficulty(rows: _Rows) -> Difficulty:
    return Difficulty.fit(rows.truth - rows.prediction, rows.spread, rows.prediction)


def _sample(rows: _Rows, seed: int) -> _Rows:
    kept = np.random.default_rng(seed).permutation(len(rows.rows))[:MAX_ROWS]
    return rows.take(np.sort(kept))


def _group(target: AnyTarget, absent: frozenset[str], value: str | None, rows: _Rows) -> CalibrationGroup:
    if target.kind == "category":
        return class_group(absent, rows.prediction, rows.truth, label_weights_of(target), value)
    if target.kind == "categories":
        return label_group(absent, rows.prediction, rows.truth, value)
    return number_group(absent, rows.prediction, rows.truth, rows.spread, value)
