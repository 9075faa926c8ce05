"""Rows of a table as the network sees them: columns, the rows to use, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import Cell, Column
from polymodal.data.tables.stored_columns import take_cells
from polymodal.targets import AnyTarget, CategoryTarget, RowContext, SketchTarget, StructuredTarget
from polymodal.tokens import ColumnBatch

BATCH_ROWS = 256
BATCH_BYTES = 2**25
PART_ROWS = 2**13
PART_BYTES = 2**28
"""So much of the columns, which may lie on the disk, is held in memory at once where rows are judged or described."""


@dataclass(frozen=True)
class Examples:
    """Some rows of a table with their truth.

    Attributes:
        columns: Stream to the arrays of the whole table.
        rows: int64, the table's rows in use, from 0.
        cells: Column to the raw cells of the whole table, for baselines and the gallery.
        truth: Target to encoded cells of the rows in use.
        known: Target to bool, where the truth is known among the rows in use.
        name: The table's name.
        folder: Where the table's relative paths start.
    """

    columns: Mapping[str, Column]
    rows: NDArray[np.int64]
    cells: Mapping[str, Sequence[Cell]]
    truth: Mapping[str, NDArray[Any]]
    known: Mapping[str, NDArray[np.bool_]]
    name: str
    folder: Path | None = None

    def __len__(self) -> int:
        """Return the number of rows in use."""
        return len(self.rows)

    def first(self, num_rows: int) -> Examples:
        """Return the first rows in use.

        Args:
            num_rows: How many at most.

        Returns:
            The same columns, fewer rows in use.
        """
        return self.subset(slice(num_rows))

    def subset(self, places: NDArray[np.int64] | slice) -> Examples:
        """Return some of the rows in use.

        Args:
            places: Places among the rows in use, from 0.

        Returns:
            The same columns, fewer rows in use.
        """
        truth = {name: values[places] for name, values in self.truth.items()}
        known = {name: found[places] for name, found in self.known.items()}
        return replace(self, rows=self.rows[places], truth=truth, known=known)

    def without_outputs(self) -> Examples:
        """Return the same rows without what frozen encoders made of them."""
        return replace(self, columns={name: replace(column, outputs=None) for name, column in self.columns.items()})

    def sample(self, num_rows: int, seed: int, targets: Sequence[str]) -> Examples:
        """Draw rows where they are many; each target gets an equal share of rows in which its truth is known.

        Args:
            num_rows: How many at most; one for each target at least.
            seed: Fixes the choice.
            targets: Names of targets.

        Returns:
            Rows in their order; all of them where they are not more.
        """
        if len(self) <= num_rows:
            return self
        random, share = np.random.default_rng(seed), max(1, num_rows // len(targets))
        drawn = [random.permutation(np.flatnonzero(self.known[name]))[:share] for name in targets]
        return self.subset(np.unique(np.concatenate(drawn)))

    def parts(self) -> list[Examples]:
        """Cut the rows in use into stretches, at least one, whose arrays fit into memory together."""
        step = max(1, min(PART_ROWS, PART_BYTES // bytes_of_row(self.columns)))
        return [self.subset(slice(start, start + step)) for start in range(0, max(len(self), 1), step)]

    def batch(self, places: NDArray[np.int64]) -> dict[str, ColumnBatch]:
        """Return rows as tensors.

        Args:
            places: Places among the rows in use, from 0.

        Returns:
            Stream to batch.
        """
        return batch_of(self.columns, self.rows[places])

    def taken(self) -> dict[str, Column]:
        """Return the columns narrowed to the rows in use."""
        return {stream: column.take(self.rows) for stream, column in self.columns.items()}

    def taken_cells(self) -> dict[str, Sequence[Cell]]:
        """Return the raw cells narrowed to the rows in use."""
        return {name: take_cells(cells, self.rows) for name, cells in self.cells.items()}

    def taken_source(self) -> RowContext:
        """Return the raw cells of the rows in use, as structured targets read them."""
        return RowContext(self.taken_cells(), self.folder, self.columns, self.rows, shapes=shapes_of(self.columns))

    def references(self, name: str, target: StructuredTarget, places: NDArray[np.int64]) -> list[Cell]:
        """Return the true answers of some rows.

        Args:
            name: The target's name.
            target: The fitted target.
            places: Places among the rows in use in which the truth is known.

        Returns:
            One a row.
        """
        if isinstance(target, SketchTarget):  # frozen encoders' outputs have taken the place of the arrays
            return list(self.truth[name][places])
        source = self.source(places)
        return target.references(source.cells.get(name, [None] * len(places)), source)

    def source(self, places: NDArray[np.int64]) -> RowContext:
        """Return raw cells as structured targets read them.

        Args:
            places: Places among the rows in use, from 0.

        Returns:
            The cells of those rows.
        """
        rows = self.rows[places]
        taken = {name: take_cells(cells, rows) for name, cells in self.cells.items()}
        return RowContext(taken, self.folder, self.columns, rows, shapes=shapes_of(self.columns))


def rows_at_once(columns: Mapping[str, Column]) -> int:
    """Return how many rows to run together without gradients: fewer where cells are large pictures.

    Args:
        columns: Stream to arrays.

    Returns:
        1 to 256.
    """
    row_bytes = sum(column.values[:1].nbytes for column in columns.values())
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))


def bytes_of_row(columns: Mapping[str, Column]) -> int:
    """Return how much memory a row takes, what frozen encoders made of it included.

    Args:
        columns: Stream to arrays.

    Returns:
        At least 1; padding counts.
    """
    arrays = [array for column in columns.values() for array in (column, column.outputs) if array is not None]
    return max(1, sum(array.values[:1].nbytes for array in arrays))


def length_order(columns: Mapping[str, Column]) -> NDArray[np.int64]:
    """Order rows so that those of similar length follow each other and batches need little padding.

    Args:
        columns: Stream to arrays; where a frozen encoder's outputs are there, those count.

    Returns:
        Row indices by the rising size of their texts, sounds, series and the like; equal rows, and all where nothing
        is ragged, keep their order.
    """
    sizes = np.zeros(len(next(iter(columns.values()))), np.int64)
    for column in columns.values():
        read = column if column.outputs is None else column.outputs
        if read.lengths is not None:
            sizes += np.where(read.row_present, read.lengths, 0) * read.values[:1, :1].nbytes
    return np.argsort(sizes, kind="stable")


def largest_places(examples: Examples) -> NDArray[np.int64]:
    """Order the rows in use by size, the largest first.

    Args:
        examples: The rows.

    Returns:
        int64, places among the rows in use.
    """
    ranks = np.empty(len(next(iter(examples.columns.values()))), np.int64)
    ranks[length_order(examples.columns)] = np.arange(len(ranks))
    return np.argsort(-ranks[examples.rows])


def shapes_of(columns: Mapping[str, Column]) -> dict[str, tuple[int, ...]]:
    """Return the shape of one cell of each stream.

    Args:
        columns: Stream to arrays.

    Returns:
        Stream to shape, without rows.
    """
    return {stream: column.values.shape[1:] for stream, column in columns.items()}


def batch_of(columns: Mapping[str, Column], rows: NDArray[np.int64] | slice) -> dict[str, ColumnBatch]:
    """Turn rows of columns into tensors.

    Args:
        columns: Stream to arrays.
        rows: Row indices, or a slice.

    Returns:
        Stream to batch.
    """
    return {stream: ColumnBatch.from_column(column, rows) for stream, column in columns.items()}


def build_examples(
    columns: Mapping[str, Column],
    cells: Mapping[str, Sequence[Cell]],
    targets: Mapping[str, AnyTarget],
    rows: NDArray[np.int64],
    name: str,
    folder: Path | None = None,
) -> Examples:
    """Encode the targets of the given rows.

    Args:
        columns: Stream to the arrays of the whole table.
        cells: Column to raw cells of the whole table.
        targets: Name to fitted target.
        rows: Rows in use.
        name: The table's name.
        folder: Where the table's relative paths start.

    Returns:
        The examples.
    """
    taken = {column: take_cells(values, rows) for column, values in cells.items()}
    source = RowContext(taken, folder, columns, rows, shapes=shapes_of(columns))
    nothing: list[Cell] = [None] * len(rows)
    encoded = {name: encode(target, taken.get(name, nothing), source) for name, target in targets.items()}
    truth = {target: values for target, (values, _) in encoded.items()}
    known = {target: present for target, (_, present) in encoded.items()}
    return Examples(columns, rows, cells, truth, known, name, folder)


def encode(target: AnyTarget, cells: Sequence[Cell], source: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Encode a target's cells.

    Args:
        target: The fitted target.
        cells: Its cells.
        source: The other columns of the same rows.

    Returns:
        Truth ``[rows, ...]`` and, bool ``[rows]``, where it is known.
    """
    return target.encode(cells, source) if isinstance(target, StructuredTarget) else target.encode(cells)


def rows_present(examples: Examples, streams: tuple[str, ...], places: NDArray[np.int64]) -> Tensor:
    """Tell where each stream is there.

    Args:
        examples: The examples.
        streams: Order of the result's columns.
        places: Places among the rows in use.

    Returns:
        bool ``[B, S]``.
    """
    columns = [examples.columns[stream] for stream in streams]
    found = [column if column.outputs is None else column.outputs for column in columns]
    rows = [column.present[examples.rows[places]] for column in found]
    return torch.from_numpy(np.stack([row if row.ndim == 1 else row.any(axis=1) for row in rows], axis=1))


def truth_batch(examples: Examples, places: NDArray[np.int64]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the truth of some rows as tensors.

    Args:
        examples: The examples.
        places: Places among the rows in use.

    Returns:
        Target to truth and, bool ``[B]``, where it is known.
    """
    return {
        target: (torch.from_numpy(values[places]), torch.from_numpy(examples.known[target][places]))
        for target, values in examples.truth.items()
    }


def row_chances(examples: Examples, targets: Mapping[str, AnyTarget]) -> NDArray[np.float64] | None:
    """Compute with which chance each row is drawn so that all classes come equally often.

    Args:
        examples: The training rows.
        targets: Name to fitted target; the first category counts.

    Returns:
        float64 ``[rows]`` that sum to one, or None where no target is a category.
    """
    name = next((name for name, target in targets.items() if isinstance(target, CategoryTarget)), None)
    if name is None:
        return None
    truth, known = examples.truth[name], examples.known[name]
    counts = np.maximum(np.bincount(truth[known], minlength=1), 1)
    chances = np.where(known, 1.0 / counts[np.where(known, truth, 0)], 1.0 / len(truth))
    return np.asarray(chances / chances.sum())


def epoch_batches(
    num_rows: int, batch_size: int, seed: int, epoch: int, chances: NDArray[np.float64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Shuffle the rows and cut them into batches, the same ones for the same seed and epoch.

    Args:
        num_rows: Rows to draw from.
        batch_size: Rows a batch; the last one may be smaller.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.
        chances: Chance of each row, to draw with replacement; None takes each row once.

    Yields:
        Row places of one batch.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(num_rows) if chances is None else random.choice(num_rows, num_rows, p=chances)
    for start in range(0, num_rows, batch_size):
        yield order[start : start + batch_size]
