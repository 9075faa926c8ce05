"""Predicting a table chunk by chunk: from its cells to labels, probabilities, sets and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.input_check import InputCheck
from polymodal.data.tables.table import Table
from polymodal.model.batches import shapes_of
from polymodal.model.chunks import iterate_chunks
from polymodal.model.inference_network import NO_MASK, InferenceNetwork
from polymodal.model.predict import NO_CACHE, combine, needed_members, needs_network, predict_members
from polymodal.model.prediction_sets import Certain, Teller, Wish, make_certain, stratum_values
from polymodal.model.predictions import Predictions
from polymodal.model.recover import RecoveredCells, RecoveryTeller, recover_cells
from polymodal.model.trained_model import TrainedModel
from polymodal.model.unusual_rows import UnusualTeller, unusual_rows
from polymodal.progress import Progress
from polymodal.targets import AnyTarget, CategoryTarget, RowContext, StructuredTarget
from polymodal.targets.base import Prediction
from polymodal.targets.structured import values_of

MIN_CACHED_ROWS = 32
"""The arrays of fewer rows are not cached on disk: writing them takes longer than decoding them."""


def predict_chunks(
    model: TrainedModel,
    source: Any,
    cache: ArrayCache,
    progress: Progress,
    with_weights: bool = False,
    *,
    strict: bool = False,
    keep: Sequence[str] = (),
    wish: Wish | None = None,
    unusual: bool = False,
) -> Iterator[Predictions]:
    """Predict a table chunk by chunk, in memory that does not grow with its rows.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read as far as it is predicted.
        cache: Cache of decoded arrays.
        progress: Reports progress.
        with_weights: Whether the fusion's stream weights are returned.
        strict: Whether absent columns, broken cells and unseen categories raise.
        keep: Columns of the table to copy.
        wish: Sets, intervals and abstention that are asked for.
        unusual: Whether to tell how unusual each row is.

    Yields:
        The predictions of the next rows; broken cells are named by their row in the whole table.

    Raises:
        ConfigError: If the model cannot do what is wished.
    """
    wish = wish or Wish()
    wish.check(model)
    teller, counter, recovery = Teller(model, wish), UnusualTeller(model, is_asked=unusual), RecoveryTeller(model)
    for table, check in iterate_chunks(model, source, progress, "predicting", strict=strict):
        table.check_columns(keep, "--keep")
        found = _predict_chunk(model, table, check, cache, progress, with_weights, wish, unusual)
        predictions, certain, recovered = found
        teller.see(certain)
        recovery.see(recovered)
        counter.see(predictions.unusual, table.name)
        yield predictions.with_kept({name: table.columns[name] for name in keep})
    teller.finish()
    recovery.finish()
    counter.finish()


def _predict_chunk(
    model: TrainedModel,
    table: Table,
    check: InputCheck,
    cache: ArrayCache,
    progress: Progress,
    with_weights: bool,
    wish: Wish,
    unusual: bool,
) -> tuple[Predictions, Certain, RecoveredCells]:
    cache = cache if table.num_rows >= MIN_CACHED_ROWS else NO_CACHE
    columns, broken = check.transform(table, cache if _reads_files(model) else None)
    needed = needed_members(model, with_weights)
    columns = model.network.precompute(columns, cache, progress) if unusual or needs_network(needed) else columns
    context = row_context(model, table, columns)
    (members,) = predict_members(model, columns, context, [NO_MASK], needed)
    combined = combine(model, members)
    certain = make_certain(model, members, combined, wish, stratum_values(model, table.columns))
    structured = {name: combined.pop(name) for name in model.network.structured}
    recovered = recover_cells(model, structured, columns, context.cells)
    targets = {target.name: model.targets[target.name] for target in model.schema.targets}
    structured_targets = {name: t for name, t in targets.items() if isinstance(t, StructuredTarget)}
    confident = [name for name, target in structured_targets.items() if target.has_confidence]
    weights = {} if members.weights is None or not with_weights else _by_stream(model.network, members.weights)
    predictions = Predictions(
        values=combined,
        labels={name: _labels(target, combined, structured, name) for name, target in targets.items()},
        classes={name: target.classes for name, target in targets.items()},
        weights=weights,
        broken_cells=broken,
        label_probabilities={
            name: target.label_probabilities(combined[name])
            for name, target in targets.items()
            if isinstance(target, CategoryTarget)
        },
        records=frozenset(name for name, target in structured_targets.items() if target.gives_records),
        recovered=recovered.cells,
        confidences={name: [prediction.confidence for prediction in structured[name]] for name in confident},
        sets=certain.sets,
        intervals=certain.intervals,
        unusual=unusual_rows(model, table, columns) if unusual else None,
    )
    return predictions.with_abstained(certain.abstained), certain, recovered


def row_context(model: TrainedModel, table: Table, columns: Mapping[str, Column]) -> RowContext:
    """Return the raw cells of a table's rows, as baselines and structured targets read them.

    Args:
        model: The trained model.
        table: The rows; absent columns count as absent cells.
        columns: Stream to arrays of the same rows.

    Returns:
        Their cells, the base folder of paths and the shapes of decoded cells.
    """
    given = model.schema.with_derived(table).columns
    cells = {name: given.get(name, [None] * table.num_rows) for name in model.preprocessor.column_names}
    return RowContext(cells, table.folder, shapes=shapes_of(columns))


def _reads_files(model: TrainedModel) -> bool:
    """Return whether decoding is slow enough for the cache; tokenizing text is not."""
    return any(modality.is_file for modality in model.preprocessor.modalities.values())


def _labels(
    target: AnyTarget, combined: Mapping[str, Prediction], structured: Mapping[str, Prediction], name: str
) -> list[Cell]:
    return values_of(structured[name]) if isinstance(target, StructuredTarget) else target.decode(combined[name])


def _by_stream(network: InferenceNetwork, weights: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {stream: weights[:, index] for index, stream in enumerate(network.streams)}
