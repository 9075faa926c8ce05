"""Fitting the decision level on validation rows, with streams hidden as they may be later."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.ensemble.ensemble import FUSION, Ensemble, MemberWeights
from polymodal.ensemble.ensemble_weights import fit_member_weights
from polymodal.ensemble.stacking import Stacked, fit_stacker
from polymodal.model.batches import Examples
from polymodal.model.predict import NOTHING_HIDDEN, Members, View, members_of
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.allocator import memory_reused
from polymodal.targets.base import Prediction

COMPLETE_ROWS = 50_000
"""At most this many validation rows weigh the members."""
INCOMPLETE_ROWS = 4000
"""At most this many of them are looked at with a stream hidden."""


def single_views(model: TrainedModel) -> list[View]:
    """Return the views to look through: nothing hidden, then each stream hidden alone.

    Args:
        model: The model.

    Returns:
        Sets of hidden streams.
    """
    streams = model.network.streams
    return [NOTHING_HIDDEN, *(frozenset({stream}) for stream in streams if len(streams) > 1)]


@memory_reused()
def fit_ensembles(model: TrainedModel, validation: Examples, cache: ArrayCache) -> TrainedModel:
    """Fit the decision level of every flat target.

    Args:
        model: A model whose network and baselines are trained.
        validation: Rows that neither was fitted on.
        cache: Where it is kept what baselines say of them.

    Returns:
        The model with its decisions.
    """
    if not model.network.targets:
        return model
    validation = validation.sample(COMPLETE_ROWS, model.config.seed, model.network.targets)
    views = members_of(model, validation, single_views(model), cache)
    if model.config.fusion.name == "stacking":
        found = {name: _fit_stacker(model, name, validation, views) for name in model.network.targets}
        model = dataclasses.replace(model, stackers={name: stacked.whole for name, stacked in found.items()})
        views = [_with_fusion(view, found, model.network.streams) for view in views]
    decisions = {name: _fit_target(model, name, validation, views) for name in model.network.targets}
    return dataclasses.replace(model, ensembles=decisions)


def _fit_stacker(model: TrainedModel, name: str, validation: Examples, views: list[Members]) -> Stacked:
    """Fit the model over the streams on rows as they are and with each stream hidden."""
    parts = [(view, validation.known[name]) for view in views]
    parts = [parts[0], *_thinned(parts[1:], model.config.seed)]
    members = [f"stream:{stream}" for stream in model.network.streams]
    rows = np.concatenate([np.flatnonzero(rows) for _, rows in parts])
    return fit_stacker(
        model.targets[name].kind,
        {m.removeprefix("stream:"): _stacked(parts, name, m) for m in members},
        {m.removeprefix("stream:"): np.concatenate([view.present[m][rows] for view, rows in parts]) for m in members},
        validation.truth[name][rows],
        rows,
        model.config.seed,
    )


def _with_fusion(view: Members, found: Mapping[str, Stacked], streams: Sequence[str]) -> Members:
    """Add the stacked predictions to what the members say, each row's by a model that has not seen it."""
    there = {stream: view.present[f"stream:{stream}"] for stream in streams}
    predictions = {}
    for name, said in view.predictions.items():
        alone = {stream: said[f"stream:{stream}"] for stream in streams}
        predictions[name] = {FUSION: found[name].predict_held_out(alone, there), **said}
    some = np.any(list(there.values()), axis=0)
    return dataclasses.replace(view, predictions=predictions, present={FUSION: some, **view.present})


def _fit_target(model: TrainedModel, name: str, validation: Examples, views: list[Members]) -> Ensemble:
    known = validation.known[name]
    whole, natural_gaps = known & views[0].complete, known & ~views[0].complete
    full = [(views[0], whole)] if whole.any() else [(views[0], known)]
    partial = [(views[0], natural_gaps), *((view, known) for view in views[1:])]
    complete = _fit(model, name, validation, full)
    if len(views) == 1:
        return Ensemble(complete=complete, incomplete=complete)
    return Ensemble(complete=complete, incomplete=_fit(model, name, validation, _thinned(partial, model.config.seed)))


def _thinned(parts: list[tuple[Members, NDArray[np.bool_]]], seed: int) -> list[tuple[Members, NDArray[np.bool_]]]:
    total = sum(int(rows.sum()) for _, rows in parts)
    share = min(1.0, INCOMPLETE_ROWS / max(total, 1))
    random = np.random.default_rng(seed)
    return [(view, rows & (random.random(len(rows)) < share)) for view, rows in parts]


def _fit(
    model: TrainedModel, name: str, validation: Examples, parts: list[tuple[Members, NDArray[np.bool_]]]
) -> MemberWeights:
    members = {member: _stacked(parts, name, member) for member in parts[0][0].predictions[name]}
    present = {m: np.concatenate([view.present[m][rows] for view, rows in parts]) for m in members}
    truth = np.concatenate([validation.truth[name][rows] for _, rows in parts])
    return fit_member_weights(model.targets[name].kind, members, present, truth, model.config.seed)


def _stacked(parts: list[tuple[Members, NDArray[np.bool_]]], name: str, member: str) -> Prediction:
    return np.concatenate([view.predictions[name][member][rows] for view, rows in parts])


def ensemble_summary(ensembles: Mapping[str, Ensemble]) -> dict[str, dict[str, object]]:
    """Describe what each target's decision leans on.

    Args:
        ensembles: Target to decision weights.

    Returns:
        Target to ``{"weights", "note"}``, as in the report.
    """
    return {
        name: {"weights": found.complete.shares, "note": found.note, "incomplete": found.incomplete.shares}
        for name, found in ensembles.items()
    }
