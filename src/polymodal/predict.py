"""The one inference path: evaluate, the command line and the Python API all come through here.

Every target is decided by *members*: the fused network (``fusion``), each stream's own head
(``stream:NAME``) and the baselines (``baseline:NAME``), joined by the decision level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.batches import batch_of, rows_at_once, shapes_of
from polymodal.cache import ArrayCache
from polymodal.network import Network
from polymodal.progress import Progress, SilentProgress
from polymodal.recover import recovered_columns
from polymodal.table import Table
from polymodal.targets import AnyTarget, SketchTarget, Source, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import Answer, to_answers, values_of
from polymodal.trained import TrainedModel, precompute, without

View = frozenset[str]
NOTHING_HIDDEN: View = frozenset()


@dataclass(frozen=True)
class Members:
    """What every member says of some rows, with some streams hidden.

    Attributes:
        predictions: Target to member to probabilities ``[rows, classes]``, values ``[rows]`` or,
            of a structured target, ``Answer`` objects ``[rows]``.
        present: Member to bool ``[rows]``; False where it has nothing to go by.
        complete: bool ``[rows]``; True where every stream is there.
        weights: The fusion's stream weights, float ``[rows, streams]``, where it has them.
    """

    predictions: dict[str, dict[str, Prediction]]
    present: dict[str, NDArray[np.bool_]]
    complete: NDArray[np.bool_]
    weights: NDArray[np.float32] | None


@dataclass(frozen=True)
class Predictions:
    """Predictions for the rows of a table, in its order, none left out.

    Attributes:
        values: Flat target to probabilities ``[rows, classes]`` or values ``[rows]``.
        labels: Target to plain predictions, one a row.
        classes: Target to class names, or None for numbers.
        weights: Stream to the fusion's weight ``[rows]``, where asked for and there.
        broken_cells: Cells that could not be decoded and counted as absent.
        multi_label: Targets with any number of labels a row.
        confidences: Structured target to how sure each answer is, where it has such a number.
        recovered: ``recovered:COLUMN`` to what an absent cell may have held.
    """

    values: dict[str, Prediction]
    labels: dict[str, list[Cell]]
    classes: dict[str, list[str] | None]
    weights: dict[str, NDArray[np.float32]]
    broken_cells: list[BrokenCell]
    multi_label: frozenset[str] = frozenset()
    confidences: dict[str, list[float | None]] = field(default_factory=dict)
    recovered: dict[str, list[Cell]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.labels.values()), []))

    def to_columns(self, all_classes: bool = True) -> dict[str, list[Cell]]:
        """Lay the predictions out as a table.

        Args:
            all_classes: Whether every class gets a column of probabilities.

        Returns:
            Column name to cells: ``TARGET``, ``TARGET_probability``, ``TARGET:CLASS``,
            ``TARGET_confidence``, ``weight:STREAM``.
        """
        columns: dict[str, list[Cell]] = {}
        for target, labels in self.labels.items():
            columns[target] = labels
            names = self.classes[target]
            if target in self.confidences:
                columns[f"{target}_confidence"] = list(self.confidences[target])
            if names is not None:
                if target not in self.multi_label:
                    columns[f"{target}_probability"] = [float(p) for p in self.values[target].max(axis=1, initial=0.0)]
                if all_classes:
                    columns |= _class_columns(target, names, self.values[target])
        weights = {f"weight:{name}": [float(w) for w in values] for name, values in self.weights.items()}
        return columns | self.recovered | weights

    def to_rows(self, all_classes: bool = True) -> list[dict[str, Cell]]:
        """Lay the predictions out as one dictionary a row.

        Args:
            all_classes: Whether every class gets a probability.

        Returns:
            The rows of ``to_columns``.
        """
        columns = self.to_columns(all_classes)
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _class_columns(target: str, names: list[str], values: Prediction) -> dict[str, list[Cell]]:
    return {f"{target}:{name}": [float(p) for p in values[:, index]] for index, name in enumerate(names)}


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
    told = progress or SilentProgress()
    columns, broken = model.preprocessor.transform(table, cache)
    columns = precompute(model.network, columns, cache, told)
    given = model.schema.with_sounds(table).columns
    cells = {name: given.get(name, [None] * table.num_rows) for name in model.preprocessor.column_names}
    source = Source(cells, table.folder, shapes=shapes_of(columns))
    with told.phase("predicting", table.num_rows) as phase:
        (members,) = run_members(model, columns, source, [NOTHING_HIDDEN])
        phase.advance(table.num_rows)
    combined = combine(model, members)
    answers = {name: combined.pop(name) for name in model.network.structured}
    targets = {name: target for name, target in model.targets.items() if not isinstance(target, SketchTarget)}
    shown = {} if members.weights is None or not with_weights else _by_stream(model.network, members.weights)
    return Predictions(
        values=combined,
        labels={name: _labels(target, combined, answers, name) for name, target in targets.items()},
        classes={name: target.classes for name, target in targets.items()},
        weights=shown,
        broken_cells=broken,
        multi_label=frozenset(name for name, target in model.targets.items() if target.kind == "categories"),
        recovered=recovered_columns(model.targets, answers, model.preprocessor.modalities, columns),
        confidences={name: found for name, found in _confidences(answers).items() if any(c is not None for c in found)},
    )


def _labels(
    target: AnyTarget, combined: Mapping[str, Prediction], answers: Mapping[str, Prediction], name: str
) -> list[Cell]:
    return values_of(answers[name]) if isinstance(target, StructuredTarget) else target.decode(combined[name])


def _confidences(answers: Mapping[str, Prediction]) -> dict[str, list[float | None]]:
    return {name: [answer.confidence for answer in found] for name, found in answers.items()}


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
    return model.decisions[name].combine(found, present, target.prior, members.complete)


def run_members(
    model: TrainedModel, columns: Mapping[str, Column], source: Source, views: Sequence[View]
) -> list[Members]:
    """Ask every member about every row, once for each set of hidden streams.

    Args:
        model: The trained model.
        columns: Stream to arrays, frozen encoders' outputs included.
        source: The raw cells of the same rows.
        views: Sets of streams to hide.

    Returns:
        One ``Members`` a view.
    """
    outputs = run_network(model.network, columns, views)
    return [_members(model, columns, source, view, found) for view, found in zip(views, outputs, strict=True)]


@dataclass(frozen=True)
class NetworkOutputs:
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
    answers: dict[str, list[Answer]]


def _members(
    model: TrainedModel, columns: Mapping[str, Column], source: Source, view: View, outputs: NetworkOutputs
) -> Members:
    seen = {stream: columns[stream].row_present & (stream not in view) for stream in model.network.streams}
    some, complete = np.any(list(seen.values()), axis=0), np.all(list(seen.values()), axis=0)
    baselines = _baseline_predictions(model, columns, source.cells, view)
    predictions = {
        name: _target_members(name, target, outputs, baselines.get(name, {}), source)
        for name, target in model.targets.items()
    }
    for name, stacker in model.stackers.items():
        alone = {stream: predictions[name][f"stream:{stream}"] for stream in model.network.streams}
        predictions[name] = {"fusion": stacker.predict(alone, seen), **predictions[name]}
    members = {member for found in predictions.values() for member in found}
    present = {member: seen[member[7:]] if member.startswith("stream:") else some for member in members}
    return Members(predictions, present, complete, outputs.weights)


def _target_members(
    name: str, target: AnyTarget, outputs: NetworkOutputs, baselines: Mapping[str, Prediction], source: Source
) -> dict[str, Prediction]:
    if isinstance(target, StructuredTarget):
        return {"fusion": target.finish(outputs.answers[name], source)}
    return {
        **({"fusion": target.to_prediction(outputs.fused[name])} if name in outputs.fused else {}),
        **{f"stream:{stream}": target.to_prediction(output) for stream, output in outputs.streams[name].items()},
        **{f"baseline:{baseline}": values for baseline, values in baselines.items()},
    }


def _baseline_predictions(
    model: TrainedModel, columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]], view: View
) -> dict[str, dict[str, Prediction]]:
    if model.features is None:
        return {}
    if view:
        columns, cells = without(columns, cells, model.schema, view)
    features = model.features.transform(columns, cells)
    return {
        name: {baseline.name: baseline.predict(features) for baseline in baselines if baseline.name != "prior"}
        for name, baselines in model.baselines.items()
    }


def run_network(network: Network, columns: Mapping[str, Column], views: Sequence[View]) -> list[NetworkOutputs]:
    """Run the network, encoding each batch once and fusing it once a view.

    Args:
        network: The network.
        columns: Stream to arrays.
        views: Sets of streams to hide from the fusion.

    Returns:
        One ``NetworkOutputs`` a view.
    """
    network.eval()
    num_rows, step = len(next(iter(columns.values()))), rows_at_once(columns)
    batches = [
        _run_batch(network, columns, slice(start, start + step), views) for start in range(0, max(num_rows, 1), step)
    ]
    return [_joined([batch[index] for batch in batches]) for index in range(len(views))]


BatchOutputs = tuple[dict[str, Tensor], dict[str, dict[str, Tensor]], Tensor | None, dict[str, list[Answer]]]


def _run_batch(
    network: Network, columns: Mapping[str, Column], rows: slice, views: Sequence[View]
) -> list[BatchOutputs]:
    device = network.log_variances.device
    used = {stream: columns[stream] for stream in network.streams}
    batch = {stream: column.to(device) for stream, column in batch_of(used, rows).items()}
    with torch.inference_mode():
        tokens = network.encode(batch)
        streams = network.stream_outputs(tokens)
        results: list[BatchOutputs] = []
        for view in views:
            hidden = torch.tensor([stream in view for stream in network.streams], device=device)
            rows_hidden = hidden.expand(len(next(iter(batch.values()))), -1)
            fused = network.fuse(tokens, rows_hidden)
            outputs = network.fused_outputs(tokens, streams, fused, rows_hidden)
            weights = None if fused is None else fused.weights
            results.append((outputs, streams, weights, {} if fused is None else network.answers(fused)))
    return results


def _joined(batches: list[BatchOutputs]) -> NetworkOutputs:
    weights = [batch[2] for batch in batches]
    return NetworkOutputs(
        fused={name: _array([batch[0][name] for batch in batches]) for name in batches[0][0]},
        streams={
            name: {stream: _array([batch[1][name][stream] for batch in batches]) for stream in found}
            for name, found in batches[0][1].items()
        },
        weights=None if weights[0] is None else _array([w for w in weights if w is not None]),
        answers={name: [one for batch in batches for one in batch[3][name]] for name in batches[0][3]},
    )


def _array(parts: list[Tensor]) -> NDArray[np.float32]:
    return np.asarray(torch.cat(parts).float().cpu().numpy())


def prior_prediction(target: AnyTarget, num_rows: int) -> Prediction:
    """Return what is predicted where nothing is known.

    Args:
        target: The fitted target.
        num_rows: Rows to repeat it for.

    Returns:
        ``[rows, classes]``, ``[rows]``, or answers ``[rows]``.
    """
    if isinstance(target, StructuredTarget):
        return to_answers([target.prior] * num_rows)
    prior = target.prior
    return np.tile(prior, (num_rows, 1)) if target.classes is not None else np.repeat(prior, num_rows)
