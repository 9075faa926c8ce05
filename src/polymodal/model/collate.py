"""Collation of rows of columns, and of their ground truth, into tensors (torch)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import Column
from polymodal.model.batches import Examples
from polymodal.tokens import ColumnBatch


def collate(columns: Mapping[str, Column], rows: NDArray[np.int64] | slice) -> dict[str, ColumnBatch]:
    """Collate rows of columns into tensors.

    Args:
        columns: Stream to arrays.
        rows: Row indices, or a slice.

    Returns:
        Stream to batch.
    """
    return {stream: ColumnBatch.from_column(column, rows) for stream, column in columns.items()}


def presence_mask(examples: Examples, streams: tuple[str, ...], indices: NDArray[np.int64]) -> Tensor:
    """Return the mask of present streams.

    Args:
        examples: The examples.
        streams: Order of the result's columns.
        indices: Indices into the rows in use.

    Returns:
        bool ``[B, S]``; True where the stream is present.
    """
    columns = [examples.columns[stream] for stream in streams]
    inputs = [column if column.outputs is None else column.outputs for column in columns]
    masks = [column.present[examples.rows[indices]] for column in inputs]
    return torch.from_numpy(np.stack([mask if mask.ndim == 1 else mask.any(axis=1) for mask in masks], axis=1))


def truth_batch(examples: Examples, indices: NDArray[np.int64]) -> dict[str, tuple[Tensor, Tensor]]:
    """Collate the ground truth of some rows into tensors.

    Args:
        examples: The examples.
        indices: Indices into the rows in use.

    Returns:
        Target to truth and, bool ``[B]``, where it is known.
    """
    return {
        target: (torch.from_numpy(values[indices]), torch.from_numpy(examples.known[target][indices]))
        for target, values in examples.truth.items()
    }


def collate_examples(examples: Examples, indices: NDArray[np.int64] | slice) -> dict[str, ColumnBatch]:
    """Collate rows in use into tensors.

    Args:
        examples: The examples.
        indices: Indices into the rows in use.

    Returns:
        Stream to batch.
    """
    return collate(examples.columns, examples.rows[indices])
