"""Columns of strings of large tables in a memory-mapped file, read on access."""

from __future__ import annotations

import mmap
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import is_absent

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

BLOCK = 4096
"""Number of members that are read at once in an iteration."""
FEW = 512
"""Fewer members than this are read one by one."""
Rows = NDArray[np.int64]


class ReadSequence(Sequence[T]):
    """A sequence whose members are read on access; a slice is a list."""

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


class StoredCells(ReadSequence[Cell]):
    """A column whose cells are strings or None, in a temporary file that is mapped into memory.

    The operating system loads pages on access and drops them if memory is short.
    """

    def __init__(self, column: pa.ChunkedArray, rows: Rows | None = None) -> None:
        """Store the column and the rows.

        Args:
            column: Strings, of which the buffers are mapped.
            rows: int64, indices into the column; None: all.
        """
        self._column, self._rows = column, rows
        self._chunks = column.chunks
        self._starts = np.cumsum([0, *map(len, self._chunks)])

    def __len__(self) -> int:
        """Number of cells."""
        return len(self._column) if self._rows is None else len(self._rows)

    def __eq__(self, other: object) -> bool:
        """Compare with a list of cells, or with another column."""
        if not isinstance(other, list | StoredCells):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def take(self, rows: Sequence[int] | Rows) -> StoredCells:
        """Return some cells, in the given order; nothing is read or copied.

        Args:
            rows: Indices from 0.

        Returns:
            A column of those cells.
        """
        places = np.asarray(rows, np.int64)
        return StoredCells(self._column, places if self._rows is None else self._rows[places])

    def read(self, places: Rows) -> list[Cell]:
        """Read some cells: few one by one, many chunk by chunk (Arrow's ``take`` would copy all chunks into one first).

        Args:
            places: From 0.

        Returns:
            The cells, in that order.
        """
        rows = places if self._rows is None else self._rows[places]
        chunk_of = np.searchsorted(self._starts, rows, side="right") - 1
        rows = rows - self._starts[chunk_of]
        if len(rows) < FEW:
            pairs = zip(chunk_of.tolist(), rows.tolist(), strict=True)
            return [self._chunks[number][row].as_py() for number, row in pairs]
        cells = np.empty(len(rows), object)
        for number in np.unique(chunk_of):
            here = chunk_of == number
            cells[here] = self._chunks[number].take(rows[here]).to_numpy(zero_copy_only=False)
        return cells.tolist()


class JoinedCells(ReadSequence[Cell]):
    """Several columns as one: each cell is a tuple of theirs, or None where all of them are absent."""

    def __init__(self, columns: Sequence[Sequence[Cell]]) -> None:
        """Name the columns.

        Args:
            columns: Equally long; at least one.
        """
        self._columns = columns

    def __len__(self) -> int:
        """Number of cells."""
        return len(self._columns[0])

    def take(self, rows: Sequence[int] | Rows) -> JoinedCells:
        """Return some cells, in the order asked for.

        Args:
            rows: Places from 0.

        Returns:
            A column of those cells.
        """
        return JoinedCells([take_cells(cells, rows) for cells in self._columns])

    def read(self, places: Rows) -> list[Cell]:
        """Read some cells.

        Args:
            places: From 0.

        Returns:
            The cells, in that order.
        """
        rows = zip(*(take_cells(cells, places) for cells in self._columns), strict=True)
        return [None if all(map(is_absent, row)) else row for row in rows]


class ReadCells(ReadSequence[Cell]):
    """A column each cell of which is read in another way, when it is asked for."""

    def __init__(self, cells: Sequence[Cell], convert: Callable[[Cell], Cell]) -> None:
        """Name the column and what is done with its cells.

        Args:
            cells: The column.
            convert: Makes a cell of a cell.
        """
        self._cells, self._convert = cells, convert

    def __len__(self) -> int:
        """Number of cells."""
        return len(self._cells)

    def take(self, rows: Sequence[int] | Rows) -> ReadCells:
        """Return some cells, in the order asked for.

        Args:
            rows: Places from 0.

        Returns:
            A column of those cells.
        """
        return ReadCells(take_cells(self._cells, rows), self._convert)

    def read(self, places: Rows) -> list[Cell]:
        """Read some cells.

        Args:
            places: From 0.

        Returns:
            The cells, in that order.
        """
        return [self._convert(cell) for cell in take_cells(self._cells, places)]


def take_cells(cells: Sequence[Cell], rows: Sequence[int] | Rows) -> Sequence[Cell]:
    """Return some cells of a column, in the given order.

    Args:
        cells: The column.
        rows: Indices from 0.

    Returns:
        A list, or a column of the same kind where the whole one is read from the disk or from other columns.
    """
    return (
        cells.take(rows) if isinstance(cells, StoredCells | JoinedCells | ReadCells) else [cells[row] for row in rows]
    )


def store_columns(pieces: Iterable[Mapping[str, list[Cell]]]) -> dict[str, Sequence[Cell]]:
    """Concatenate chunks of a table; columns of strings are stored in a temporary Arrow file.

    Without pyarrow they stay in memory.

    Args:
        pieces: Column name to cells of the next rows; a column that a chunk lacks is absent in it.

    Returns:
        Column name to all cells. A column that contains anything but strings, or is missing in the first chunk, is a
        list.

    Raises:
        OSError: If the disk is full, or there is no folder for temporary files.
    """
    pieces = iter(pieces)
    first = next(pieces, {})
    if find_spec("pyarrow") is None:
        return _lists(first, pieces)
    import pyarrow as pa

    lists: dict[str, list[Cell]] = {}
    num_rows = 0
    with TemporaryFile() as file:  # the memory map outlives it
        schema = pa.schema([(name, pa.large_string()) for name in first])
        with pa.ipc.new_stream(file, schema) as writer:
            for piece in chain([first], pieces):
                length = len(next(iter(piece.values()), ()))
                lists |= {name: [None] * num_rows for name in piece if name not in first and name not in lists}
                for name in lists:
                    lists[name].extend(piece.get(name, [None] * length))
                arrays = [_array(name, piece.get(name), length, lists) for name in first]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                num_rows += length
        stored = _map_table(file)
    return {name: _joined(stored, name, num_rows, lists.get(name)) for name in dict.fromkeys([*first, *lists])}


def _lists(first: Mapping[str, list[Cell]], pieces: Iterable[Mapping[str, list[Cell]]]) -> dict[str, Sequence[Cell]]:
    """Concatenate chunks in memory, where pyarrow is not installed."""
    num_rows = len(next(iter(first.values()), ()))
    lists = {name: list(cells) for name, cells in first.items()}
    for piece in pieces:
        length = len(next(iter(piece.values()), ()))
        for name in dict.fromkeys([*lists, *piece]):
            lists.setdefault(name, [None] * num_rows).extend(piece.get(name, [None] * length))
        num_rows += length
    return dict(lists)


def _array(name: str, cells: list[Cell] | None, length: int, lists: dict[str, list[Cell]]) -> pa.Array:
    """Return a column of a chunk for the file; nulls if it cannot store the cells, which are then added to a list."""
    import pyarrow as pa

    if cells is not None and name not in lists:
        if all(cell is None or type(cell) is str for cell in cells):
            with suppress(UnicodeEncodeError, pa.ArrowInvalid):  # a lone surrogate is not valid text for Arrow
                return pa.array(cells, pa.large_string())
        lists[name] = list(cells)
    return pa.nulls(length, pa.large_string())


def _map_table(file: IO[bytes]) -> pa.Table:
    import pyarrow as pa

    file.flush()
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(mapped))).read_all()


def _joined(stored: pa.Table, name: str, num_rows: int, rest: list[Cell] | None) -> Sequence[Cell]:
    """Return a column: the rows in the file, then those in a list."""
    if rest is None:
        return StoredCells(stored.column(name))
    num_stored = num_rows - len(rest)
    return [*StoredCells(stored.column(name).slice(0, num_stored)), *rest] if num_stored else rest
