"""Decoding a whole column: block by block onto the disk, and only the cells that no earlier column holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.cache.entry import CELLS_FILE, VALUES_FILE, Decoded, Kept, map_values
from polymodal.data.cache.keys import CellKeys, cell_keys
from polymodal.data.cache.row_file import RowFile
from polymodal.modalities import Modality

BLOCK_BYTES = 2**26
FIRST_BLOCK = 64
LARGEST_BLOCK = 4096


def decode_column(
    modality: Modality, cells: Sequence[Cell], folder: Path | None, cache: ArrayCache, num_threads: int | None
) -> Decoded:
    """Return a column's arrays, from the cache where it has them.

    Args:
        modality: Fitted.
        cells: The column's cells.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        cache: Where decoded columns are kept.
        num_threads: Number of decoding threads; None: all cores.

    Returns:
        The column and its broken cells, the same as ``modality.transform`` gives.
    """
    if cache.folder is None:
        return modality.transform(cells, folder, num_threads=num_threads)
    facts = {"is_file": modality.is_file, "is_json": modality.is_json}
    keys = cell_keys(modality.name, modality.state(), cells, folder, **facts)
    job = _Job(modality, cells, folder, keys, num_threads, cache)
    return cache.column(keys.name, job.decode)


@dataclass(frozen=True)
class _Job:
    """One column to decode.

    Attributes:
        modality: Fitted.
        cells: The column's cells.
        folder: Base folder of relative paths.
        keys: What the cells are known by.
        num_threads: Number of decoding threads.
        cache: Where earlier columns lie.
    """

    modality: Modality
    cells: Sequence[Cell]
    folder: Path | None
    keys: CellKeys
    num_threads: int | None
    cache: ArrayCache

    def decode(self, entry: Path | None) -> Decoded:
        """Decode the column.

        Args:
            entry: Folder to write the values to; None keeps them in memory.

        Returns:
            The column, its values memory-mapped from that folder, and the broken cells.
        """
        if entry is None:
            return self._transform(self.cells)
        form, _ = self._transform([])
        num_rows = len(self.cells)
        present = np.zeros((num_rows, *form.present.shape[1:]), np.bool_)
        lengths = None if form.lengths is None else np.zeros(num_rows, np.int64)
        shape = (num_rows, *form.values.shape[1:])
        broken: list[BrokenCell] = []
        with (
            RowFile(entry / VALUES_FILE, shape, form.values.dtype, is_ragged=lengths is not None) as file,
            ThreadPoolExecutor(1) as writer,
        ):
            writing: Future[None] | None = None
            for first, (column, found) in self._blocks(form):
                if writing is not None:
                    writing.result()
                entry.touch()  # shows other processes that this one is at work
                groups = self.keys.groups[first : first + len(column)]
                broken += [replace(cell, row=row + 1) for cell in found for row in groups[cell.row - 1][1]]
                rows = np.array([row for _, rows in groups for row in rows], np.int64)
                if len(rows) > len(groups):
                    column = column.take(np.repeat(np.arange(len(groups)), [len(rows) for _, rows in groups]))
                present[rows] = column.present
                if lengths is not None and column.lengths is not None:
                    lengths[rows] = column.lengths
                if first + len(groups) < len(self.keys.groups):
                    writing = writer.submit(file.write, rows, column.values, column.lengths)
                else:
                    file.write(rows, column.values, column.lengths)
        row_present = present if present.ndim == 1 else present.any(axis=1)
        np.save(entry / CELLS_FILE, np.where(row_present, self.keys.of_rows(), b""), allow_pickle=False)
        values = map_values(entry, None if lengths is None else file.steps)
        return Column(values, present, lengths), sorted(broken, key=lambda cell: cell.row)

    def _transform(self, cells: Sequence[Cell]) -> Decoded:
        return self.modality.transform(cells, self.folder, num_threads=self.num_threads)

    def _blocks(self, form: Column) -> Iterator[tuple[int, Decoded]]:
        """Yield the distinct cells as columns, and the number of each one's first cell."""
        earlier = list(self.cache.columns_like(self.keys.settings)) if len(self.keys.groups) else []
        first, size = 0, FIRST_BLOCK if form.lengths is not None else _block_size(form)
        while first < len(self.keys.groups):
            block = self._block(slice(first, first + size), form, earlier)
            yield first, block
            first, size = first + size, _block_size(block[0])

    def _block(self, places: slice, form: Column, earlier: list[Kept]) -> Decoded:
        """Copy the cells that earlier columns hold, and decode the others."""
        digests = self.keys.digests[places]
        sources = [(kept.column, *kept.find(digests)) for kept in earlier]
        known = np.zeros(len(digests), np.bool_)
        parts: list[tuple[NDArray[np.int64], Column]] = []
        for column, is_found, rows in sources:
            new = np.flatnonzero(is_found & ~known)
            if len(new):
                known[new] = True
                parts.append((new, column.take(rows[new])))
        unknown = np.flatnonzero(~known)
        cells = [cell for cell, _ in self.keys.groups[places]]
        decoded, broken = self._transform([cells[place] for place in unknown])
        if not parts:
            return decoded, broken
        broken = [replace(cell, row=int(unknown[cell.row - 1]) + 1) for cell in broken]
        return _merge(form, [*parts, (unknown, decoded)], len(digests)), broken


def _block_size(column: Column) -> int:
    """Return how many cells like these to decode at once."""
    cell_bytes = int(np.prod(column.values.shape[1:], dtype=np.int64)) * column.values.itemsize
    return max(16, min(LARGEST_BLOCK, BLOCK_BYTES // max(cell_bytes, 1)))


def _merge(form: Column, parts: Sequence[tuple[NDArray[np.int64], Column]], num_rows: int) -> Column:
    """Put the rows of several columns into one; ``form`` has the shape, dtype and least steps of the result."""
    shape = [num_rows, *form.values.shape[1:]]
    if form.lengths is not None:
        used = [int(part.lengths.max(initial=0)) for _, part in parts if part.lengths is not None]
        shape[1] = max(shape[1], *used)
    values = np.zeros(shape, form.values.dtype)
    present = np.zeros((num_rows, *form.present.shape[1:]), np.bool_)
    lengths = None if form.lengths is None else np.zeros(num_rows, np.int64)
    for rows, part in parts:
        present[rows] = part.present
        if lengths is None or part.lengths is None:
            values[rows] = part.values
        else:
            steps = min(shape[1], part.values.shape[1])
            values[rows, :steps] = part.values[:, :steps]
            lengths[rows] = part.lengths
    return Column(values, present, lengths)
