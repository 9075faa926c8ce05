"""Fitting the ensembles (the decision level) on validation rows, with streams masked as they may be absent later."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.ensemble.baseline_cache import FittedBaselines, out_of_fold_predictions
from polymodal.ensemble.ensemble import FUSION, Ensemble, MemberWeights
from polymodal.ensemble.ensemble_weights import fit_member_weights
from polymodal.ensemble.stacking import CrossFittedStacker, fit_stacker
from polymodal.model.batches import Examples
from polymodal.model.predict import BASELINE, NO_MASK, MemberPredictions, StreamMask, predict_examples
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.numeric import NumericTarget

VALIDATION_ROWS = 25_000
"""Most validation rows that baselines and ensembles are fitted on."""
INCOMPLETE_ROWS = 4000
"""Most validation rows, of all masks together, that the weights for incomplete rows are fitted on."""

Subset = tuple[MemberPredictions, NDArray[np.bool_]]
"""Predictions under one mask, and the rows of them to fit on, bool ``[rows]``."""


def single_stream_masks(model: TrainedModel) -> list[StreamMask]:
    """Return the masks that ensembles are fitted with: no stream, then each stream by itself.

    Args:
        model: The model.

    Returns:
        Sets of masked streams.
    """
    streams = model.network.streams
    return [NO_MASK, *(frozenset({stream}) for stream in streams if len(streams) > 1)]


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


def fit_ensembles(
    model: TrainedModel, validation: Examples, cache: ArrayCache, fitted: FittedBaselines | None = None
) -> TrainedModel:
    """Fit the ensemble of every flat target.

    Args:
        model: A model whose network and baselines are trained.
        validation: Rows that the network was not fitted on.
        cache: Cache of the baselines' predictions.
        fitted: The model's baselines with their folds; None: they were not fitted on validation rows.

    Returns:
        The model with its ensembles.
    """
    if not model.network.targets:
        return model
    validation = sample_validation(validation, model.targets, model.config.seed)
    masks = single_stream_masks(model)
    of_mask = predict_examples(model, validation, masks, cache)
    if fitted is not None:
        of_mask = _with_out_of_fold(model, of_mask, fitted, validation, masks, cache)
    if model.config.fusion.name == "stacking":
        stacked = {name: _fit_stacker(model, name, validation, of_mask) for name in model.network.targets}
        model = dataclasses.replace(model, stackers={name: fitted.full for name, fitted in stacked.items()})
        of_mask = [_with_fusion(members, stacked, model.network.streams) for members in of_mask]
    ensembles = {name: _fit_target(model, name, validation, of_mask) for name in model.network.targets}
    return dataclasses.replace(model, ensembles=ensembles)


def _with_out_of_fold(
    model: TrainedModel,
    of_mask: list[MemberPredictions],
    fitted: FittedBaselines,
    validation: Examples,
    masks: Sequence[StreamMask],
    cache: ArrayCache,
) -> list[MemberPredictions]:
    """Replace the predictions of the baselines by those of the baselines that were not fitted on the rows."""
    first_row, of_chunk = 0, []
    for chunk in validation.chunks():
        columns, cells = chunk.columns_in_use(), chunk.cells_in_use()
        of_chunk.append(out_of_fold_predictions(fitted, columns, cells, masks, first_row, cache))
        first_row += len(chunk)
    result = []
    for members, *chunks in zip(of_mask, *of_chunk, strict=True):
        predictions = {name: dict(of_target) for name, of_target in members.predictions.items()}
        for name in model.network.targets:
            for baseline in chunks[0].get(name, {}):
                if f"{BASELINE}{baseline}" in predictions[name]:
                    predictions[name][f"{BASELINE}{baseline}"] = np.concatenate([c[name][baseline] for c in chunks])
        result.append(dataclasses.replace(members, predictions=predictions))
    return result


def _fit_stacker(
    model: TrainedModel, name: str, validation: Examples, of_mask: list[MemberPredictions]
) -> CrossFittedStacker:
    """Fit the stacking model on complete rows and with each stream masked."""
    subsets = [(members, validation.known[name]) for members in of_mask]
    subsets = [subsets[0], *_subsample(subsets[1:], model.config.seed)]
    streams = {stream: f"stream:{stream}" for stream in model.network.streams}
    rows = np.concatenate([np.flatnonzero(used) for _, used in subsets])
    return fit_stacker(
        model.targets[name].kind,
        {stream: _concatenate(subsets, name, member) for stream, member in streams.items()},
        {stream: _concatenate_present(subsets, member) for stream, member in streams.items()},
        validation.truth[name][rows],
        rows,
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
        predictions[name] = {FUSION: stacked[name].predict_out_of_fold(of_stream, present), **of_target}
    any_present = np.any(list(present.values()), axis=0)
    return dataclasses.replace(members, predictions=predictions, present={FUSION: any_present, **members.present})


def _fit_target(model: TrainedModel, name: str, validation: Examples, of_mask: list[MemberPredictions]) -> Ensemble:
    """Fit one set of weights for complete rows and one for rows with an absent stream."""
    known, unmasked = validation.known[name], of_mask[0]
    complete_rows, incomplete_rows = known & unmasked.complete, known & ~unmasked.complete
    complete = _fit_weights(model, name, validation, [(unmasked, complete_rows if complete_rows.any() else known)])
    if len(of_mask) == 1:
        return Ensemble(complete=complete, incomplete=complete)
    subsets = [(unmasked, incomplete_rows), *((members, known) for members in of_mask[1:])]
    incomplete = _fit_weights(model, name, validation, _subsample(subsets, model.config.seed))
    return Ensemble(complete=complete, incomplete=incomplete)


def _subsample(subsets: list[Subset], seed: int) -> list[Subset]:
    total = sum(int(rows.sum()) for _, rows in subsets)
    share = min(1.0, INCOMPLETE_ROWS / max(total, 1))
    random = np.random.default_rng(seed)
    return [(members, rows & (random.random(len(rows)) < share)) for members, rows in subsets]


def _fit_weights(model: TrainedModel, name: str, validation: Examples, subsets: list[Subset]) -> MemberWeights:
    predictions = {member: _concatenate(subsets, name, member) for member in subsets[0][0].predictions[name]}
    present = {member: _concatenate_present(subsets, member) for member in predictions}
    truth = np.concatenate([validation.truth[name][rows] for _, rows in subsets])
    return fit_member_weights(model.targets[name].kind, predictions, present, truth, model.config.seed)


def _concatenate(subsets: list[Subset], name: str, member: str) -> Prediction:
    return np.concatenate([members.predictions[name][member][rows] for members, rows in subsets])


def _concatenate_present(subsets: list[Subset], member: str) -> NDArray[np.bool_]:
    return np.concatenate([members.present[member][rows] for members, rows in subsets])


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
            "incomplete": ensemble.incomplete.contributions,
        }
        for name, ensemble in ensembles.items()
    }
