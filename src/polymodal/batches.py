"""Rows of a table as the network sees them: columns, the rows to use, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import Cell, Column
from polymodal.targets import Target
from polymodal.tokens import ColumnBatch


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
    """

    columns: Mapping[str, Column]
    rows: NDArray[np.int64]
    cells: Mapping[str, list[Cell]]
    truth: Mapping[str, NDArray[Any]]
    known: Mapping[str, NDArray[np.bool_]]
    name: str

    def __len__(self) -> int:
        """Return the number of rows in use."""
        return len(self.rows)

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

    def taken_cells(self) -> dict[str, list[Cell]]:
        """Return the raw cells narrowed to the rows in use."""
        return {name: [cells[row] for row in self.rows] for name, cells in self.cells.items()}


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
    cells: Mapping[str, list[Cell]],
    targets: Mapping[str, Target],
    rows: NDArray[np.int64],
    name: str,
) -> Examples:
    """Encode the targets of the given rows.

    Args:
        columns: Stream to the arrays of the whole table.
        cells: Column to raw cells of the whole table.
        targets: Name to fitted target.
        rows: Rows in use.
        name: The table's name.

    Returns:
        The examples.
    """
    encoded = {
        target: fitted.encode([cells[target][row] for row in rows] if target in cells else [None] * len(rows))
        for target, fitted in targets.items()
    }
    truth = {target: values for target, (values, _) in encoded.items()}
    known = {target: present for target, (_, present) in encoded.items()}
    return Examples(columns, rows, cells, truth, known, name)


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


def epoch_batches(num_rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Shuffle the rows and cut them into batches, the same ones for the same seed and epoch.

    Args:
        num_rows: Rows to draw from.
        batch_size: Rows a batch; the last one may be smaller.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.

    Yields:
        Row places of one batch.
    """
    order = np.random.default_rng((seed, epoch)).permutation(num_rows)
    for start in range(0, num_rows, batch_size):
        yield order[start : start + batch_size]
