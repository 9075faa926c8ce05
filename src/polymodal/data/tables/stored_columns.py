"""Columns of large tables: strings that lie on the disk and are read where they are needed."""

from __future__ import annotations

import mmap
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

T = TypeVar("T")

BLOCK = 4096
"""Members that are read at once where a sequence is gone through."""
Rows = NDArray[np.int64]


class ReadSequence(Sequence[T]):
    """A sequence whose members are read when they are asked for; a slice is a list."""

    @abstractmethod
    def read(self, places: Rows) -> list[T]:
        """Read some members.

        Args:
            places: From 0.

        Returns:
            The members, in that order.
        """

    def __iter__(self) -> Iterator[T]:
        """Yield the members in order."""
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        """Read a member, or some."""
        if isinstance(place, slice):
            return self.read(np.arange(*place.indices(len(self))))
        return self.read(np.array([range(len(self))[place]]))[0]


@dataclass(frozen=True)
class Files:
    """A table's two files, mapped into memory.

    Attributes:
        text: All cells in UTF-8, a column of a piece of the table after the other; an absent cell has no byte.
        ends: int64, for a column of a piece where its first cell begins and where each cell ends.
        starts: int64 ``[1 + pieces]``, the first row of each piece, and the number of rows.
    """

    text: mmap.mmap | bytes
    ends: Rows
    starts: Rows


class StoredCells(ReadSequence[Cell]):
    """A column whose cells are strings or None, in the files of its table.

    The system reads what is used, and forgets it again where memory is short.
    """

    def __init__(self, files: Files, pieces: Rows, rows: Rows | None = None) -> None:
        """Name the cells.

        Args:
            files: The files.
            pieces: int64, at which of the ends each piece of the column begins.
            rows: int64, the table's rows that the column has, in its order; None means all.
        """
        self._files, self._pieces, self._rows = files, pieces, rows

    def __len__(self) -> int:
        """Number of cells."""
        return int(self._files.starts[len(self._pieces)]) if self._rows is None else len(self._rows)

    def __eq__(self, other: object) -> bool:
        """Compare with a list of cells, or with another column."""
        if not isinstance(other, list | StoredCells):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def take(self, rows: Sequence[int] | Rows) -> StoredCells:
        """Return some cells, in the order asked for; nothing is read or copied.

        Args:
            rows: Places from 0.

        Returns:
            A column of those cells.
        """
        places = np.asarray(rows, np.int64)
        return StoredCells(self._files, self._pieces, places if self._rows is None else self._rows[places])

    def read(self, places: Rows) -> list[Cell]:
        """Read some cells.

        Args:
            places: From 0.

        Returns:
            The cells, in that order.
        """
        rows = places if self._rows is None else self._rows[places]
        text, ends, starts = self._files.text, self._files.ends, self._files.starts
        piece = np.searchsorted(starts, rows, side="right") - 1
        at = self._pieces[piece] + rows - starts[piece]
        spans = zip(ends[at].tolist(), ends[at + 1].tolist(), strict=True)
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
    with TemporaryFile() as text, TemporaryFile() as ends:  # what is mapped outlives them
        writer, columns, starts = _Writer(text, ends), dict[str, _Growing](), [0]
        for piece in pieces:
            length = len(next(iter(piece.values()), ()))
            for name in [name for name in piece if name not in columns]:
                columns[name] = _Growing(rest=[None] * starts[-1] if len(starts) > 1 else None)
            for name, column in columns.items():
                column.add(piece.get(name, [None] * length), writer)
            starts.append(starts[-1] + length)
        files = writer.map(np.array(starts))
        return {name: column.finish(files) for name, column in columns.items()}


@dataclass
class _Writer:
    """Two files that grow."""

    text: IO[bytes]
    ends: IO[bytes]
    size: int = 0
    count: int = 0

    def write(self, cells: Sequence[Cell]) -> int:
        """Write a column of a piece; return at which of the ends it begins."""
        texts = [b"" if cell is None else cell.encode("utf-8", "surrogatepass") for cell in cells]
        ends = self.size + np.cumsum([0, *map(len, texts)], dtype=np.int64)
        self.text.write(b"".join(texts))
        self.ends.write(ends.tobytes())
        begin, self.size, self.count = self.count, int(ends[-1]), self.count + len(ends)
        return begin

    def map(self, starts: Rows) -> Files:
        """Return what was written; no file without any byte can be mapped."""
        self.text.flush()
        self.ends.flush()
        text = mmap.mmap(self.text.fileno(), self.size, access=mmap.ACCESS_READ) if self.size else b""
        ends = np.memmap(self.ends, np.int64, "r") if self.count else np.zeros(0, np.int64)
        return Files(text, ends, starts)


@dataclass
class _Growing:
    """A column to which cells are added: on the disk until one comes that is no string.

    Attributes:
        rest: Cells from then on.
        pieces: At which of the ends each piece before begins.
    """

    rest: list[Cell] | None
    pieces: list[int] = field(default_factory=list)

    def add(self, cells: Sequence[Cell], writer: _Writer) -> None:
        """Add some cells."""
        if self.rest is None and all(cell is None or type(cell) is str for cell in cells):
            self.pieces.append(writer.write(cells))
        else:
            self.rest = self.rest or []
            self.rest.extend(cells)

    def finish(self, files: Files) -> Sequence[Cell]:
        """Return all cells."""
        stored = StoredCells(files, np.array(self.pieces, np.int64))
        return stored if self.rest is None else [*stored, *self.rest]
