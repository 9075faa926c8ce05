"""Fitting the ensembles (the decision level) on validation rows, with streams masked as they may be absent later."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.ensemble.baseline_cache import TRUTH, BaselinePredictions, FittedBaselines, out_of_fold_predictions
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.ensemble_weights import MemberRows, fit_ensemble
from polymodal.ensemble.stacking import CrossFittedStacker, fit_stacker
from polymodal.model.batches import Examples
from polymodal.model.inference_network import NO_MASK, StreamMask
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.numeric_members import SampledNumbers, member_rows, prior_of
from polymodal.model.predict import BASELINE, predict_examples
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget
from polymodal.targets.numeric import NumericTarget

MAX_FULL_STREAMS = 4
"""Most streams of which every pattern of absent ones is simulated for calibration."""
FURTHER_ROWS = 20_000
"""Most validation rows, of all masks together, that are predicted with several streams masked."""
VALIDATION_ROWS = 25_000
"""Most validation rows that baselines and ensembles are fitted on."""
MASKED_ROWS = 4000
"""Most validation rows, of all masks together, that are used again with a stream masked."""


def single_stream_masks(model: TrainedModel) -> list[StreamMask]:
    """Return the masks that ensembles are fitted with: no stream, then each stream by itself.

    Args:
        model: The model.

    Returns:
        Sets of masked streams.
    """
    streams = model.network.streams
    return [NO_MASK, *(frozenset({stream}) for stream in streams if len(streams) > 1)]


def further_masks(model: TrainedModel, num_rows: int) -> list[StreamMask]:
    """Return the masks of several streams that sets and intervals are calibrated with, beside the single ones.

    Args:
        model: The model.
        num_rows: Validation rows.

    Returns:
        With up to four streams all other patterns, else all streams but one; none where that is too much to predict, or
        no target has sets.
    """
    streams, targets = model.network.streams, model.targets.values()
    sizes = range(2, len(streams)) if len(streams) <= MAX_FULL_STREAMS else [len(streams) - 1]
    masks = [frozenset(masked) for size in sizes for masked in itertools.combinations(streams, size)]
    has_sets = not all(isinstance(target, StructuredTarget) for target in targets)
    is_dear = num_rows * len(masks) > FURTHER_ROWS or any(isinstance(target, NumericTarget) for target in targets)
    return masks if has_sets and not is_dear else []


def sample_validation(validation: Examples, targets: Mapping[str, AnyTarget], seed: int) -> Examples:
    """Sample the validation rows that baselines and ensembles are fitted on.

    Args:
        validation: All validation rows.
        targets: Name to target.
        seed: The run's seed.

    Returns:
        The same rows for the same arguments.
    """
    return validation.sample(VALIDATION_ROWS, seed, list(baseline_targets(targets)) or list(targets))


def baseline_targets(targets: Mapping[str, AnyTarget]) -> dict[str, AnyTarget]:
    """Return the targets that baselines predict: classes, labels, and one number or several.

    Args:
        targets: Name to target.

    Returns:
        Name to flat or numeric structured target.
    """
    return {
        name: t for name, t in targets.items() if not isinstance(t, StructuredTarget) or isinstance(t, NumericTarget)
    }


def fit_ensembles(model: TrainedModel, rows: Mapping[str, HeldOutRows]) -> TrainedModel:
    """Fit the ensemble of every target of classes or numbers.

    Args:
        model: A model whose network and baselines are trained.
        rows: Target to what ``held_out_rows`` returned for it.

    Returns:
        The model with its ensembles.
    """
    ensembles = {
        name: fit_ensemble(found.kind, found.members, found.prior, model.config.seed, found.baselines, found.noisy)
        for name, found in rows.items()
    }
    return dataclasses.replace(model, ensembles=ensembles)


@dataclass(frozen=True)
class HeldOutRows:
    """What the ensemble of one target is fitted on.

    Attributes:
        kind: As members are pooled: "category", "categories" or "number".
        prior: As it is pooled.
        members: Validation rows as they are, and with each stream masked; no member was fitted on them.
        baselines: Training rows, predicted by baselines that were not fitted on them; None without any.
        further: The validation rows with several streams masked, for calibration: the ensemble is not fitted on them.
        noisy: Copies of validation rows with noise in their cells; None without hardening.
    """

    kind: str
    prior: NDArray[np.float64]
    members: list[MemberRows]
    baselines: MemberRows | None
    further: list[MemberRows] = field(default_factory=list)
    noisy: MemberRows | None = None

    def with_copies(self, places: NDArray[np.int64], num_clean: int) -> HeldOutRows:
        """Tell the copies with noise from the rows themselves.

        Args:
            places: int64, rising: the place of each held-out row among the rows and, below them, their copies.
            num_clean: Number of rows that are no copies.

        Returns:
            Members of the rows alone, and their copies by the numbers of the rows.
        """
        copies = self.members[0].take(places[self.members[0].rows] >= num_clean)
        own = np.searchsorted(places, places[copies.rows] - num_clean)
        is_kept = places[np.minimum(own, len(places) - 1)] == places[copies.rows] - num_clean
        noisy = dataclasses.replace(copies, rows=own).take(is_kept)
        members, further = (
            [part.take(places[part.rows] < num_clean) for part in parts] for parts in (self.members, self.further)
        )
        return dataclasses.replace(self, members=members, further=further, noisy=noisy)


def held_out_rows(
    model: TrainedModel,
    validation: Examples,
    cache: ArrayCache,
    fitted: FittedBaselines | None,
    num_clean: int | None = None,
) -> tuple[TrainedModel, dict[str, HeldOutRows]]:
    """Predict the rows that ensembles are fitted on.

    Args:
        model: A model whose network and baselines are trained.
        validation: Rows that the network was not fitted on.
        cache: Cache of the baselines' predictions.
        fitted: The model's baselines with their folds; None: they were not fitted on validation rows.
        num_clean: Number of rows that are no copies with noise, which stand below them; None: there are no copies.

    Returns:
        The model, with stackers if its fusion is stacking; target of classes or numbers to its rows.
    """
    if not baseline_targets(model.targets):
        return model, {}
    validation = sample_validation(validation, model.targets, model.config.seed)
    single = single_stream_masks(model)
    masks = [*single, *further_masks(model, len(validation))]
    sampled = _sample_numbers(model, len(validation) * len(single))
    asked = (
        model if fitted is None else dataclasses.replace(model, features=None)
    )  # baselines answer out of fold, below
    of_mask = predict_examples(asked, validation, masks, cache, partial(_members_of_sampled, sampled))
    if fitted is not None:
        of_mask = _with_out_of_fold(model, of_mask, fitted, validation, masks, cache, sampled)
    if model.config.fusion.name == "stacking":
        fitted_on = of_mask[: len(single)]
        stacked = {name: _fit_stacker(model, name, validation, fitted_on) for name in model.network.targets}
        model = dataclasses.replace(model, stackers={name: fitted.full for name, fitted in stacked.items()})
        of_mask = [_with_fusion(members, stacked, model.network.streams) for members in of_mask]
    training_rows = fitted.training_rows if fitted else {}
    found = {
        name: _held_out_target(
            model, name, validation, of_mask, len(single), training_rows.get(name, {}), sampled.get(name)
        )
        for name in baseline_targets(model.targets)
    }
    if num_clean is not None:
        found = {name: rows.with_copies(validation.rows, num_clean) for name, rows in found.items()}
    return model, found


def _sample_numbers(model: TrainedModel, num_rows: int) -> dict[str, SampledNumbers]:
    """Draw the numbers of each numeric structured target that its ensemble is fitted on."""
    found = {}
    for name, target in model.targets.items():
        if isinstance(target, NumericTarget):
            num_members = 1 + len(model.network.streams) + len(model.baselines.get(name, ()))
            found[name] = SampledNumbers.draw(target, num_rows * num_members, model.config.seed)
    return found


def _members_of_sampled(sampled: Mapping[str, SampledNumbers], members: MemberPredictions) -> MemberPredictions:
    """Replace the predictions of numeric structured targets by their sampled numbers."""
    predictions = dict(members.predictions)
    for name, numbers in sampled.items():
        predictions[name] = {member: numbers.of_predictions(found) for member, found in predictions[name].items()}
    return dataclasses.replace(members, predictions=predictions)


def _held_out_target(
    model: TrainedModel,
    name: str,
    validation: Examples,
    of_mask: list[MemberPredictions],
    num_single: int,
    training_rows: Mapping[str, NDArray[Any]],
    sampled: SampledNumbers | None,
) -> HeldOutRows:
    members = _validation_rows(model, name, validation, of_mask[:num_single])
    if sampled is None:
        target, known = model.targets[name], np.flatnonzero(validation.known[name])
        further = [_member_rows(name, validation, found, known) for found in of_mask[num_single:]]
        return HeldOutRows(target.kind, prior_of(target), members, _baseline_rows(training_rows), further)
    members = [dataclasses.replace(part, truth=sampled.of_truth(part.truth)) for part in members]
    training_rows = {baseline: numbers[:, sampled.indices] for baseline, numbers in training_rows.items()}
    return HeldOutRows("number", sampled.prior, members, _baseline_rows(training_rows))


def _with_out_of_fold(
    model: TrainedModel,
    of_mask: list[MemberPredictions],
    fitted: FittedBaselines,
    validation: Examples,
    masks: Sequence[StreamMask],
    cache: ArrayCache,
    sampled: Mapping[str, SampledNumbers],
) -> list[MemberPredictions]:
    """Add what the baselines predict that were not fitted on the rows; the prior is a constant of the target."""
    first_row, of_chunk = 0, []
    for chunk in validation.chunks(member_rows(model.network.streams, model.targets, len(masks))):
        columns, cells = chunk.columns_in_use(), chunk.cells_in_use()
        found = out_of_fold_predictions(fitted, columns, cells, masks, first_row, cache)
        of_chunk.append([_baselines_of_sampled(sampled, of_mask) for of_mask in found])
        first_row += len(chunk)
    result = []
    for members, *chunks in zip(of_mask, *of_chunk, strict=True):
        predictions = {name: dict(of_target) for name, of_target in members.predictions.items()}
        for name in baseline_targets(model.targets):
            for baseline in set(chunks[0].get(name, {})) - {"prior"}:
                predictions[name][f"{BASELINE}{baseline}"] = np.concatenate([chunk[name][baseline] for chunk in chunks])
        result.append(dataclasses.replace(members, predictions=predictions))
    return result


def _baselines_of_sampled(
    sampled: Mapping[str, SampledNumbers], predictions: BaselinePredictions
) -> BaselinePredictions:
    """Keep the sampled numbers alone of what baselines predict for numeric structured targets."""
    taken = {name: numbers.indices for name, numbers in sampled.items() if name in predictions}
    kept = {name: {b: v[:, indices] for b, v in predictions[name].items()} for name, indices in taken.items()}
    return predictions | kept


def _fit_stacker(
    model: TrainedModel, name: str, validation: Examples, of_mask: list[MemberPredictions]
) -> CrossFittedStacker:
    """Fit the stacking model on complete rows and with each stream masked."""
    parts = _validation_rows(model, name, validation, of_mask)
    return fit_stacker(
        model.targets[name].kind,
        {stream: np.concatenate([part.members[f"stream:{stream}"] for part in parts]) for stream in parts[0].visible},
        {stream: np.concatenate([part.visible[stream] for part in parts]) for stream in parts[0].visible},
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.rows for part in parts]),
        model.config.seed,
    )


def _with_fusion(
    members: MemberPredictions, stacked: Mapping[str, CrossFittedStacker], streams: Sequence[str]
) -> MemberPredictions:
    """Add the out-of-fold predictions of the stacking models to those of the members."""
    present = {stream: members.present[f"stream:{stream}"] for stream in streams}
    predictions = {}
    for name, of_target in members.predictions.items():
        of_stream = {stream: of_target[f"stream:{stream}"] for stream in streams}
        predictions[name] = {"fusion": stacked[name].predict_out_of_fold(of_stream, present), **of_target}
    any_present = np.any(list(present.values()), axis=0)
    return dataclasses.replace(members, predictions=predictions, present={"fusion": any_present, **members.present})


def _validation_rows(
    model: TrainedModel, name: str, validation: Examples, of_mask: list[MemberPredictions]
) -> list[MemberRows]:
    used = _used_rows(validation.known[name], len(of_mask), model.config.seed)
    return [_member_rows(name, validation, *pair) for pair in zip(of_mask, used, strict=True)]


def _used_rows(known: NDArray[np.bool_], num_masks: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the rows to fit on: all of them under the first mask, which masks nothing, a sample under the others."""
    rows, random = np.flatnonzero(known), np.random.default_rng(seed)
    share = min(1.0, MASKED_ROWS / max(len(rows) * (num_masks - 1), 1))
    return [rows, *(rows[random.random(len(rows)) < share] for _ in range(num_masks - 1))]


def _member_rows(name: str, validation: Examples, members: MemberPredictions, rows: NDArray[np.int64]) -> MemberRows:
    return MemberRows(
        members={member: values[rows] for member, values in members.predictions[name].items()},
        visible={stream: mask[rows] for stream, mask in members.visible.items()},
        truth=validation.truth[name][rows],
        rows=rows,
    )


def _baseline_rows(training_rows: Mapping[str, NDArray[Any]]) -> MemberRows | None:
    """Return what the baselines predict for training rows, out of fold."""
    if TRUTH not in training_rows:
        return None
    truth = training_rows[TRUTH]
    members = {f"{BASELINE}{name}": values for name, values in training_rows.items() if name != TRUTH}
    return MemberRows(members=members, visible={}, truth=truth, rows=np.arange(len(truth)))


def ensemble_summary(ensembles: Mapping[str, Ensemble]) -> dict[str, dict[str, object]]:
    """Summarise the weights of each target's ensemble.

    Args:
        ensembles: Target to ensemble.

    Returns:
        Target to ``{"weights", "note", "incomplete"}``, as in the report.
    """
    return {
        name: {
            "weights": ensemble.complete.contributions,
            "note": ensemble.note,
            "incomplete": ensemble.incomplete_contributions,
        }
        for name, ensemble in ensembles.items()
    }
