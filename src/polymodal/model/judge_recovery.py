"""How well cells are recovered, judged on rows whose cells are hidden: network, ridge regression, mean (no torch).

Shape legend: N rows, D numbers of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.data.profiles.build_profile import sample_rows
from polymodal.metrics.shares import NORMAL_95
from polymodal.model.batches import Examples
from polymodal.model.inference_network import NO_MASK
from polymodal.model.recovered_sketches import (
    any_present,
    column_decoders,
    network_sketches,
    recovered_targets,
    ridge_sketches,
)
from polymodal.model.trained_model import TrainedModel
from polymodal.recovery.decoders import ColumnDecoder
from polymodal.recovery.recovery import MEAN, NETWORK, RIDGE, Method, RecoveredColumn, Recovery
from polymodal.targets import SketchTarget

MOST_ROWS = 1000
"""Most rows that cells are hidden in."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Losses:
    """What each method loses on the same hidden cells of one column.

    Attributes:
        losses: Method to ``[N]``: the mean squared error of standardised numbers, 1 for a wrong label, or the share of
            remembered rows that would have been better to retrieve.
        errors: Method to the absolute error in the column's own units ``[N]``; empty for columns that are no numbers.
    """

    losses: dict[Method, Floats]
    errors: dict[Method, Floats]


@dataclass(frozen=True)
class HiddenRows:
    """Rows with one group of cells hidden, and what was recovered.

    Attributes:
        truth: Standardised sketches of the hidden cells ``[N, D]``, NaN where unknown.
        sketches: Method to recovered ones.
        rows: Which of the examples they are, int64 ``[N]``.
    """

    truth: Floats
    sketches: dict[Method, Floats]
    rows: NDArray[np.int64]


def judge_recovery(model: TrainedModel, examples: Examples) -> list[dict[str, Any]]:
    """Judge each column on rows whose cells are hidden.

    Args:
        model: A model with a recovery.
        examples: Rows with truth.

    Returns:
        One entry a column, plain JSON: rows, metric, scores and errors of each method, by how much the network leads
        ridge regression and the mean, and what is returned.
    """
    assert model.recovery is not None
    found = column_losses(model, model.recovery, examples)
    decoders = column_decoders(model)
    entries = [
        _entry(model, column, decoders[column.column], found[column.column]) for column in model.recovery.columns
    ]
    return [entry for entry in entries if entry["rows"]]


def column_losses(model: TrainedModel, recovery: Recovery, examples: Examples) -> dict[str, Losses]:
    """Compute the losses of each column.

    Args:
        model: The model; its own recovery is used by ridge regression.
        recovery: Names the columns.
        examples: Rows with truth.

    Returns:
        Column to losses.
    """
    decoders, targets = column_decoders(model), recovered_targets(model.targets)
    losses: dict[str, Losses] = {}
    for index in range(len(recovery.groups)):
        hidden = hidden_rows(model, index, examples)
        for column in recovery.columns:
            if column.group == index:
                target = targets[column.stream][1]
                losses[column.column] = _losses(recovery, column, decoders[column.column], target, hidden)
    return losses


def hidden_rows(model: TrainedModel, group: int, examples: Examples, most: int = MOST_ROWS) -> HiddenRows:
    """Hide a group of cells and recover them by each method.

    Args:
        model: A model with a recovery.
        group: Index of the group.
        examples: Rows with truth.
        most: Most rows that are used, drawn at random; rows without any other cell are left out.

    Returns:
        What was hidden and what was recovered.
    """
    assert model.recovery is not None
    name, target = recovered_targets(model.targets)[model.recovery.groups[group].stream]
    sample = examples.subset(sample_rows(len(examples), most, model.config.seed))
    parts = [_hidden_chunk(model, group, chunk, target, name) for chunk in sample.chunks()]
    drawn = sample_rows(len(examples), most, model.config.seed)
    usable = np.concatenate([part[2] for part in parts])
    methods = parts[0][1].keys()
    return HiddenRows(
        np.concatenate([part[0] for part in parts])[usable],
        {method: np.concatenate([part[1][method] for part in parts])[usable] for method in methods},
        drawn[usable],
    )


def _hidden_chunk(
    model: TrainedModel, group: int, chunk: Examples, target: SketchTarget, name: str
) -> tuple[Floats, dict[Method, Floats], NDArray[np.bool_]]:
    """Return truth, recovered sketches and which rows have anything left to recover from."""
    assert model.recovery is not None
    columns = chunk.columns_in_use()
    hidden: Mapping[str, Column] = model.recovery.groups[group].hide(columns)
    (answers,) = model.network.run(hidden, [NO_MASK])
    sketches: dict[Method, Floats] = {NETWORK: network_sketches(answers.structured[name], target)}
    if group in model.recovery.ridges:
        sketches[RIDGE] = ridge_sketches(model, group, columns, chunk.cells_in_use())
    truth = np.asarray(chunk.truth[name], np.float64)
    sketches[MEAN] = np.zeros_like(truth)
    return truth, sketches, any_present(hidden)


def _losses(
    recovery: Recovery, column: RecoveredColumn, decoder: ColumnDecoder, target: SketchTarget, hidden: HiddenRows
) -> Losses:
    truth = hidden.truth[:, decoder.places]
    known = ~np.isnan(truth).all(axis=1)
    recovered = {method: values[known] for method, values in hidden.sketches.items()}
    own = {method: target.unstandardised(values)[:, decoder.places] for method, values in recovered.items()}
    true_own = target.unstandardised(hidden.truth[known])[:, decoder.places]
    errors: dict[Method, Floats] = {}
    if decoder.measure is not None:
        measured = decoder.measure(true_own)
        errors = {method: np.abs(decoder.measure(values) - measured) for method, values in own.items()}
    if decoder.is_label:
        labels = true_own.argmax(axis=1)
        return Losses({method: (values.argmax(axis=1) != labels) * 1.0 for method, values in own.items()}, errors)
    if decoder.decode is None:
        memory = recovery.memories[column.stream]
        return Losses(
            {m: 1 - memory.farther(hidden.truth[known], memory.nearest(values)) for m, values in recovered.items()},
            errors,
        )
    found = {m: np.nanmean((values[:, decoder.places] - truth[known]) ** 2, axis=1) for m, values in recovered.items()}
    return Losses(found, errors)


def _entry(model: TrainedModel, column: RecoveredColumn, decoder: ColumnDecoder, found: Losses) -> dict[str, Any]:
    assert model.recovery is not None
    losses, group = found.losses, model.recovery.groups[column.group]
    metric = "accuracy" if decoder.is_label else "nearer" if decoder.decode is None else "r2"
    scale = float(losses[MEAN].mean()) if metric == "r2" and len(losses[MEAN]) else 1.0
    scale = scale if scale > 0 else 1.0
    return {
        "column": column.column,
        "stream": column.stream,
        "rows": len(losses[MEAN]),
        "hidden_with": len(group.columns) - 1,
        "form": decoder.form,
        "metric": metric,
        "scores": {
            method: float(1 - of_method.mean() / scale) for method, of_method in losses.items() if len(of_method)
        },
        "errors": {method: float(of_method.mean()) for method, of_method in found.errors.items() if len(of_method)},
        "leads": {method: _lead(losses[method], losses[NETWORK], scale) for method in losses if method != NETWORK}
        if len(losses[MEAN])
        else {},
        "returned": column.method,
    }


def _lead(other: Floats, network: Floats, scale: float) -> dict[str, Any]:
    """Return by how much the network's score is better than another's on the same cells, with a 95 % interval."""
    differences = (other - network) / scale
    lead = float(differences.mean())
    margin = NORMAL_95 * float(differences.std(ddof=1)) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return {"lead": lead, "interval": [lead - margin, lead + margin]}
