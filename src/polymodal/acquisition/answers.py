"""Final answers of rows as they are, with streams hidden, and with streams filled from other rows.

Shape legend: N rows, C classes (or labels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.input_check import InputCheck
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.predict import combine, predict_members
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets import RowContext, StructuredTarget, Target

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Answers = dict[str, Floats]
"""Flat target to probabilities ``[N, C]`` or numbers ``[N]``."""
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DecodedRows:
    """Some rows of a table as a model reads them.

    Attributes:
        columns: Stream to arrays, outputs of frozen encoders included.
        cells: Column to raw cells of the same rows: inputs and, where the table has them, targets.
        table: The table, for its folder and name.
        broken: Cells that could not be decoded.
    """

    columns: dict[str, Column]
    cells: dict[str, Sequence[Cell]]
    table: Table
    broken: list[BrokenCell]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def take(self, rows: Rows) -> DecodedRows:
        """Return some rows, in the given order.

        Args:
            rows: Row indices from 0.

        Returns:
            Those rows.
        """
        columns = {stream: column.take(rows) for stream, column in self.columns.items()}
        cells = {name: take_cells(cells, rows) for name, cells in self.cells.items()}
        return DecodedRows(columns, cells, self.table, self.broken)

    def filled(
        self, rows: Rows, other: DecodedRows, other_rows: Rows, streams: frozenset[str], owners: Mapping[str, str]
    ) -> DecodedRows:
        """Return some rows with streams taken from rows of another table.

        Args:
            rows: Row indices from 0, ``[N]``; one may stand there many times.
            other: Where the streams come from.
            other_rows: The row of ``other`` for each of them, ``[N]``.
            streams: The streams to take.
            owners: Column to its stream.

        Returns:
            N rows.
        """
        columns = {
            stream: other.columns[stream].take(other_rows) if stream in streams else column.take(rows)
            for stream, column in self.columns.items()
        }
        cells = {
            name: take_cells(other.cells[name], other_rows) if owners.get(name) in streams else take_cells(cells, rows)
            for name, cells in self.cells.items()
        }
        return DecodedRows(columns, cells, self.table, [])

    def without(self, streams: frozenset[str]) -> dict[str, Column]:
        """Return the columns with some streams absent in every row.

        Args:
            streams: The streams to take away.

        Returns:
            Stream to arrays.
        """
        gone = np.ones(len(self), np.bool_)
        return {name: column.without(gone) if name in streams else column for name, column in self.columns.items()}

    @property
    def presence(self) -> dict[str, NDArray[np.bool_]]:
        """Stream to bool ``[N]``, True where it is present."""
        return {stream: column.row_present for stream, column in self.columns.items()}


def decode_rows(
    model: TrainedModel, table: Table, progress: Progress, *, strict: bool = False, name: str = "decoding"
) -> DecodedRows:
    """Decode a table.

    Args:
        model: The trained model.
        table: Its rows; absent columns count as absent cells, and are told.
        progress: Reports progress.
        strict: Whether absent columns, broken cells and unseen categories raise.
        name: Of the phase.

    Returns:
        The rows.

    Raises:
        SchemaError: If the table has no input column of the model.
        CellError: If strict and a cell cannot be decoded.
    """
    check = InputCheck(model.preprocessor, table.name, strict=strict)
    check.see_columns(table.columns)
    with progress.phase(f"{name} {table.name}", None):
        columns, broken = decode_columns(model, table, check, progress)
    check.finish()
    return DecodedRows(columns, input_cells(model, table), table, broken)


def decode_columns(
    model: TrainedModel, table: Table, check: InputCheck, progress: Progress
) -> tuple[dict[str, Column], list[BrokenCell]]:
    """Decode the next rows of a table.

    Args:
        model: The trained model.
        table: The rows.
        check: Counts what the model lacks in them.
        progress: Reports the outputs of frozen encoders.

    Returns:
        Stream to arrays, and the broken cells.
    """
    cache = ArrayCache.default()
    columns, broken = check.transform(table, cache)
    return model.network.precompute(columns, cache, progress), broken


def input_cells(model: TrainedModel, table: Table) -> dict[str, Sequence[Cell]]:
    """Return the raw cells of the input columns and of the targets.

    Args:
        model: The trained model.
        table: The rows.

    Returns:
        Column to cells; an input column that the table lacks is absent in every row, a target is left out.
    """
    given = model.schema.with_derived(table).columns
    absent: Sequence[Cell] = [None] * table.num_rows
    cells = {name: given.get(name, absent) for name in model.preprocessor.column_names}
    return cells | {name: given[name] for name in model.targets if name in given}


def answer(
    model: TrainedModel,
    rows: DecodedRows,
    masks: Sequence[frozenset[str]] = (NOTHING,),
    *,
    with_baselines: bool = True,
) -> list[Answers]:
    """Give the final answer of rows, once for each set of hidden streams.

    Args:
        model: The trained model.
        rows: The rows.
        masks: Sets of streams to hide.
        with_baselines: Whether the baselines take part; where not, the other members take their weight.

    Returns:
        One ``Answers`` a mask, of the model's flat targets.
    """
    context = RowContext(rows.cells, rows.table.folder)
    needed = {name: ensemble.active_members for name, ensemble in model.ensembles.items()}
    needed = {name: needed.get(name, frozenset({"fusion"})) for name in model.targets}
    members = predict_members(model, rows.columns, context, list(masks), needed)
    flat = flat_targets(model)
    members = members if with_baselines else [_without_baselines(found) for found in members]
    return [{name: value for name, value in combine(model, found).items() if name in flat} for found in members]


def _without_baselines(members: MemberPredictions) -> MemberPredictions:
    kept = {
        target: {name: values for name, values in of_target.items() if not name.startswith("baseline:")} or of_target
        for target, of_target in members.predictions.items()
    }
    return MemberPredictions(kept, members.present, members.visible, members.weights)


def stream_owners(model: TrainedModel) -> dict[str, str]:
    """Return each input column's stream.

    Args:
        model: The trained model.

    Returns:
        Column to stream.
    """
    return {column: stream.name for stream in model.schema.streams for column in stream.columns}


def flat_targets(model: TrainedModel) -> dict[str, Target]:
    """Return the targets that are classes, labels or a number; the others have no expected loss here.

    Args:
        model: The trained model.

    Returns:
        Name to target.
    """
    return {name: target for name, target in model.targets.items() if not isinstance(target, StructuredTarget)}


def row_vectors(model: TrainedModel, rows: DecodedRows, hidden: frozenset[str] = NOTHING) -> NDArray[np.float32]:
    """Embed rows with streams hidden.

    Args:
        model: The trained model.
        rows: The rows.
        hidden: Streams to hide.

    Returns:
        Unit vectors, float32 ``[N, D]``; zeros where nothing is left.
    """
    vectors, _ = model.network.embed(rows.without(hidden))
    return vectors
