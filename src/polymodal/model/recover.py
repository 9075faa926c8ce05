"""Recovery of the absent cells of a table's rows, in the columns' own units and spelling (no torch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.errors import warn
from polymodal.model.recovered_sketches import (
    absent_cells,
    any_present,
    column_decoders,
    network_sketches,
    recovered_targets,
    ridge_sketches,
)
from polymodal.model.trained_model import TrainedModel
from polymodal.recovery.decoders import ColumnDecoder
from polymodal.recovery.memory import Memory
from polymodal.recovery.recovery import NETWORK, RIDGE, RecoveredColumn, Recovery
from polymodal.targets.structured import StructuredPredictions

PREFIX = "recovered:"
ROW_SUFFIX = ":row"
MOST_NAMED = 5
"""So many columns are named in a notice."""


@dataclass(frozen=True)
class RecoveredCells:
    """What was recovered of some rows.

    Attributes:
        cells: ``recovered:COLUMN``, and ``recovered:COLUMN:row`` where cells are retrieved, to one cell a row; None
            where the cell is present or nothing was recovered.
        counts: Column to the number of cells that were recovered.
        lost: Rows without any present cell, of which nothing can be recovered.
    """

    cells: dict[str, list[Cell]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lost: int = 0


def recover_cells(
    model: TrainedModel,
    answers: Mapping[str, StructuredPredictions],
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
) -> RecoveredCells:
    """Recover the absent and broken cells of rows.

    Args:
        model: The model.
        answers: Structured target to the network's answers.
        columns: Stream to arrays.
        cells: Column to raw cells of the same rows.

    Returns:
        The cells; none at all where the model was not trained to recover any.
    """
    if model.recovery is None:
        return RecoveredCells()
    work = _Rows(model, model.recovery, answers, columns, cells)
    found: dict[str, list[Cell]] = {}
    counts: Counter[str] = Counter()
    usable, decoders = any_present(columns), column_decoders(model)
    for column in model.recovery.columns:
        absent = absent_cells(model, model.recovery.groups[column.group], columns, column.column)
        rows = np.flatnonzero(absent & usable)
        counts[column.column] = len(rows)
        found |= work.recovered(column, decoders[column.column], rows)
    return RecoveredCells(found, counts, int((~usable).sum()))


class _Rows:
    """Rows whose cells are recovered; what several columns share is computed once."""

    def __init__(
        self,
        model: TrainedModel,
        recovery: Recovery,
        answers: Mapping[str, StructuredPredictions],
        columns: Mapping[str, Column],
        cells: Mapping[str, Sequence[Cell]],
    ) -> None:
        self._model, self._recovery, self._columns, self._cells = model, recovery, columns, cells
        self._targets = recovered_targets(model.targets)
        self._network = {
            stream: network_sketches(answers[name], target) for stream, (name, target) in self._targets.items()
        }
        self._num_rows = len(next(iter(columns.values())))

    def recovered(
        self, column: RecoveredColumn, decoder: ColumnDecoder, rows: NDArray[np.int64]
    ) -> dict[str, list[Cell]]:
        """Return the columns of cells that are made for one column of the table."""
        sketches = self._sketches(column, rows)
        name = PREFIX + column.column
        if decoder.decode is None:
            return self._retrieved(name, self._recovery.memories[column.stream], sketches, rows)
        target = self._targets[column.stream][1]
        values = target.unstandardised(sketches)[:, decoder.places]
        return {name: self._placed(decoder.decode(values), rows)}

    def _sketches(self, column: RecoveredColumn, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return standardised sketches ``[rows, D]``."""
        if column.method == NETWORK:
            return self._network[column.stream][rows]
        if column.method == RIDGE and len(rows):
            return ridge_sketches(self._model, column.group, self._columns, self._cells, rows)
        return np.zeros((len(rows), len(self._targets[column.stream][1].mean)))

    def _retrieved(
        self, name: str, memory: Memory, sketches: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> dict[str, list[Cell]]:
        places = memory.nearest(sketches)
        return {
            name: self._placed(memory.cells_of(places), rows),
            name + ROW_SUFFIX: self._placed(memory.rows[places].tolist(), rows),
        }

    def _placed(self, made: Sequence[Cell], rows: NDArray[np.int64]) -> list[Cell]:
        cells: list[Cell] = [None] * self._num_rows
        for row, cell in zip(rows.tolist(), made, strict=True):
            cells[row] = cell
        return cells


class RecoveryTeller:
    """Tells once a table how many cells were recovered, by what, and of how many rows nothing could be."""

    def __init__(self, model: TrainedModel) -> None:
        """Start counting.

        Args:
            model: The model.
        """
        self._recovery = model.recovery
        self._counts: Counter[str] = Counter()
        self._lost = 0

    def see(self, found: RecoveredCells) -> None:
        """Count the cells of a chunk.

        Args:
            found: What was recovered.
        """
        self._counts.update(found.counts)
        self._lost += found.lost

    def finish(self) -> None:
        """Warn where cells were recovered, and where nothing could be."""
        if self._recovery is None:
            return
        method_of = {column.column: column.method for column in self._recovery.columns}
        filled = [(name, count) for name, count in self._counts.most_common() if count]
        if filled:
            named = [
                f"{count:,} of {name!r} ({METHOD_PHRASES[method_of[name]]})" for name, count in filled[:MOST_NAMED]
            ]
            more = [f"{len(filled) - MOST_NAMED:,} more columns"] if len(filled) > MOST_NAMED else []
            warn(
                f"Absent cells were recovered: {', '.join([*named, *more])}. They are guesses; the report of the run "
                "says how good they are."
            )
        if self._lost:
            warn(f"{self._lost:,} rows have no present cell: nothing was recovered of them.")


METHOD_PHRASES = {
    "network": "by the network",
    "ridge": "by ridge regression",
    "mean": "typical value, as no input helps",
}
"""What recovers cells, in words."""
