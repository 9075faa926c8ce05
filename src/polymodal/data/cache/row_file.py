"""A ``.npy`` file that is written row by row, so that memory does not depend on the number of rows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

GROWTH_FACTOR = 2.0
"""When rows become longer, the file is rewritten with this many times the steps: the unused ones are sparse."""

DENSE_SHARE = 0.75
"""If a smaller share of the steps is used, each row is written by itself without its padding."""


class RowFile:
    """A ``.npy`` file whose rows are written in any order; rows that are not written are zeros.

    It is not memory-mapped while it is written: a full disk raises OSError instead of killing the process.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "values.npy"
        >>> with RowFile(path, (3, 1), np.dtype(np.float32), is_ragged=True) as file:
        ...     file.write(np.array([2, 0]), np.ones((2, 4), np.float32))
        >>> np.load(path)[:, : file.steps].tolist()
        [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, is_ragged: bool = False) -> None:
        """Make the file.

        Args:
            path: Where; the name ends in ``.npy``.
            shape: Of the whole array; of a ragged one, the second number is what it has at least.
            dtype: Of the whole array.
            is_ragged: Whether the second axis grows with what is written.
        """
        self.path, self.shape, self.dtype, self.is_ragged = path, shape, dtype, is_ragged
        self.steps = shape[1] if is_ragged else 0
        self._row_steps = np.zeros(shape[0] if is_ragged else 0, np.int32)
        self._step_bytes = math.prod(shape[2:]) * dtype.itemsize
        self._file, self._start = self._open(path)

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def write(self, rows: NDArray[np.int64], values: NDArray[Any], lengths: NDArray[np.int64] | None = None) -> None:
        """Write some rows.

        Args:
            rows: Where, ``[n]``; each row is written once.
            values: ``[n, ...]`` in the file's dtype; of a ragged file, with any number of steps.
            lengths: int64 ``[n]``, steps of each row that are not zero; None for all.
        """
        if self.is_ragged:
            self.steps = max(self.steps, values.shape[1])
            if self.steps > self.shape[1]:
                self._grow(int(self.steps * GROWTH_FACTOR))
            self._row_steps[rows] = values.shape[1] if lengths is None else lengths
        if lengths is not None and lengths.sum() < DENSE_SHARE * values.shape[1] * len(rows):
            parts: Iterable[tuple[int, NDArray[Any]]] = _trimmed_rows(rows, values, lengths)
        elif values.shape[1:] == self.shape[1:]:
            parts = _consecutive_rows(rows, values)
        else:
            parts = zip(rows.tolist(), values, strict=True)
        for place, part in parts:
            self._write_at(place, part)

    def _open(self, path: Path) -> tuple[IO[bytes], int]:
        file = path.open("w+b", buffering=0)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        file.truncate(start + self.shape[0] * self._row_bytes)
        return file, start

    def _write_at(self, row: int, values: NDArray[Any]) -> None:
        self._write_bytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data, row * self._row_bytes)

    def _write_bytes(self, remaining: memoryview, offset: int) -> None:
        position = self._start + offset
        while len(remaining):
            written = os.pwrite(self._file.fileno(), remaining, position)
            remaining, position = remaining[written:], position + written

    def _grow(self, steps: int) -> None:
        """Rewrite the file with more steps per row."""
        old_file, old_start, old_bytes = self._file, self._start, self._row_bytes
        self.shape = (self.shape[0], steps, *self.shape[2:])
        grown = self.path.with_suffix(".grown")
        self._file, self._start = self._open(grown)
        with old_file:
            for row in np.flatnonzero(self._row_steps).tolist():
                size = int(self._row_steps[row]) * self._step_bytes
                content = os.pread(old_file.fileno(), size, old_start + row * old_bytes)
                self._write_bytes(memoryview(content), row * self._row_bytes)
        grown.replace(self.path)


def _trimmed_rows(
    rows: NDArray[np.int64], values: NDArray[Any], lengths: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield each row without its padding, which stays a hole of the sparse file."""
    for row, value, length in zip(rows.tolist(), values, lengths.tolist(), strict=True):
        if length:
            yield row, value[:length]


def _consecutive_rows(rows: NDArray[np.int64], values: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield blocks of consecutive rows."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for part in np.split(np.arange(len(rows)), breaks):
        if len(part):
            yield int(rows[part[0]]), values[part[0] : part[-1] + 1]
