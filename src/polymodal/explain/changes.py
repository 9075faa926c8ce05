"""What would change an answer: a stream taken away, a stream of another row, and the nearest rows answered otherwise.

Near is near in the model's embedding (``Model.embed``), by cosine. Another answer is, of a class, another class; of a
label, one on the other side of 0.5; of a number, one that differs by more than a standard deviation of the training
cells; of anything else, an explained scalar below half of the row's.

Shape legend: N training rows, D width of the embedding, J near rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table, concatenate
from polymodal.explain.answers import DecodedRows, decode_rows, final_predictions, with_outputs
from polymodal.explain.explanation import Change
from polymodal.explain.outputs import Output, answers_of
from polymodal.explain.plain_cells import plain_cell
from polymodal.model.chunks import iterate_chunks
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets import CategoriesTarget, CategoryTarget, NumberTarget, StructuredTarget
from polymodal.targets.base import Prediction

MAX_TRAINING_ROWS = 1000
"""Most training rows that are searched, drawn at random."""
NEAR_ROWS = 3
"""How many near rows are shown, and of how many of them streams are swapped in."""
ABSENT_STREAMS = 10
"""How many streams, the most important ones, are taken away in turn."""
SWAPPED_STREAMS = 3
"""Of how many streams, the most important ones, another row's are tried."""


@dataclass(frozen=True)
class TrainingRows:
    """Training rows, as the model answers them.

    Attributes:
        table: The rows.
        numbers: int64 ``[N]``, their numbers in the training table, from 1.
        vectors: float32 ``[N, D]``, unit vectors.
        predictions: Target to final predictions ``[N, ...]``.
        same_folder: Whether relative paths are those of the explained table.
    """

    table: Table
    numbers: NDArray[np.int64]
    vectors: NDArray[np.float32]
    predictions: dict[str, Prediction]
    same_folder: bool

    @classmethod
    def read(
        cls, model: TrainedModel, table: Table, explained: Table, cache: ArrayCache, progress: Progress
    ) -> TrainingRows:
        """Embed and answer training rows.

        Args:
            model: The trained model.
            table: The training table; of more than ``MAX_TRAINING_ROWS`` some are drawn.
            explained: The explained table.
            cache: Cache of decoded arrays.
            progress: Reports progress.

        Returns:
            The rows.
        """
        rows = np.arange(table.num_rows)
        if len(rows) > MAX_TRAINING_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(rows, MAX_TRAINING_ROWS, replace=False))
        table = table.take(rows)
        vectors, found = [], []
        for part, check in iterate_chunks(model, table, progress, "reading training rows"):
            columns, _ = check.transform(part, cache)
            decoded = with_outputs(model, part, columns, cache)
            vectors.append(model.network.embed(decoded.columns)[0])
            found.append(final_predictions(model, decoded)[0])
        predictions = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        return cls(table, rows + 1, np.concatenate(vectors), predictions, table.folder == explained.folder)

    def nearest(
        self, vector: NDArray[np.float32], allowed: NDArray[np.bool_], count: int = NEAR_ROWS
    ) -> NDArray[np.int64]:
        """Return the nearest of some rows.

        Args:
            vector: A unit vector ``[D]``.
            allowed: bool ``[N]``.
            count: How many at most.

        Returns:
            int64, indices, the nearest first.
        """
        places = np.flatnonzero(allowed & self.vectors.any(axis=1))
        return places[np.argsort(-(self.vectors[places] @ vector), kind="stable")][:count]

    def cells(self, index: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return cells of a row as plain JSON.

        Args:
            index: From 0.
            columns: Columns, of which those that the table lacks are left out.

        Returns:
            Column to cell; files of another folder by their whole path.
        """
        folder = None if self.same_folder else self.table.folder
        known = [name for name in columns if name in self.table.columns]
        return {name: plain_cell(self.table.columns[name][index], folder) for name in known}


@dataclass(frozen=True)
class ExplainedRow:
    """One row whose changes are searched.

    Attributes:
        table: The row alone.
        vector: Its embedding, float32 ``[D]``.
        present: Its present streams, the most important ones for the output first.
        value: The explained scalar.
    """

    table: Table
    vector: NDArray[np.float32]
    present: list[str]
    value: float


class ChangeSearch:
    """Searches what would change an output."""

    def __init__(self, model: TrainedModel, training: TrainingRows | None) -> None:
        """Prepare the search.

        Args:
            model: The trained model.
            training: Training rows; without them only absent streams are tried.
        """
        self.model = model
        self.training = training

    def find(self, output: Output, row: ExplainedRow, swaps: bool = True) -> tuple[list[Change], list[int]]:
        """Find what would change an output.

        Args:
            output: The output.
            row: Its row.
            swaps: Whether streams of other rows are tried, at most ``NEAR_ROWS`` × ``SWAPPED_STREAMS``.

        Returns:
            The changes: absent streams, swaps, nearest rows; and the numbers of the nearest training rows with the
            same answer.
        """
        if not row.present:
            return [], []
        differs = self._differs(output, row.value)
        changes = self._absent(output, row, differs)
        training = self.training
        if training is None:
            return changes, []
        predictions = training.predictions[output.target]
        answers = answers_of(self.model.targets[output.target], predictions)
        scalars = [output.read(prediction) for prediction in predictions]
        others = np.array([differs(*pair) for pair in zip(answers, scalars, strict=True)], np.bool_)
        near = training.nearest(row.vector, others)
        changes += self._swaps(training, output, row, near, differs) if swaps and len(near) else []
        changes += [self._near_row(training, index, answers[index], scalars[index]) for index in near.tolist()]
        same = training.nearest(row.vector, ~others, 2 * NEAR_ROWS).tolist()
        others_like_it = [index for index in same if not self._is_same(training, row.table, index)]
        return changes, training.numbers[others_like_it[:NEAR_ROWS]].tolist()

    def _differs(self, output: Output, value: float) -> Callable[[Cell, float], bool]:
        target = self.model.targets[output.target]
        if isinstance(target, CategoryTarget):
            return lambda answer, _: bool(answer != output.answer)
        if isinstance(target, CategoriesTarget):
            return lambda _, scalar: (scalar >= 0.5) != (value >= 0.5)
        if isinstance(target, StructuredTarget):
            return lambda _, scalar: scalar < value / 2
        spread = target.std if isinstance(target, NumberTarget) else 0.0
        return lambda _, scalar: abs(scalar - value) > spread

    def _is_same(self, training: TrainingRows, row: Table, index: int) -> bool:
        """Tell whether a training row is the explained row itself."""
        names = [name for name in self.model.preprocessor.column_names if name in row.columns]
        return all(
            name in training.table.columns and _equal(row.columns[name][0], training.table.columns[name][index])
            for name in names
        )

    def _absent(self, output: Output, row: ExplainedRow, differs: Callable[[Cell, float], bool]) -> list[Change]:
        decoded = decode_rows(self.model, row.table)
        streams = row.present[:ABSENT_STREAMS]
        masks = [frozenset({stream}) for stream in streams]
        found = [of_mask[output.target] for of_mask in final_predictions(self.model, decoded, masks)]
        return [
            Change("absent", stream, None, answer, scalar)
            for stream, predictions in zip(streams, found, strict=True)
            for answer, scalar in [self._read(output, predictions, 0)]
            if differs(answer, scalar)
        ]

    def _read(self, output: Output, predictions: Prediction, index: int) -> tuple[Cell, float]:
        target = self.model.targets[output.target]
        return answers_of(target, predictions[index : index + 1])[0], output.read(predictions[index])

    def _swaps(
        self,
        training: TrainingRows,
        output: Output,
        row: ExplainedRow,
        near: NDArray[np.int64],
        differs: Callable[[Cell, float], bool],
    ) -> list[Change]:
        """Return, for each tried stream, the nearest row whose stream changes the answer."""
        streams = row.present[:SWAPPED_STREAMS]
        decoded = decode_rows(self.model, concatenate([row.table, training.table.take(near)]))
        swapped = _swapped(self.model, decoded, streams, len(near))
        predictions = final_predictions(self.model, swapped)[0][output.target]
        changes = []
        for number, stream in enumerate(streams):
            for place, index in enumerate(near.tolist()):
                if not decoded.columns[stream].row_present[1 + place]:
                    continue
                answer, scalar = self._read(output, predictions, number * len(near) + place)
                if differs(answer, scalar):
                    cells = training.cells(index, self._columns(stream))
                    changes.append(Change("swap", stream, int(training.numbers[index]), answer, scalar, cells))
                    break
        return changes

    def _near_row(self, training: TrainingRows, index: int, answer: Cell, scalar: float) -> Change:
        columns = list(dict.fromkeys(name for stream in self.model.network.streams for name in self._columns(stream)))
        number = int(training.numbers[index])
        return Change("nearest_row", None, number, answer, scalar, training.cells(index, columns))

    def _columns(self, stream: str) -> list[str]:
        return table_columns(self.model, stream)


def table_columns(model: TrainedModel, stream: str) -> list[str]:
    """Return the columns of a table that a stream is read from.

    Args:
        model: The trained model.
        stream: The stream.

    Returns:
        Columns as the user knows them: the video of a sound, the parts of a joined column.
    """
    entries = {entry.name: entry for entry in model.schema.columns}
    own = next(entry.columns for entry in model.schema.streams if entry.name == stream)
    found = (entries[name].parts or ((entries[name].source or name),) for name in own)
    return list(dict.fromkeys(name for parts in found for name in parts))


def _swapped(model: TrainedModel, decoded: DecodedRows, streams: Sequence[str], count: int) -> DecodedRows:
    """Return copies of row 0, each with one stream of one of the ``count`` rows below it, stream by stream."""
    own, others = np.zeros(count * len(streams), np.int64), np.tile(np.arange(1, count + 1), len(streams))
    of_stream = np.repeat(np.arange(len(streams)), count)
    rows = {stream: np.where(of_stream == number, others, own) for number, stream in enumerate(streams)}
    columns = {name: column.take(rows.get(name, own)) for name, column in decoded.columns.items()}
    rows_of_column = {name: rows.get(entry.name, own) for entry in model.schema.streams for name in entry.columns}
    cells = {
        name: [values[index] for index in rows_of_column.get(name, own).tolist()]
        for name, values in decoded.context.cells.items()
    }
    return DecodedRows(columns, replace(decoded.context, cells=cells))


def _equal(first: Cell, second: Cell) -> bool:
    if isinstance(first, str | int | float | bool | bytes | None):
        return type(first) is type(second) and first == second
    return first is second
