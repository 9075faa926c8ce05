"""Columns of large tables: strings that lie on the disk and are read where they are needed."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

BLOCK = 4096
"""Cells that are read at once where a column is gone through."""
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Files:
    """A table's two files, mapped into memory.

    Attributes:
        text: All cells in UTF-8, a column of a piece of the table after the other; an absent cell has no byte.
        places: int64, for a column of a piece where its first cell begins and where each cell ends.
        starts: int64 ``[1 + pieces]``, the first row of each piece, and the number of rows.
    """

    text: mmap.mmap
    places: Rows
    starts: Rows


class StoredCells(Sequence[Cell]):
    """A column whose cells are strings or None, in the files of its table.

    The system reads what is used, and forgets it again where memory is short. A slice is a list.
    """

    def __init__(self, files: Files, pieces: Rows, rows: Rows | None = None) -> None:
        """Name the cells.

        Args:
            files: The files.
            pieces: int64, at which of the places each piece of the column begins.
            rows: int64, the table's rows that the column has, in its order; None means all.
        """
        self._files, self._pieces, self._rows = files, pieces, rows

    def __len__(self) -> int:
        """Number of cells."""
        return int(self._files.starts[len(self._pieces)]) if self._rows is None else len(self._rows)

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
            places = np.arange(*place.indices(len(self)))
            return self._read(places if self._rows is None else self._rows[places])
        if not -len(self) <= place < len(self):
            raise IndexError(f"There is no cell {place} in a column of {len(self)}.")
        first = place % len(self)
        return self[first : first + 1][0]

    def take(self, rows: Sequence[int] | Rows) -> StoredCells:
        """Return some cells, in the order asked for; nothing is read or copied.

        Args:
            rows: Places from 0.

        Returns:
            A column of those cells.
        """
        places = np.asarray(rows, np.int64)
        return StoredCells(self._files, self._pieces, places if self._rows is None else self._rows[places])

    def _read(self, rows: Rows) -> list[Cell]:
        text, places, starts = self._files.text, self._files.places, self._files.starts
        piece = np.searchsorted(starts, rows, side="right") - 1
        at = self._pieces[piece] + rows - starts[piece]
        spans = zip(places[at].tolist(), places[at + 1].tolist(), strict=True)
        return [text[start:end].decode("utf-8", "surrogatepass") if end > start else None for start, end in spans]


def take_cells(cells: Sequence[Cell], rows: Sequence[int] | Rows) -> Sequence[Cell]:
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
        Column name to all cells. A column that holds anything but strings, or begins later, is a list.

    Raises:
        OSError: If the disk is full, or there is no folder for temporary files.
    """
    with TemporaryFile() as text, TemporaryFile() as places:  # what is mapped outlives them
        writer, columns, starts = _Writer(text, places), dict[str, _Growing](), [0]
        for piece in pieces:
            length = len(next(iter(piece.values()), ()))
            for name in piece:
                if name not in columns:
                    columns[name] = _Growing([None] * starts[-1] or None)
            for name, column in columns.items():
                column.add(piece.get(name, [None] * length), writer)
            starts.append(starts[-1] + length)
        files = writer.map(np.array(starts))
        return {name: column.finish(files) for name, column in columns.items()}


@dataclass
class _Writer:
    """Two files that grow."""

    text: IO[bytes]
    places: IO[bytes]
    size: int = 0
    count: int = 0

    def write(self, cells: Sequence[Cell]) -> int:
        """Write a column of a piece; return at which of the places it begins."""
        texts = [b"" if cell is None else cell.encode("utf-8", "surrogatepass") for cell in cells]
        ends = self.size + np.cumsum([0, *map(len, texts)], dtype=np.int64)
        self.text.write(b"".join(texts))
        self.places.write(ends.tobytes())
        begin, self.size, self.count = self.count, int(ends[-1]), self.count + len(ends)
        return begin

    def map(self, starts: Rows) -> Files | None:
        """Return what was written; nothing where there is no text."""
        self.text.flush()
        self.places.flush()
        if not self.size:
            return None
        text = mmap.mmap(self.text.fileno(), self.size, access=mmap.ACCESS_READ)
        return Files(text, np.memmap(self.places, np.int64, "r"), starts)


@dataclass
class _Growing:
    """A column to which cells are added: on the disk until one comes that is no string.

    Attributes:
        rest: Cells from then on.
        pieces: At which of the places each piece before begins.
        num_stored: Cells of those pieces.
    """

    rest: list[Cell] | None
    pieces: list[int] = field(default_factory=list)
    num_stored: int = 0

    def add(self, cells: Sequence[Cell], writer: _Writer) -> None:
        """Add some cells."""
        if self.rest is None and all(cell is None or type(cell) is str for cell in cells):
            self.pieces.append(writer.write(cells))
            self.num_stored += len(cells)
        else:
            self.rest = self.rest or []
            self.rest.extend(cells)

    def finish(self, files: Files | None) -> Sequence[Cell]:
        """Return all cells."""
        stored = [None] * self.num_stored if files is None else StoredCells(files, np.array(self.pieces, np.int64))
        return stored if self.rest is None else [*stored, *self.rest]
