"""Columns of large tables: strings that lie on the disk and are read where they are needed."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from tempfile import TemporaryFile
from typing import overload

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

BLOCK = 4096
"""Cells that are read at once where a column is gone through."""


class StoredCells(Sequence[Cell]):
    """A column whose cells are strings or None, in a file of UTF-8 text and a file of places; both mapped into memory.

    The system reads what is used, and forgets it again where memory is short. A slice is a list.
    """

    def __init__(self, text: mmap.mmap, ends: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> None:
        """Name the files.

        Args:
            text: All cells, one after the other; an absent one has no byte.
            ends: int64 ``[1 + cells]``: 0, and where each cell ends.
            rows: int64, the cells that belong to the column, in its order; None means all.
        """
        self._text, self._ends, self._rows = text, ends, rows

    def __len__(self) -> int:
        """Number of cells."""
        return len(self._ends) - 1 if self._rows is None else len(self._rows)

    def __iter__(self) -> Iterator[Cell]:
        """Yield the cells in order."""
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    def __eq__(self, other: object) -> bool:
        """Compare with a list of cells, or with another column."""
        if not isinstance(other, list | StoredCells):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list's

    @overload
    def __getitem__(self, place: int) -> Cell: ...

    @overload
    def __getitem__(self, place: slice) -> list[Cell]: ...

    def __getitem__(self, place: int | slice) -> Cell | list[Cell]:
        """Read a cell, or some."""
        if isinstance(place, slice):
            return self._read(place)
        if not -len(self) <= place < len(self):
            raise IndexError(f"There is no cell {place} in a column of {len(self)}.")
        (cell,) = self._read(slice(place % len(self), place % len(self) + 1))
        return cell

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> StoredCells:
        """Return some cells, in the order asked for; nothing is read or copied.

        Args:
            rows: Places from 0.

        Returns:
            A column of those cells.
        """
        places = np.asarray(rows, np.int64)
        return StoredCells(self._text, self._ends, places if self._rows is None else self._rows[places])

    def _read(self, places: slice) -> list[Cell]:
        if self._rows is None and places.step in (None, 1):
            first, last, _ = places.indices(len(self))
            marks = self._ends[first : max(first, last) + 1].tolist()
            spans: Iterable[tuple[int, int]] = pairwise(marks)
        else:
            rows = np.arange(len(self))[places] if self._rows is None else self._rows[places]
            spans = zip(self._ends[rows].tolist(), self._ends[rows + 1].tolist(), strict=True)
        return [self._text[start:end].decode("utf-8", "surrogatepass") if end > start else None for start, end in spans]


def take_cells(cells: Sequence[Cell], rows: Sequence[int] | NDArray[np.int64]) -> Sequence[Cell]:
    """Return some cells of a column, in the order asked for.

    Args:
        cells: The column.
        rows: Places from 0.

    Returns:
        A list, or a column on the disk where the whole one is.
    """
    return cells.take(rows) if isinstance(cells, StoredCells) else [cells[row] for row in rows]


def store_columns(pieces: Iterable[Mapping[str, list[Cell]]]) -> dict[str, Sequence[Cell]]:
    """Put pieces of a table below each other, on the disk where their cells are strings.

    Args:
        pieces: Column name to cells of the next rows; a column that a piece lacks is absent in it.

    Returns:
        Column name to all cells. A column that holds anything but strings is a list.

    Raises:
        OSError: If the disk is full, or there is no folder for temporary files.
    """
    columns: dict[str, _Growing] = {}
    num_rows = 0
    for piece in pieces:
        for name in piece:
            if name not in columns:
                columns[name] = _Growing()
                columns[name].add([None] * num_rows)
        length = len(next(iter(piece.values()), ()))
        for name, column in columns.items():
            column.add(piece[name] if name in piece else [None] * length)
        num_rows += length
    return {name: column.finish() for name, column in columns.items()}


class _Growing:
    """A column to which cells are added: on the disk until one comes that is no string."""

    def __init__(self) -> None:
        self._text, self._ends = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - what is mapped outlives them
        self._ends.write(np.zeros(1, np.int64).tobytes())
        self._size = 0
        self._list: list[Cell] | None = None

    def add(self, cells: Sequence[Cell]) -> None:
        """Write some cells."""
        if self._list is None and not all(cell is None or type(cell) is str for cell in cells):
            self._list = list(self.finish())
        if self._list is not None:
            self._list.extend(cells)
            return
        texts = [b"" if cell is None else cell.encode("utf-8", "surrogatepass") for cell in cells]
        ends = self._size + np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._text.write(b"".join(texts))
        self._ends.write(ends.tobytes())
        self._size = int(ends[-1]) if len(ends) else self._size

    def finish(self) -> Sequence[Cell]:
        """Return all cells; a column without any text is a list."""
        if self._list is not None:
            return self._list
        with self._text, self._ends:
            self._text.flush()
            self._ends.flush()
            ends: NDArray[np.int64] = np.memmap(self._ends, np.int64, "r")
            if not self._size:
                return [None] * (len(ends) - 1)
            return StoredCells(mmap.mmap(self._text.fileno(), self._size, access=mmap.ACCESS_READ), ends)
