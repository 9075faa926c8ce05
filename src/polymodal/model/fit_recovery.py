"""Fits what recovers absent cells beside the network: ridge regressions, remembered rows, the choice between them."""

from __future__ import annotations

import dataclasses

import numpy as np

from polymodal.data.profiles.build_profile import sample_rows
from polymodal.data.tables.stored_columns import take_cells
from polymodal.ensemble.baselines import Linear
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor
from polymodal.ensemble.ridge_fitting import fit_ridge
from polymodal.ensemble.stream_features import LINEAR
from polymodal.modalities import Tabular
from polymodal.model.batches import Examples, bytes_of_row
from polymodal.model.judge_recovery import column_losses
from polymodal.model.recovered_sketches import column_decoders, group_places, recovered_targets
from polymodal.model.trained_model import TrainedModel
from polymodal.recovery.memory import MOST_ROWS, Memory, short_cells
from polymodal.recovery.recovery import MAX_GROUPS, NETWORK, HiddenGroup, Method, RecoveredColumn, Recovery

RIDGE_ROWS = 10_000
"""Most training rows that ridge regressions are fitted on."""
FITTED_BYTES = 2**30
"""Most bytes of the arrays that their features are fitted on."""


def fit_recovery(model: TrainedModel, train: Examples, validation: Examples) -> tuple[TrainedModel, list[str]]:
    """Fit the recovery of a model that was trained to recover streams.

    Args:
        model: The model with its trained network.
        train: Training rows: ridge regressions are fitted on them, and cells are retrieved from them.
        validation: Validation rows: they choose the penalty, and of each column what recovers it.

    Returns:
        The model with its recovery, unchanged where it was not trained to recover; and sentences for the user.
    """
    if not recovered_targets(model.targets):
        return model, []
    recovery = _unfitted(model)
    sample = train.subset(sample_rows(len(train), RIDGE_ROWS, model.config.seed)).without_outputs()
    model = _with_features(model, sample)
    recovery = dataclasses.replace(
        recovery,
        memories=_memories(model, recovery, train),
        ridges=_fit_ridges(model, recovery, sample, validation.without_outputs()),
    )
    model = dataclasses.replace(model, recovery=recovery)
    model = dataclasses.replace(model, recovery=_with_best_methods(model, recovery, validation))
    return model, _notices(model, len(sample), len(train))


def _notices(model: TrainedModel, used: int, rows: int) -> list[str]:
    known = set() if model.features is None else {features.stream for features in model.features.streams}
    if not known:
        return ["There is no ridge to compare recovered cells with: no stream has features for it."]
    notices = [f"The ridge regressions of --reconstruct were fitted on {used:,} of {rows:,} training rows."]
    return notices if used < rows else []


def _with_features(model: TrainedModel, train: Examples) -> TrainedModel:
    """Return the model with the features that ridge regressions read, which a run without baselines lacks."""
    if model.features is not None:
        return model
    limited = train.first(max(1, FITTED_BYTES // bytes_of_row(train.columns)))
    columns = limited.columns_in_use()
    unfitted = FeatureExtractor.unfitted(model.schema, model.preprocessor.modalities, columns)
    return dataclasses.replace(model, features=unfitted.fit(columns, limited.cells_in_use()))


def _unfitted(model: TrainedModel) -> Recovery:
    """Return the columns and their groups, before anything is fitted."""
    groups: list[HiddenGroup] = []
    for stream in recovered_targets(model.targets):
        modality = model.preprocessor.modalities[stream]
        groups += _table_groups(stream, modality) if isinstance(modality, Tabular) else [_whole(stream, [stream])]
    columns = [
        RecoveredColumn(column=name, stream=group.stream, group=index, method=NETWORK)
        for index, group in enumerate(groups)
        for name in group.columns
    ]
    order = list(column_decoders(model))
    return Recovery(columns=sorted(columns, key=lambda column: order.index(column.column)), groups=groups)


def _whole(stream: str, columns: list[str]) -> HiddenGroup:
    return HiddenGroup(stream=stream, columns=columns, fields=[])


def _table_groups(stream: str, modality: Tabular) -> list[HiddenGroup]:
    """Deal the columns of a table stream into groups of about equal size."""
    names = list(modality.places)
    if len(names) == 1:
        return [_whole(stream, names)]
    number = min(len(names), MAX_GROUPS)
    dealt = [names[first::number] for first in range(number)]
    fields = [field.column for field in modality.fields]
    return [
        HiddenGroup(
            stream=stream,
            columns=of_group,
            fields=[place for place, column in enumerate(fields) if column in of_group],
        )
        for of_group in dealt
    ]


def _memories(model: TrainedModel, recovery: Recovery, train: Examples) -> dict[str, Memory]:
    decoders = column_decoders(model)
    streams = [column.stream for column in recovery.columns if decoders[column.column].decode is None]
    return {stream: _memory(model, stream, train) for stream in streams}


def _memory(model: TrainedModel, stream: str, train: Examples) -> Memory:
    name, _ = recovered_targets(model.targets)[stream]
    present = np.flatnonzero(train.known[name])
    kept = present[sample_rows(len(present), MOST_ROWS, model.config.seed)]
    rows = train.rows[kept]
    column = next(of_schema.columns[0] for of_schema in model.schema.streams if of_schema.name == stream)
    cells = take_cells(train.cells[column], rows) if column in train.cells else [None] * len(rows)
    return Memory(rows=rows + 1, sketches=train.truth[name][kept].astype(np.float16), cells=short_cells(cells))


def _fit_ridges(model: TrainedModel, recovery: Recovery, train: Examples, validation: Examples) -> dict[int, Linear]:
    if model.features is None or not model.features.streams:
        return {}
    limited = validation.subset(sample_rows(len(validation), RIDGE_ROWS, model.config.seed))
    return {index: _fit_ridge(model, group, train, limited) for index, group in enumerate(recovery.groups)}


def _fit_ridge(model: TrainedModel, group: HiddenGroup, train: Examples, validation: Examples) -> Linear:
    """Fit a ridge regression of a stream's sketch on what the baselines read of the other cells.

    It is fitted on training rows; validation rows choose the penalty alone.
    """
    name, _ = recovered_targets(model.targets)[group.stream]
    known = [examples.subset(np.flatnonzero(examples.known[name])) for examples in (train, validation)]
    blocks = FeatureBlocks.concatenate([_features(model, group, examples) for examples in known])
    truth = np.concatenate([examples.truth[name] for examples in known]).astype(np.float64)
    return fit_ridge(blocks, truth[:, group_places(model, group)], len(known[0]))


def _features(model: TrainedModel, group: HiddenGroup, examples: Examples) -> FeatureBlocks:
    assert model.features is not None
    forms = frozenset({LINEAR})
    return FeatureBlocks.concatenate(
        [
            model.features.transform(group.hide(chunk.columns_in_use()), chunk.cells_in_use(), forms)
            for chunk in examples.chunks()
        ]
    )


def _with_best_methods(model: TrainedModel, recovery: Recovery, validation: Examples) -> Recovery:
    """Choose what recovers each column: what loses least on validation rows; the network where none knows it."""
    found = column_losses(model, recovery, validation)

    def best(column: RecoveredColumn) -> Method:
        losses = {m: float(of.mean()) for m, of in found[column.column].losses.items() if len(of)}
        return min(losses, key=lambda method: losses[method], default=NETWORK)

    return dataclasses.replace(
        recovery,
        columns=[dataclasses.replace(column, method=best(column)) for column in recovery.columns],
    )
