"""What flows between encoders, fusion and targets (torch).

Shape legend: B rows of the batch, T tokens, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.arrays import Column


@dataclass(frozen=True)
class ColumnBatch:
    """Some rows of a ``Column`` as tensors.

    Attributes:
        values: ``[B, ...]`` in the modality's dtype; ragged rows padded to the longest of the batch.
        present: bool ``[B]`` or ``[B, cells]``; True where the cell is there.
        lengths: int64 ``[B]``, or None where rows are not ragged.
        is_encoded: Whether the values are a frozen encoder's outputs, no longer the modality's.
        counted: int64, the rows that are there, counted before the batch went to a device; None: not counted yet.
    """

    values: Tensor
    present: Tensor
    lengths: Tensor | None = None
    is_encoded: bool = False
    counted: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.values.shape[0])

    @property
    def row_present(self) -> Tensor:
        """True where at least one cell of the row is there: bool ``[B]``."""
        return self.present if self.present.ndim == 1 else self.present.any(dim=1)

    @property
    def rows_there(self) -> Tensor:
        """The rows of which at least one cell is there, int64; no device is waited for where they were counted."""
        return self.row_present.nonzero().squeeze(1) if self.counted is None else self.counted

    def take(self, rows: Tensor) -> ColumnBatch:
        """Return the given rows.

        Args:
            rows: int64 row indices.

        Returns:
            A batch of those rows.
        """
        lengths = None if self.lengths is None else self.lengths[rows]
        return ColumnBatch(self.values[rows], self.present[rows], lengths, self.is_encoded)

    def to(self, device: torch.device) -> ColumnBatch:
        """Return the batch on another device.

        Args:
            device: Where the tensors shall live.

        Returns:
            The batch there.
        """
        lengths = None if self.lengths is None else _moved(self.lengths, device)
        present, counted = _moved(self.present, device), _moved(self.rows_there, device)
        return ColumnBatch(_moved(self.values, device), present, lengths, self.is_encoded, counted)

    @staticmethod
    def from_column(column: Column, rows: NDArray[np.int64] | slice = slice(None)) -> ColumnBatch:
        """Turn rows of a column into tensors, cut to about the longest present row.

        Args:
            column: Numpy arrays; where a frozen encoder's outputs are there, those are taken.
            rows: Which rows; all of them by default.

        Returns:
            These rows as tensors.
        """
        is_encoded = column.outputs is not None
        column = column if column.outputs is None else column.outputs
        values, present, lengths = column.values, column.present[rows], None
        if column.lengths is not None:
            row_present = present if present.ndim == 1 else present.any(axis=1)
            lengths = np.where(row_present, column.lengths[rows], 0)
            longest = max(int(lengths.max(initial=1)), 1)
            values = values[:, : rounded_up(longest) if values.ndim == 2 else longest]  # texts come in many lengths
        return ColumnBatch(
            torch.from_numpy(np.require(values[rows], requirements=["C", "W"])),
            torch.from_numpy(np.ascontiguousarray(present)),
            None if lengths is None else torch.from_numpy(lengths),
            is_encoded,
        )


def rounded_up(count: int) -> int:
    """Round a length up by at most a sixteenth, so that few sizes of matrices occur.

    For each size, a CPU's products in bfloat16 are compiled anew: a quarter of a millisecond, twenty times a step.

    Args:
        count: At least 0.

    Returns:
        At least 1.

    Example:
        >>> rounded_up(4606), rounded_up(311)
        (4608, 320)
    """
    step: int = 2 ** max(count.bit_length() - 5, 0)
    return max(-(-count // step), 1) * step


@dataclass(frozen=True)
class DetailGrid:
    """Shape and stride of an image encoder's detail; the encoder's attribute ``detail_grid``.

    Attributes:
        shape: Rows and columns of locations.
        stride: Pixels from one location to the next; the first one is at the centre of the first ``stride`` pixels.
    """

    shape: tuple[int, int]
    stride: int


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; towards a GPU from page-locked memory, so that nobody waits for the copy."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


@dataclass(frozen=True)
class Detail:
    """Fine-grained features of a stream (image locations or time steps) for targets that need more than its tokens.

    Attributes:
        values: float ``[B, P, W]``, zeros where not present.
        present: bool ``[B, P]``.
        shape: Rows and columns of locations, row-major, with P their product; None for time steps.
    """

    values: Tensor
    present: Tensor
    shape: tuple[int, int] | None = None

    def float(self) -> Detail:
        """Return the same in float32."""
        return replace(self, values=self.values.float())


@dataclass(frozen=True)
class Tokens:
    """An encoder's output.

    Attributes:
        values: float ``[B, T, W]``.
        present: bool ``[B, T]``; True where the token is in use. A row whose cell is absent has no present
            token.
        detail: Locations or time steps, where the encoder was built with ``detail``.
    """

    values: Tensor
    present: Tensor
    detail: Detail | None = None

    def __post_init__(self) -> None:
        """Check that the tensors agree.

        Raises:
            ValueError: If dtypes or shapes do not fit each other.
        """
        if self.values.ndim != 3 or self.values.shape[:2] != self.present.shape:
            raise ValueError(f"values {tuple(self.values.shape)} and present {tuple(self.present.shape)} disagree")
        if self.present.dtype != torch.bool:
            raise ValueError(f"present must be bool, got {self.present.dtype}")

    @property
    def row_present(self) -> Tensor:
        """True where the row has at least one token: bool ``[B]``."""
        return self.present.any(dim=1)

    def pooled(self) -> Tensor:
        """Return the mean of each row's present tokens, ``[B, W]``; zeros where there are none."""
        mask = self.present.unsqueeze(-1)
        total = torch.where(mask, self.values, 0.0).sum(dim=1)
        return total / mask.sum(dim=1).clamp(min=1)

    def float(self) -> Tokens:
        """Return the same in float32."""
        detail = None if self.detail is None else self.detail.float()
        return Tokens(self.values.float(), self.present, detail)


@dataclass(frozen=True)
class Fused:
    """The output of a fusion.

    Attributes:
        pooled: float ``[B, W]``.
        tokens: All tokens after fusion, for heads that read them; None where no head does.
        weights: float ``[B, S]`` in the order of the fusion's streams, rows sum to 1 where a
            stream is present; None where the fusion has no such weights.
        details: Stream to the detail of its encoder; not present in rows in which the stream is absent or hidden.
        streams: Stream to its tokens before fusion, for objectives between streams.
    """

    pooled: Tensor
    tokens: Tokens | None
    weights: Tensor | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    streams: Mapping[str, Tokens] = field(default_factory=dict)

    def float(self) -> Fused:
        """Return the same in float32; what the streams gave it is already."""
        tokens = None if self.tokens is None else self.tokens.float()
        weights = None if self.weights is None else self.weights.float()
        return replace(self, pooled=self.pooled.float(), tokens=tokens, weights=weights)

    def read_tokens(self) -> Tokens:
        """Return all tokens.

        Returns:
            Tokens ``[B, T, W]``.

        Raises:
            ValueError: If the fusion was told that no head reads them.
        """
        if self.tokens is None:
            raise ValueError("The fusion gives no tokens: set reads_tokens on the head that reads them")
        return self.tokens
