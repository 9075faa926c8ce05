"""Batches of examples: decoded columns, the rows in use and the ground truth (no torch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.tables.stored_columns import take_cells
from polymodal.targets import AnyTarget, CategoryTarget, RowContext, SketchTarget, StructuredTarget

BATCH_ROWS = 256
BATCH_BYTES = 2**25
"""Most rows and bytes of an inference batch."""
IN_MEMORY_ROWS = 2**13
IN_MEMORY_BYTES = 2**28
"""Most rows and bytes of memory-mapped columns that evaluation and baselines hold in memory at once."""


@dataclass(frozen=True)
class Examples:
    """Some rows of a table with their ground truth.

    Attributes:
        columns: Stream to the arrays of the whole table.
        rows: int64, the table's rows in use, from 0.
        cells: Column to the raw cells of the whole table, for baselines and the gallery of the report.
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

    def subset(self, indices: NDArray[np.int64] | slice) -> Examples:
        """Return some of the rows in use.

        Args:
            indices: Indices into the rows in use.

        Returns:
            The same columns, fewer rows in use.
        """
        truth = {name: values[indices] for name, values in self.truth.items()}
        known = {name: mask[indices] for name, mask in self.known.items()}
        return replace(self, rows=self.rows[indices], truth=truth, known=known)

    def without_outputs(self) -> Examples:
        """Return the same rows without the precomputed outputs of frozen encoders."""
        return replace(self, columns={name: replace(column, outputs=None) for name, column in self.columns.items()})

    def sample(self, num_rows: int, seed: int, targets: Sequence[str]) -> Examples:
        """Draw a random sample of the rows; each target gets an equal share of rows in which its truth is known.

        Args:
            num_rows: How many at most; one for each target at least.
            seed: Fixes the sample.
            targets: Names of targets.

        Returns:
            Rows in their order; all of them where they are not more.
        """
        if len(self) <= num_rows:
            return self
        random, share = np.random.default_rng(seed), max(1, num_rows // len(targets))
        drawn = [random.permutation(np.flatnonzero(self.known[name]))[:share] for name in targets]
        return self.subset(np.unique(np.concatenate(drawn)))

    def chunks(self, max_rows: int | None = None) -> list[Examples]:
        """Split the rows in use into consecutive chunks, at least one, whose arrays fit into memory.

        Args:
            max_rows: Most rows of a chunk, if fewer.

        Returns:
            All rows in use, in their order.
        """
        step = max(1, min(max_rows or IN_MEMORY_ROWS, IN_MEMORY_ROWS, IN_MEMORY_BYTES // bytes_of_row(self.columns)))
        return [self.subset(slice(start, start + step)) for start in range(0, max(len(self), 1), step)]

    def columns_in_use(self) -> dict[str, Column]:
        """Return the columns with the rows in use only."""
        return {stream: column.take(self.rows) for stream, column in self.columns.items()}

    def cells_in_use(self) -> dict[str, Sequence[Cell]]:
        """Return the raw cells of the rows in use."""
        return {name: take_cells(cells, self.rows) for name, cells in self.cells.items()}

    def references(self, name: str, target: StructuredTarget, indices: NDArray[np.int64]) -> list[Cell]:
        """Return the reference values of some rows, as metrics compare them with predictions.

        Args:
            name: The target's name.
            target: The fitted target.
            indices: Indices into the rows in use; the truth is known there.

        Returns:
            One a row.
        """
        if isinstance(target, SketchTarget):  # the arrays may be dropped once a frozen encoder's outputs exist
            return list(self.truth[name][indices])
        context = self.row_context(indices)
        return target.references(context.cells.get(name, [None] * len(indices)), context)

    def row_context(self, indices: NDArray[np.int64] | None = None) -> RowContext:
        """Return the raw cells of rows, as structured targets read them.

        Args:
            indices: Indices into the rows in use; None means all of them.

        Returns:
            The cells of those rows.
        """
        rows = self.rows if indices is None else self.rows[indices]
        cells = {name: take_cells(values, rows) for name, values in self.cells.items()}
        return RowContext(cells, self.folder, self.columns, rows, shapes=shapes_of(self.columns))


def inference_batch_size(columns: Mapping[str, Column]) -> int:
    """Choose the batch size of inference: smaller where cells are large pictures.

    Args:
        columns: Stream to arrays.

    Returns:
        1 to 256.
    """
    row_bytes = sum(column.values[:1].nbytes for column in columns.values())
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))


def bytes_of_row(columns: Mapping[str, Column]) -> int:
    """Return the memory of a row, the outputs of frozen encoders included.

    Args:
        columns: Stream to arrays.

    Returns:
        At least 1; padding counts.
    """
    arrays = [array for column in columns.values() for array in (column, column.outputs) if array is not None]
    return max(1, sum(array.values[:1].nbytes for array in arrays))


def length_order(columns: Mapping[str, Column]) -> NDArray[np.int64]:
    """Sort rows by length, so that batches need little padding.

    Args:
        columns: Stream to arrays; the outputs of a frozen encoder count in place of its input.

    Returns:
        Row indices by the rising size of their texts, sounds, series and the like; the sort is stable, and without
        variable-length columns it keeps the order.
    """
    sizes = np.zeros(len(next(iter(columns.values()))), np.int64)
    for column in columns.values():
        arrays = column if column.outputs is None else column.outputs
        if arrays.lengths is not None:
            sizes += np.where(arrays.row_present, arrays.lengths, 0) * arrays.values[:1, :1].nbytes
    return np.argsort(sizes, kind="stable")


def largest_first(examples: Examples) -> NDArray[np.int64]:
    """Sort the rows in use by size, the largest first.

    Args:
        examples: The rows.

    Returns:
        int64, indices into the rows in use.
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
    used = {column: take_cells(values, rows) for column, values in cells.items()}
    context = RowContext(used, folder, columns, rows, shapes=shapes_of(columns))
    absent: list[Cell] = [None] * len(rows)
    encoded = {name: _encode_target(target, used.get(name, absent), context) for name, target in targets.items()}
    truth = {target: values for target, (values, _) in encoded.items()}
    known = {target: present for target, (_, present) in encoded.items()}
    return Examples(columns, rows, cells, truth, known, name, folder)


def _encode_target(
    target: AnyTarget, cells: Sequence[Cell], context: RowContext
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    return target.encode(cells, context) if isinstance(target, StructuredTarget) else target.encode(cells)


def sampling_probabilities(examples: Examples, targets: Mapping[str, AnyTarget]) -> NDArray[np.float64] | None:
    """Compute the probability of drawing each row so that all classes are drawn equally often.

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
    weights = np.where(known, 1.0 / counts[np.where(known, truth, 0)], 1.0 / len(truth))
    return np.asarray(weights / weights.sum())


def epoch_batches(
    num_rows: int, batch_size: int, seed: int, epoch: int, probabilities: NDArray[np.float64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Shuffle the rows and split them into batches, the same ones for the same seed and epoch.

    Args:
        num_rows: Rows to draw from.
        batch_size: Rows a batch; the last one may be smaller.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.
        probabilities: Probability of each row, to sample with replacement; None draws each row once.

    Yields:
        Row indices of one batch.
    """
    random = np.random.default_rng((seed, epoch))
    order = (
        random.permutation(num_rows) if probabilities is None else random.choice(num_rows, num_rows, p=probabilities)
    )
    for start in range(0, num_rows, batch_size):
        yield order[start : start + batch_size]
