"""Arrays of cells: the form in which every modality reaches the encoders (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cell = Any
"""One value of a table: number, string, path, bytes, array, picture, or None where it is absent."""


@dataclass(frozen=True)
class BrokenCell:
    """A cell that is there but cannot be decoded; it counts as absent.

    Attributes:
        row: Row in its table, counted from 1.
        column: Name of the column; empty until the caller that knows it fills it in.
        reason: One clause: what is wrong with the cell.
    """

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class Column:
    """The cells of one stream as arrays.

    Attributes:
        values: ``[rows, ...]``; ragged modalities are padded to ``[rows, length, ...]``.
            What stands in an absent cell has no meaning and is never read.
        present: bool; True where the cell is there. ``[rows]``, or ``[rows, cells]`` for a stream
            that holds several cells a row (``values`` is then ``[rows, cells]`` too).
        lengths: int64 ``[rows]``, the steps in use of each row; None where rows are not ragged.
        outputs: What a frozen encoder made of the cells ahead of time; the network then reads it in
            place of the values, which the baselines go on reading.
    """

    values: NDArray[Any]
    present: NDArray[np.bool_]
    lengths: NDArray[np.int64] | None = None
    outputs: Column | None = None

    def __post_init__(self) -> None:
        """Check that the arrays agree.

        Raises:
            ValueError: If dtypes or shapes do not fit each other.
        """
        if self.present.dtype != np.bool_:
            raise ValueError(f"present must be bool, got {self.present.dtype}")
        if self.values.shape[: self.present.ndim] != self.present.shape:
            raise ValueError(f"present {self.present.shape} does not lead values {self.values.shape}")
        if self.lengths is not None:
            self._check_lengths(self.lengths)
        if self.outputs is not None and len(self.outputs) != len(self):
            raise ValueError(f"outputs have {len(self.outputs)} rows, values {len(self)}")

    def _check_lengths(self, lengths: NDArray[np.int64]) -> None:
        if lengths.shape != (len(self),):
            raise ValueError(f"lengths {lengths.shape} must be [{len(self)}]")
        if len(lengths) and (lengths.min() < 0 or lengths.max() > self.values.shape[1]):
            raise ValueError(f"lengths must lie in 0..{self.values.shape[1]}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.values.shape[0])

    @property
    def row_present(self) -> NDArray[np.bool_]:
        """True where at least one cell of the row is there: bool ``[rows]``."""
        return self.present if self.present.ndim == 1 else np.asarray(self.present.any(axis=1))

    def take(self, rows: NDArray[np.int64] | slice) -> Column:
        """Return the given rows, in the order asked for.

        Args:
            rows: Row indices from 0, or a slice.

        Returns:
            A column of those rows.
        """
        lengths = None if self.lengths is None else self.lengths[rows]
        outputs = None if self.outputs is None else self.outputs.take(rows)
        return Column(self.values[rows], self.present[rows], lengths, outputs)

    def without(self, absent: NDArray[np.bool_]) -> Column:
        """Return the column with some rows made absent.

        Args:
            absent: bool ``[rows]``; True where the row's cells are taken away.

        Returns:
            The same values under a smaller ``present``.
        """
        keep = ~absent if self.present.ndim == 1 else ~absent[:, None]
        outputs = None if self.outputs is None else self.outputs.without(absent)
        return Column(self.values, self.present & keep, self.lengths, outputs)


def concatenate_columns(parts: Sequence[Column]) -> Column:
    """Put the rows of columns of one stream below each other.

    Args:
        parts: At least one; of ragged columns each may be padded to another length.

    Returns:
        All rows, padded to the longest; with the outputs of frozen encoders where every part has them.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    present = np.concatenate([part.present for part in parts])
    of_encoders = [part.outputs for part in parts if part.outputs is not None]
    outputs = concatenate_columns(of_encoders) if len(of_encoders) == len(parts) else None
    if first.lengths is None:
        return Column(np.concatenate([part.values for part in parts]), present, None, outputs)
    steps = max(part.values.shape[1] for part in parts)
    values = np.zeros((len(present), steps, *first.values.shape[2:]), first.values.dtype)
    start = 0
    for part in parts:
        values[start : start + len(part), : part.values.shape[1]] = part.values
        start += len(part)
    lengths = np.concatenate([part.lengths for part in parts if part.lengths is not None])
    return Column(values, present, lengths, outputs)


def arrays_under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with a prefix, without it.

    Args:
        arrays: Name to array.
        prefix: What the names begin with.

    Returns:
        Name to array.
    """
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def put_under(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return arrays with a prefix before their names, as ``arrays_under`` finds them.

    Args:
        arrays: Name to array.
        prefix: What the names begin with.

    Returns:
        Name to array.
    """
    return {f"{prefix}{name}": array for name, array in arrays.items()}
