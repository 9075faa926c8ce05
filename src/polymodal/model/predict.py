"""The one inference path: evaluate, the command line and the Python API all come through here.

Every target is decided by *members*: the fused network (``fusion``), each stream's own head
(``stream:NAME``) and the baselines (``baseline:NAME``), joined by the decision level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.ensemble.baseline_cache import BaselinePredictions, FittedBaselines, ask_baselines
from polymodal.model.batches import Examples, batch_of, length_order, rows_at_once, shapes_of
from polymodal.model.chunks import in_whole_table, iterate_chunks
from polymodal.model.network import Network
from polymodal.model.predictions import Predictions, join_predictions
from polymodal.model.reconstruction import recovered_columns
from polymodal.model.trained_model import TrainedModel, precompute
from polymodal.progress import Progress, SilentProgress
from polymodal.targets import AnyTarget, RowContext, SketchTarget, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import StructuredPrediction, to_structured_predictions, values_of

View = frozenset[str]
NOTHING_HIDDEN: View = frozenset()
NO_CACHE = ArrayCache(None)
BASELINE = "baseline:"

KEPT_ROWS = 32
"""The arrays of fewer rows are not kept on disk: writing them takes longer than decoding them."""


@dataclass(frozen=True)
class Members:
    """What every member says of some rows, with some streams hidden.

    Attributes:
        predictions: Target to member to probabilities ``[rows, classes]``, values ``[rows]`` or,
            of a structured target, ``StructuredPrediction`` objects ``[rows]``.
        present: Member to bool ``[rows]``; False where it has nothing to go by.
        complete: bool ``[rows]``; True where every stream is there.
        weights: The fusion's stream weights, float ``[rows, streams]``, where it has them.
    """

    predictions: dict[str, dict[str, Prediction]]
    present: dict[str, NDArray[np.bool_]]
    complete: NDArray[np.bool_]
    weights: NDArray[np.float32] | None


def predict_table(
    model: TrainedModel,
    table: Table,
    cache: ArrayCache,
    progress: Progress | None = None,
    with_weights: bool = False,
) -> Predictions:
    """Predict every row of a table.

    Args:
        model: The trained model.
        table: Rows to predict; absent columns count as absent cells, further ones are ignored.
        cache: Where decoded arrays are kept.
        progress: Told how far it is.
        with_weights: Whether the fusion's stream weights are returned.

    Returns:
        Labels, probabilities and broken cells.
    """
    return join_predictions(list(predict_chunks(model, table, cache, progress, with_weights)))


def predict_chunks(
    model: TrainedModel,
    source: Any,
    cache: ArrayCache,
    progress: Progress | None = None,
    with_weights: bool = False,
) -> Iterator[Predictions]:
    """Predict a table window by window, in memory that does not grow with its rows.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read as far as it is predicted.
        cache: Where decoded arrays are kept.
        progress: Told how far it is.
        with_weights: Whether the fusion's stream weights are returned.

    Yields:
        The predictions of the next rows; broken cells are named by their row in the whole table.
    """
    told = progress or SilentProgress()
    for table, done in iterate_chunks(model, source, told, "predicting"):
        found = _predict_chunk(model, table, cache, told, with_weights)
        yield replace(found, broken_cells=in_whole_table(found.broken_cells, done))


def _predict_chunk(
    model: TrainedModel, table: Table, cache: ArrayCache, progress: Progress, with_weights: bool
) -> Predictions:
    cache = cache if table.num_rows >= KEPT_ROWS else NO_CACHE
    columns, broken = model.preprocessor.transform(table, cache if _reads_files(model) else None)
    wanted = _deciding_members(model, with_weights)
    columns = precompute(model.network, columns, cache, progress) if _asks_network(model, wanted) else columns
    given = model.schema.with_sounds(table).columns
    cells = {name: given.get(name, [None] * table.num_rows) for name in model.preprocessor.column_names}
    source = RowContext(cells, table.folder, shapes=shapes_of(columns))
    (members,) = run_members(model, columns, source, [NOTHING_HIDDEN], wanted)
    combined = combine(model, members)
    answers = {name: combined.pop(name) for name in model.network.structured}
    targets = {name: target for name, target in model.targets.items() if not isinstance(target, SketchTarget)}
    structured = {name: target for name, target in targets.items() if isinstance(target, StructuredTarget)}
    shown = {} if members.weights is None or not with_weights else _by_stream(model.network, members.weights)
    return Predictions(
        values=combined,
        labels={name: _labels(target, combined, answers, name) for name, target in targets.items()},
        classes={name: target.classes for name, target in targets.items()},
        weights=shown,
        broken_cells=broken,
        multi_label=frozenset(name for name, target in model.targets.items() if target.kind == "categories"),
        records=frozenset(name for name, target in structured.items() if target.gives_records),
        recovered=recovered_columns(model.targets, answers, model.preprocessor.modalities, columns),
        confidences={name: _confidences(answers[name]) for name, t in structured.items() if t.has_confidence},
    )


def _reads_files(model: TrainedModel) -> bool:
    """Tell whether decoding takes so long that it is worth keeping; cutting texts into tokens does not."""
    return any(modality.is_file for modality in model.preprocessor.modalities.values())


def _labels(
    target: AnyTarget, combined: Mapping[str, Prediction], answers: Mapping[str, Prediction], name: str
) -> list[Cell]:
    return values_of(answers[name]) if isinstance(target, StructuredTarget) else target.decode(combined[name])


def _confidences(answers: Prediction) -> list[float | None]:
    return [answer.confidence for answer in answers]


def _by_stream(network: Network, weights: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {stream: weights[:, index] for index, stream in enumerate(network.streams)}


def combine(model: TrainedModel, members: Members) -> dict[str, Prediction]:
    """Let the decision level join the members; a structured target has the fusion's answer alone.

    Args:
        model: Holds the decision weights and the priors.
        members: What the members say.

    Returns:
        Target to prediction.
    """
    return {name: _combine_target(model, name, target, members) for name, target in model.targets.items()}


def _combine_target(model: TrainedModel, name: str, target: AnyTarget, members: Members) -> Prediction:
    found, present = members.predictions[name], members.present
    if isinstance(target, StructuredTarget):
        return np.where(present["fusion"], found["fusion"], prior_prediction(target, len(members.complete)))
    return model.ensembles[name].combine(found, present, target.prior, members.complete)


def run_members(
    model: TrainedModel,
    columns: Mapping[str, Column],
    source: RowContext,
    views: Sequence[View],
    wanted: Mapping[str, frozenset[str]] | None = None,
    cache: ArrayCache = NO_CACHE,
) -> list[Members]:
    """Ask every member about every row, once for each set of hidden streams.

    Args:
        model: The trained model.
        columns: Stream to arrays, frozen encoders' outputs included.
        source: The raw cells of the same rows.
        views: Sets of streams to hide.
        wanted: Flat target to the members that matter; others may be left out. None asks all of them.
        cache: Where it is kept what baselines say.

    Returns:
        One ``Members`` a view.
    """
    nothing = NetworkPredictions({}, {name: {} for name in model.network.targets}, None, {})
    outputs = run_network(model.network, columns, views) if _asks_network(model, wanted) else [nothing] * len(views)
    asked = _asked_baselines(model, wanted)
    baselines = ask_baselines(asked, columns, source.cells, views, cache) if asked else [{} for _ in views]
    return [_members(model, columns, source, *found) for found in zip(views, outputs, baselines, strict=True)]


def members_of(
    model: TrainedModel, examples: Examples, views: Sequence[View], cache: ArrayCache = NO_CACHE
) -> list[Members]:
    """Ask every member about examples, a part of them after the other: their columns may be larger than memory.

    Args:
        model: The trained model.
        examples: The rows.
        views: Sets of streams to hide.
        cache: Where it is kept what baselines say.

    Returns:
        One ``Members`` a view.
    """
    parts = examples.parts()
    found = [run_members(model, part.taken(), part.taken_source(), views, cache=cache) for part in parts]
    return [_joined_members(same) for same in zip(*found, strict=True)]


def _joined_members(parts: Sequence[Members]) -> Members:
    first = parts[0]
    if len(parts) == 1:
        return first
    weights = None if first.weights is None else np.concatenate([p.weights for p in parts if p.weights is not None])
    predictions = {
        name: {member: np.concatenate([part.predictions[name][member] for part in parts]) for member in found}
        for name, found in first.predictions.items()
    }
    present = {member: np.concatenate([part.present[member] for part in parts]) for member in first.present}
    return Members(predictions, present, np.concatenate([part.complete for part in parts]), weights)


def _asks_network(model: TrainedModel, wanted: Mapping[str, frozenset[str]] | None) -> bool:
    if wanted is None or model.network.structured:
        return True
    return any(not member.startswith(BASELINE) for found in wanted.values() for member in found)


def _asked_baselines(model: TrainedModel, wanted: Mapping[str, frozenset[str]] | None) -> FittedBaselines | None:
    """Return the baselines that are wanted; the prior is known without being asked."""
    if model.features is None:
        return None
    asked = {
        name: [b for b in found if b.name != "prior" and (wanted is None or f"{BASELINE}{b.name}" in wanted[name])]
        for name, found in model.baselines.items()
    }
    return FittedBaselines(model.features, asked)


def _deciding_members(model: TrainedModel, with_weights: bool) -> dict[str, frozenset[str]]:
    """Return the members that can change a prediction, by flat target."""
    fusion = frozenset({"fusion"} if with_weights else ())
    return {name: decisions.in_use | fusion for name, decisions in model.ensembles.items()}


@dataclass(frozen=True)
class NetworkPredictions:
    """What the network says of some rows, with some streams hidden.

    Attributes:
        fused: Flat target to head output ``[rows, output_dim]``.
        streams: Flat target to stream to ``[rows, output_dim]``.
        weights: The fusion's stream weights ``[rows, streams]``, where it has them.
        answers: Structured target to answers.
    """

    fused: dict[str, NDArray[np.float32]]
    streams: dict[str, dict[str, NDArray[np.float32]]]
    weights: NDArray[np.float32] | None
    answers: dict[str, list[StructuredPrediction]]


def _members(
    model: TrainedModel,
    columns: Mapping[str, Column],
    source: RowContext,
    view: View,
    outputs: NetworkPredictions,
    baselines: BaselinePredictions,
) -> Members:
    seen = {stream: columns[stream].row_present & (stream not in view) for stream in model.network.streams}
    some, complete = np.any(list(seen.values()), axis=0), np.all(list(seen.values()), axis=0)
    predictions = {
        name: _target_members(name, target, outputs, baselines.get(name, {}), source)
        for name, target in model.targets.items()
    }
    for name, stacker in model.stackers.items():
        if outputs.streams[name]:
            alone = {stream: predictions[name][f"stream:{stream}"] for stream in model.network.streams}
            predictions[name] = {"fusion": stacker.predict(alone, seen), **predictions[name]}
    members = {member for found in predictions.values() for member in found}
    present = {member: seen[member[7:]] if member.startswith("stream:") else some for member in members}
    return Members(predictions, present, complete, outputs.weights)


def _target_members(
    name: str, target: AnyTarget, outputs: NetworkPredictions, baselines: Mapping[str, Prediction], source: RowContext
) -> dict[str, Prediction]:
    if isinstance(target, StructuredTarget):
        return {"fusion": target.finish(outputs.answers[name], source)}
    return {
        **({"fusion": target.to_prediction(outputs.fused[name])} if name in outputs.fused else {}),
        **{f"stream:{stream}": target.to_prediction(output) for stream, output in outputs.streams[name].items()},
        **{f"{BASELINE}{baseline}": values for baseline, values in baselines.items()},
    }


def run_network(network: Network, columns: Mapping[str, Column], views: Sequence[View]) -> list[NetworkPredictions]:
    """Run the network on rows of similar length together, encoding each batch once and fusing it once a view.

    Args:
        network: The network.
        columns: Stream to arrays.
        views: Sets of streams to hide from the fusion.

    Returns:
        One ``NetworkPredictions`` a view, in the order of the rows.
    """
    if network.training:
        network.eval()
    used = {stream: columns[stream] for stream in network.streams}
    num_rows, step = len(next(iter(columns.values()))), rows_at_once(columns)
    order = length_order(used) if num_rows > step else np.arange(num_rows)
    starts = range(0, max(num_rows, 1), step)
    batches = [_run_batch(network, used, order[start : start + step], views) for start in starts]
    places = np.argsort(order)
    return [_joined([batch[index] for batch in batches], places) for index in range(len(views))]


BatchOutputs = tuple[
    dict[str, Tensor], dict[str, dict[str, Tensor]], Tensor | None, dict[str, list[StructuredPrediction]]
]


def _run_batch(
    network: Network, columns: Mapping[str, Column], rows: NDArray[np.int64], views: Sequence[View]
) -> list[BatchOutputs]:
    device = network.log_variances.device
    batch = {stream: column.to(device) for stream, column in batch_of(columns, rows).items()}
    with torch.inference_mode():
        tokens = network.encode(batch)
        streams = network.stream_outputs(tokens)
        results: list[BatchOutputs] = []
        for view in views:
            hidden = _hidden(network, view, len(rows), device)
            fused = network.fuse(tokens, hidden)
            outputs = network.fused_outputs(tokens, streams, fused, hidden)
            weights = None if fused is None else fused.weights
            results.append((outputs, streams, weights, {} if fused is None else network.answers(fused)))
    return results


def _hidden(network: Network, view: View, num_rows: int, device: torch.device) -> Tensor | None:
    if not view:
        return None
    return torch.tensor([stream in view for stream in network.streams], device=device).expand(num_rows, -1)


def _joined(batches: list[BatchOutputs], places: NDArray[np.int64]) -> NetworkPredictions:
    """Put the batches' rows back to their places."""
    weights = [batch[2] for batch in batches]
    answers = {name: [one for batch in batches for one in batch[3][name]] for name in batches[0][3]}
    return NetworkPredictions(
        fused={name: _array([batch[0][name] for batch in batches], places) for name in batches[0][0]},
        streams={
            name: {stream: _array([batch[1][name][stream] for batch in batches], places) for stream in found}
            for name, found in batches[0][1].items()
        },
        weights=None if weights[0] is None else _array([w for w in weights if w is not None], places),
        answers={name: [found[place] for place in places] for name, found in answers.items()},
    )


def _array(parts: list[Tensor], places: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(torch.cat(parts).float().cpu().numpy())[places]


def prior_prediction(target: AnyTarget, num_rows: int) -> Prediction:
    """Return what is predicted where nothing is known.

    Args:
        target: The fitted target.
        num_rows: Rows to repeat it for.

    Returns:
        ``[rows, classes]``, ``[rows]``, or answers ``[rows]``.
    """
    if isinstance(target, StructuredTarget):
        return to_structured_predictions([target.prior] * num_rows)
    prior = target.prior
    return np.tile(prior, (num_rows, 1)) if target.classes is not None else np.repeat(prior, num_rows)
