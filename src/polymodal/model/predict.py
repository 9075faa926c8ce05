"""Inference: the one path to a prediction, for evaluation, the command line and the Python API.

The ensemble of every flat target has these *members*: the fused network (``fusion``), each stream's own head
(``stream:NAME``) and the baselines (``baseline:NAME``, the prior among them). ``numeric_members`` has those of vectors,
series and images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.ensemble.baseline_cache import BaselinePredictions, FittedBaselines, predict_baselines
from polymodal.ensemble.ensemble import PRIOR
from polymodal.ensemble.ensemble_weights import member_present
from polymodal.model.batches import Examples
from polymodal.model.inference_network import NetworkPredictions, StreamMask
from polymodal.model.member_predictions import MemberPredictions, concatenate_members, prior_prediction
from polymodal.model.numeric_members import combine_numbers, lone_masks, member_rows, numeric_members
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget, NumberTarget, RowContext, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.structured import StructuredPrediction

NO_CACHE = ArrayCache(None)
BASELINE = "baseline:"


def combine(model: TrainedModel, members: MemberPredictions) -> dict[str, Prediction]:
    """Combine the members by the ensemble of each target; without one, the network is the only member.

    Args:
        model: The trained model, with ensembles and priors.
        members: Their predictions.

    Returns:
        Target to prediction.
    """
    return {name: _combine_target(model, name, target, members) for name, target in model.targets.items()}


def _combine_target(model: TrainedModel, name: str, target: AnyTarget, members: MemberPredictions) -> Prediction:
    predictions, present = members.predictions[name], members.present
    if isinstance(target, NumericTarget) and name in model.ensembles:
        return combine_numbers(target, model.ensembles[name], predictions, present, members.visible)
    if isinstance(target, StructuredTarget):
        num_rows = len(present["fusion"])
        return np.where(present["fusion"], predictions["fusion"], prior_prediction(target, num_rows))
    combined = model.ensembles[name].combine(predictions, present, target.prior, members.visible)
    return target.limited(combined) if isinstance(target, NumberTarget) else combined


def predict_members(
    model: TrainedModel,
    columns: Mapping[str, Column],
    context: RowContext,
    masks: Sequence[StreamMask],
    needed: Mapping[str, frozenset[str]] | None = None,
    cache: ArrayCache = NO_CACHE,
) -> list[MemberPredictions]:
    """Predict rows with every member, once for each stream mask.

    Args:
        model: The trained model.
        columns: Stream to arrays, frozen encoders' outputs included.
        context: The raw cells of the same rows.
        masks: Sets of streams to mask.
        needed: Target to the members that are needed; others may be left out. None means all of them.
        cache: Cache of the baselines' predictions.

    Returns:
        One ``MemberPredictions`` a mask.
    """
    lone = lone_masks(model.network.streams, model.targets, needed)
    all_masks = list(dict.fromkeys([*masks, *lone.values()]))
    empty = NetworkPredictions({}, {name: {} for name in model.network.targets}, None, {})
    runs = needs_network(needed)
    found = model.network.run(columns, all_masks) if runs else [empty] * len(all_masks)
    outputs = dict(zip(all_masks, found, strict=True))
    alone = {stream: outputs[mask].structured for stream, mask in lone.items()}
    fitted = _needed_baselines(model, needed)
    baselines = predict_baselines(fitted, columns, context.cells, masks, cache) if fitted else [{} for _ in masks]
    pairs = zip(masks, baselines, strict=True)
    return [_members(model, columns, context, mask, outputs[mask], alone, found) for mask, found in pairs]


def predict_examples(
    model: TrainedModel,
    examples: Examples,
    masks: Sequence[StreamMask],
    cache: ArrayCache = NO_CACHE,
    reduce: Callable[[MemberPredictions], MemberPredictions] | None = None,
) -> list[MemberPredictions]:
    """Predict examples with every member, chunk by chunk: their columns may be larger than memory.

    Args:
        model: The trained model.
        examples: The rows.
        masks: Sets of streams to mask.
        cache: Cache of the baselines' predictions.
        reduce: Makes what is kept of a chunk's predictions; None keeps them.

    Returns:
        One ``MemberPredictions`` a mask.
    """
    of_chunk = []
    for chunk in examples.chunks(member_rows(model.network.streams, model.targets, len(masks))):
        found = predict_members(model, chunk.columns_in_use(), chunk.row_context(), masks, cache=cache)
        of_chunk.append(found if reduce is None else [reduce(members) for members in found])
    return [concatenate_members(of_mask) for of_mask in zip(*of_chunk, strict=True)]


def needs_network(needed: Mapping[str, frozenset[str]] | None) -> bool:
    """Tell whether any member but the baselines is needed.

    Args:
        needed: Target to the needed members; None means all of them.

    Returns:
        Whether the network has to run.
    """
    return needed is None or not all(member.startswith(BASELINE) for members in needed.values() for member in members)


def _needed_baselines(model: TrainedModel, needed: Mapping[str, frozenset[str]] | None) -> FittedBaselines | None:
    """Return the baselines that are needed; the prior is a constant of the target and needs no prediction."""
    if model.features is None:
        return None
    baselines = {
        name: [b for b in fitted if b.name != "prior" and (needed is None or f"{BASELINE}{b.name}" in needed[name])]
        for name, fitted in model.baselines.items()
        if name in model.targets
    }
    return FittedBaselines(model.features, baselines)


def needed_members(model: TrainedModel, with_weights: bool = False) -> dict[str, frozenset[str]]:
    """Return the members that can change a prediction.

    Args:
        model: The trained model.
        with_weights: Whether the fusion's stream weights are wanted, so that the network runs in any case.

    Returns:
        Target to members, as ``predict_members`` takes them.
    """
    active = {name: ensemble.active_members for name, ensemble in model.ensembles.items()}
    fusion = frozenset({"fusion"})
    return {name: active.get(name, fusion) | (fusion if with_weights else frozenset()) for name in model.targets}


def _members(
    model: TrainedModel,
    columns: Mapping[str, Column],
    context: RowContext,
    mask: StreamMask,
    outputs: NetworkPredictions,
    alone: Mapping[str, Mapping[str, list[StructuredPrediction]]],
    baselines: BaselinePredictions,
) -> MemberPredictions:
    visible = {stream: columns[stream].row_present & (stream not in mask) for stream in model.network.streams}
    num_rows = len(next(iter(visible.values())))
    predictions = {
        name: _target_members(name, target, outputs, alone, baselines.get(name, {}), context, num_rows)
        for name, target in model.targets.items()
    }
    for name, stacker in model.stackers.items():
        if outputs.streams[name]:
            of_stream = {stream: predictions[name][f"stream:{stream}"] for stream in model.network.streams}
            predictions[name] = {"fusion": stacker.predict(of_stream, visible), **predictions[name]}
    members = {member for of_target in predictions.values() for member in of_target}
    present = {member: member_present(member, visible) for member in members}
    return MemberPredictions(predictions, present, visible, outputs.weights)


def _target_members(
    name: str,
    target: AnyTarget,
    outputs: NetworkPredictions,
    alone: Mapping[str, Mapping[str, list[StructuredPrediction]]],
    baselines: Mapping[str, Prediction],
    context: RowContext,
    num_rows: int,
) -> dict[str, Prediction]:
    if isinstance(target, NumericTarget):
        of_stream = {stream: found[name] for stream, found in alone.items()}
        return numeric_members(target, context, outputs.structured.get(name), of_stream, baselines)
    if isinstance(target, StructuredTarget):
        return {"fusion": target.postprocess(outputs.structured[name], context)}
    return {
        **({"fusion": target.to_prediction(outputs.fused[name])} if name in outputs.fused else {}),
        **{f"stream:{stream}": target.to_prediction(output) for stream, output in outputs.streams[name].items()},
        **{f"{BASELINE}{baseline}": values for baseline, values in baselines.items()},
        PRIOR: prior_prediction(target, num_rows),
    }
