"""Training batches in which some cells have noise: copies of the training rows, decoded ahead of time (torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.arrays import Column, concatenate_columns
from polymodal.model.batches import Examples
from polymodal.model.collate import collate_examples
from polymodal.model.network import Batch
from polymodal.tokens import ColumnBatch

NOISY_SHARE = 0.5
"""Share of the cells of a batch that come from a copy with noise, stream by stream."""


@dataclass(frozen=True)
class NoisyCopies:
    """Copies of training rows with noise of random kinds and severities in every cell.

    Attributes:
        copies: Stream to arrays ``[N, ...]``, one mapping a copy.
        places: int64, one for each training row in use: its row in the copies, -1 where it has none.
    """

    copies: Sequence[Mapping[str, Column]]
    places: NDArray[np.int64]

    def padded(self, num_rows: int) -> NoisyCopies:
        """Return the same for more training rows in use, the last ones of which have no copy.

        Args:
            num_rows: Training rows in use.

        Returns:
            The same copies.
        """
        return NoisyCopies(self.copies, np.pad(self.places, (0, num_rows - len(self.places)), constant_values=-1))


def training_cells(examples: Examples, noisy: NoisyCopies | None, indices: NDArray[np.int64]) -> Batch:
    """Collate training rows; with copies, some cells come from a copy with noise, drawn from torch's generator.

    Args:
        examples: The training rows.
        noisy: Their copies; None of a run that is not hardened.
        indices: Indices into the rows in use.

    Returns:
        Stream to batch; cells that are absent, or absent in the copy, are those of the rows themselves.
    """
    if noisy is None:
        return collate_examples(examples, indices)
    batch: dict[str, ColumnBatch] = {}
    for stream, column in examples.columns.items():
        is_noisy = torch.rand(len(indices)).numpy() < NOISY_SHARE
        choice = torch.randint(len(noisy.copies), (len(indices),)).numpy()
        columns = [column, *(copy[stream] for copy in noisy.copies)]
        batch[stream] = _mixed(
            columns, examples.rows[indices], noisy.places[indices], np.where(is_noisy, choice + 1, 0)
        )
    return batch


def _mixed(
    columns: Sequence[Column], rows: NDArray[np.int64], places: NDArray[np.int64], choice: NDArray[np.int64]
) -> ColumnBatch:
    """Collate one stream: cell by cell from the clean column (choice 0) or from one of the copies."""
    choice = np.where((places >= 0) & columns[0].row_present[rows], choice, 0)
    for number, copy in enumerate(columns[1:], start=1):
        choice[(choice == number) & ~copy.row_present[places]] = 0
    taken = [np.flatnonzero(choice == number) for number in range(len(columns))]
    parts = [
        column.take((places if number else rows)[chosen])
        for number, (column, chosen) in enumerate(zip(columns, taken, strict=True))
        if len(chosen) or not number
    ]
    order = np.argsort(np.concatenate(taken))
    return ColumnBatch.from_column(concatenate_columns(parts), order)
