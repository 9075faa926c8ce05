"""Recovered sketches of streams: by the network, by ridge regression, by the mean (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.tables.stored_columns import take_cells
from polymodal.ensemble.stream_features import LINEAR
from polymodal.model.trained_model import TrainedModel
from polymodal.recovery.decoders import ColumnDecoder, decoders_of
from polymodal.recovery.recovery import HiddenGroup
from polymodal.targets import AnyTarget, SketchTarget
from polymodal.targets.structured import StructuredPrediction, StructuredPredictions

Floats = NDArray[np.float64]


def recovered_targets(targets: Mapping[str, AnyTarget]) -> dict[str, tuple[str, SketchTarget]]:
    """Return the targets that recover streams from others.

    Args:
        targets: Name to target.

    Returns:
        Stream to name and target.
    """
    return {
        target.stream: (name, target)
        for name, target in targets.items()
        if isinstance(target, SketchTarget) and target.recovered
    }


def judged_targets(targets: Mapping[str, AnyTarget]) -> dict[str, AnyTarget]:
    """Return the targets that are judged one by one: recovered cells are judged column by column instead.

    Args:
        targets: Name to target.

    Returns:
        The others.
    """
    return {
        name: target for name, target in targets.items() if not (isinstance(target, SketchTarget) and target.recovered)
    }


def column_decoders(model: TrainedModel) -> dict[str, ColumnDecoder]:
    """Return the decoders of all columns.

    Args:
        model: The model.

    Returns:
        Column to decoder.
    """
    modalities = model.preprocessor.modalities
    return {
        decoder.column: decoder
        for stream, (_, target) in recovered_targets(model.targets).items()
        for decoder in decoders_of(stream, modalities[stream], target)
    }


def network_sketches(answers: StructuredPredictions | Sequence[StructuredPrediction], target: SketchTarget) -> Floats:
    """Stack what the network recovered.

    Args:
        answers: Its answers.
        target: The target.

    Returns:
        Standardised ``[rows, D]``.
    """
    empty = np.zeros((0, len(target.mean)))
    return np.stack([answer.value for answer in answers]).astype(np.float64) if len(answers) else empty


def ridge_sketches(
    model: TrainedModel,
    group: int,
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
    rows: NDArray[np.int64] | None = None,
) -> Floats:
    """Recover the sketch of a group's stream by ridge regression.

    Args:
        model: A model whose recovery has a ridge regression of the group.
        group: Index of the group; it is hidden first, as it was when the regression was fitted.
        columns: Stream to arrays.
        cells: Column to raw cells of the same rows.
        rows: Indices of the rows; None: all of them.

    Returns:
        Standardised ``[rows, D]``, 0 for what is not the group's.
    """
    assert model.recovery is not None
    assert model.features is not None
    if rows is not None:
        columns = {stream: column.take(rows) for stream, column in columns.items()}
        cells = {name: take_cells(cells[name], rows) for name in model.features.cell_columns if name in cells}
    of_group = model.recovery.groups[group]
    blocks = model.features.transform(of_group.hide(columns), cells, frozenset({LINEAR}))
    _, target = recovered_targets(model.targets)[of_group.stream]
    sketches = np.zeros((len(blocks), len(target.mean)))
    sketches[:, group_places(model, of_group)] = model.recovery.ridges[group].predict(blocks)
    return sketches


def group_places(model: TrainedModel, group: HiddenGroup) -> NDArray[np.int64]:
    """Return which numbers of a stream's sketch are those of a group's columns.

    Args:
        model: The model.
        group: The group.

    Returns:
        int64, ascending within each column.
    """
    decoders = column_decoders(model)
    spans = [np.arange(decoders[name].start, decoders[name].stop) for name in group.columns]
    return np.concatenate(spans)


def any_present(columns: Mapping[str, Column]) -> NDArray[np.bool_]:
    """Tell which rows have anything to recover from.

    Args:
        columns: Stream to arrays.

    Returns:
        bool ``[rows]``, True where a cell is present.
    """
    return np.asarray(np.any([column.row_present for column in columns.values()], axis=0), np.bool_)


def absent_cells(
    model: TrainedModel, group: HiddenGroup, columns: Mapping[str, Column], column: str
) -> NDArray[np.bool_]:
    """Tell where the cells of one column are absent or broken.

    Args:
        model: The model.
        group: The group that the column is hidden with.
        columns: Stream to arrays.
        column: The column.

    Returns:
        bool ``[rows]``.
    """
    arrays = columns[group.stream]
    if arrays.present.ndim == 1:
        return ~arrays.present
    places = getattr(model.preprocessor.modalities[group.stream], "places", {})
    return np.asarray(~arrays.present[:, places[column].start] if column in places else ~arrays.row_present, np.bool_)
