"""Decodes a column to disk block by block, copying the cells that cached columns contain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.cache.entry import CELLS_FILE, VALUES_FILE, CachedColumn, Decoded, map_values
from polymodal.data.cache.keys import CellKeys, cell_keys
from polymodal.data.cache.row_file import RowFile
from polymodal.modalities import Modality

BLOCK_BYTES = 2**26
FIRST_BLOCK_CELLS = 64
MAX_BLOCK_CELLS = 4096


def decode_column(
    modality: Modality, cells: Sequence[Cell], folder: Path | None, cache: ArrayCache, num_threads: int | None
) -> Decoded:
    """Return a column's arrays, from the cache if they are there.

    Args:
        modality: Fitted.
        cells: The column's cells.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        cache: Cache of decoded columns.
        num_threads: Number of decoding threads; None: all cores.

    Returns:
        The column and its broken cells, the same as ``modality.transform`` gives.
    """
    if cache.folder is None:
        return modality.transform(cells, folder, num_threads=num_threads)
    flags = {"is_file": modality.is_file, "is_json": modality.is_json}
    keys = cell_keys(modality.name, modality.state(), cells, folder, **flags)
    decoder = _ColumnDecoder(modality, cells, folder, keys, num_threads, cache)
    return cache.column(keys.name, decoder.decode)


@dataclass(frozen=True)
class _ColumnDecoder:
    """Decodes one column.

    Attributes:
        modality: Fitted.
        cells: The column's cells.
        folder: Base folder of relative paths.
        keys: Keys of the cells.
        num_threads: Number of decoding threads.
        cache: Cache that may contain columns with some of the cells.
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
        template, _ = self._transform([])
        num_rows = len(self.cells)
        present = np.zeros((num_rows, *template.present.shape[1:]), np.bool_)
        lengths = None if template.lengths is None else np.zeros(num_rows, np.int64)
        shape = (num_rows, *template.values.shape[1:])
        broken: list[BrokenCell] = []
        with (
            RowFile(entry / VALUES_FILE, shape, template.values.dtype, is_ragged=lengths is not None) as file,
            ThreadPoolExecutor(1) as writer,
        ):
            pending_write: Future[None] | None = None
            for first, (column, found) in self._blocks(template):
                if pending_write is not None:
                    pending_write.result()
                entry.touch()  # tells other processes that the folder is in use
                groups = self.keys.groups[first : first + len(column)]
                broken += [replace(cell, row=row + 1) for cell in found for row in groups[cell.row - 1][1]]
                rows = np.array([row for _, rows in groups for row in rows], np.int64)
                if len(rows) > len(groups):
                    column = column.take(np.repeat(np.arange(len(groups)), [len(rows) for _, rows in groups]))
                present[rows] = column.present
                if lengths is not None and column.lengths is not None:
                    lengths[rows] = column.lengths
                if first + len(groups) < len(self.keys.groups):
                    pending_write = writer.submit(file.write, rows, column.values, column.lengths)
                else:
                    file.write(rows, column.values, column.lengths)
        row_present = present if present.ndim == 1 else present.any(axis=1)
        np.save(entry / CELLS_FILE, np.where(row_present, self.keys.of_rows(), b""), allow_pickle=False)
        values = map_values(entry, None if lengths is None else file.steps)
        return Column(values, present, lengths), sorted(broken, key=lambda cell: cell.row)

    def _transform(self, cells: Sequence[Cell]) -> Decoded:
        return self.modality.transform(cells, self.folder, num_threads=self.num_threads)

    def _blocks(self, template: Column) -> Iterator[tuple[int, Decoded]]:
        """Yield columns of distinct cells, each with the index of its first cell."""
        cached_columns = list(self.cache.columns_with_prefix(self.keys.settings)) if len(self.keys.groups) else []
        first, size = 0, FIRST_BLOCK_CELLS if template.lengths is not None else _block_size(template)
        while first < len(self.keys.groups):
            block = self._block(slice(first, first + size), template, cached_columns)
            yield first, block
            first, size = first + size, _block_size(block[0])

    def _block(self, block: slice, template: Column, cached_columns: list[CachedColumn]) -> Decoded:
        """Copy the cells that cached columns contain, and decode the others."""
        digests = self.keys.digests[block]
        sources = [(cached.column, *cached.find(digests)) for cached in cached_columns]
        is_copied = np.zeros(len(digests), np.bool_)
        parts: list[tuple[NDArray[np.int64], Column]] = []
        for column, is_found, rows in sources:
            new = np.flatnonzero(is_found & ~is_copied)
            if len(new):
                is_copied[new] = True
                parts.append((new, column.take(rows[new])))
        missing = np.flatnonzero(~is_copied)
        cells = [cell for cell, _ in self.keys.groups[block]]
        decoded, broken = self._transform([cells[place] for place in missing])
        if not parts:
            return decoded, broken
        broken = [replace(cell, row=int(missing[cell.row - 1]) + 1) for cell in broken]
        return _merge(template, [*parts, (missing, decoded)], len(digests)), broken


def _block_size(column: Column) -> int:
    """Return the number of cells of a block, from the size of these."""
    cell_bytes = int(np.prod(column.values.shape[1:], dtype=np.int64)) * column.values.itemsize
    return max(16, min(MAX_BLOCK_CELLS, BLOCK_BYTES // max(cell_bytes, 1)))


def _merge(template: Column, parts: Sequence[tuple[NDArray[np.int64], Column]], num_rows: int) -> Column:
    """Merge the rows of several columns; ``template`` has the dtype, shape and minimum length of the result."""
    shape = [num_rows, *template.values.shape[1:]]
    if template.lengths is not None:
        used = [int(part.lengths.max(initial=0)) for _, part in parts if part.lengths is not None]
        shape[1] = max(shape[1], *used)
    values = np.zeros(shape, template.values.dtype)
    present = np.zeros((num_rows, *template.present.shape[1:]), np.bool_)
    lengths = None if template.lengths is None else np.zeros(num_rows, np.int64)
    for rows, part in parts:
        present[rows] = part.present
        if lengths is None or part.lengths is None:
            values[rows] = part.values
        else:
            steps = min(shape[1], part.values.shape[1])
            values[rows, :steps] = part.values[:, :steps]
            lengths[rows] = part.lengths
    return Column(values, present, lengths)
