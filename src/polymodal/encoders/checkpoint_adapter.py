"""The interface by which pretrained checkpoints of each modality are loaded and run (torch).

Shape legend: B rows of the batch, T outputs of a row, D width of an output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import Column
from polymodal.encoders.backbone import load_backbone
from polymodal.encoders.checkpoint_settings import copy_preprocessor
from polymodal.tokens import ColumnBatch


@dataclass(frozen=True, kw_only=True)
class CheckpointAdapter(ABC):
    """Loads and runs the checkpoints of one modality.

    Attributes:
        checkpoint: Folder or hub name.
        layers: Relative depths of the hidden states that are concatenated; 1 is the final output.
        modality: The modality they encode.
    """

    checkpoint: str
    layers: tuple[float, ...] = (1.0,)

    modality: ClassVar[str]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of an output: D."""

    @property
    def runs_in_one_pass(self) -> bool:
        """Whether every batch takes exactly one forward pass of the checkpoint."""
        return True

    def load(self) -> Any:
        """Return the checkpoint's module in float32."""
        return load_backbone(self.checkpoint, self.modality)

    def save_preprocessor(self, folder: Path) -> None:
        """Copy the preprocessor configuration of the checkpoint.

        Args:
            folder: The folder to write to.
        """
        copy_preprocessor(self.checkpoint, folder)

    @abstractmethod
    def run(self, backbone: Any, column: ColumnBatch) -> tuple[Tensor, Tensor]:
        """Run the checkpoint on rows that are all present.

        Args:
            backbone: Module of ``load``, of any floating-point dtype.
            column: At least one row.

        Returns:
            Outputs ``[B, T, D]``, finite everywhere, and int64 ``[B]``, how many are in use.
        """

    @abstractmethod
    def max_outputs(self, column: Column) -> int:
        """Return the maximum number of outputs of a row of a column.

        Args:
            column: The column.

        Returns:
            Maximum number of outputs per row.
        """

    @abstractmethod
    def batches(self, column: Column) -> Iterator[NDArray[np.int64]]:
        """Split the present rows of a column into batches that fit into memory.

        Args:
            column: The column.

        Returns:
            Row indices of each batch.
        """


def batches_by_length(lengths: NDArray[np.int64], max_steps: int) -> Iterator[NDArray[np.int64]]:
    """Batch rows of similar length, the longest first, to reduce padding.

    Args:
        lengths: Steps of each row; rows of length 0 are skipped.
        max_steps: Maximum number of steps of a batch, including padding.

    Yields:
        Row indices of a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, max_steps // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def row_chunks(column: Column, size: int) -> Iterator[NDArray[np.int64]]:
    """Split the present rows of a column into batches.

    Args:
        column: The column.
        size: Rows of a batch.

    Yields:
        Row indices.
    """
    rows = column.row_present.nonzero()[0]
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def lengths_in_use(column: Column) -> NDArray[np.int64]:
    """Return the number of steps of each row.

    Args:
        column: A ragged column; without lengths, all steps are in use.

    Returns:
        int64 ``[rows]``, 0 for absent rows.
    """
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    return np.where(column.row_present, lengths, 0).astype(np.int64)
