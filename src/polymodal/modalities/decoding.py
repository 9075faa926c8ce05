"""Decoding of a column's cells, each distinct cell once and on all cores, into one array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import is_absent_media, try_decode, unwrap
from polymodal.modalities.parallel import chunked, parallel_map, shared_memory_zeros

T = TypeVar("T")

CHUNK_SIZE = 16
"""Cells that are decoded at a time."""

DecodeResult = NDArray[Any] | CellReadError | None
"""A decoded array, the reason why decoding failed, or None for a cell that turns out to be absent."""
BatchDecoder = Callable[[list[Cell]], Sequence[DecodeResult]]
CellRows = tuple[Cell, list[int]]
"""A cell and the rows that hold it."""


def map_cells(decode: Callable[[Cell], T]) -> Callable[[list[Cell]], list[T | CellReadError]]:
    """Turn a decoder of one cell into a decoder of a batch of cells.

    Args:
        decode: Decodes a cell; an exception marks this cell alone as broken.

    Returns:
        The decoder of a batch.
    """
    return lambda cells: [try_decode(decode, cell) for cell in cells]


def decode_fixed(
    cells: Sequence[Cell],
    decode_cells: BatchDecoder,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    num_threads: int | None,
    *,
    chunk_size: int = CHUNK_SIZE,
    has_lengths: bool = False,
) -> tuple[Column, list[BrokenCell]]:
    """Decode cells into an array of fixed shape.

    Args:
        cells: Any cells; absent ones stay zero.
        decode_cells: Decodes a batch of cells.
        shape: Shape of a decoded cell.
        dtype: Dtype of the array.
        num_threads: Number of processes or threads; None: all cores.
        chunk_size: Cells per call of ``decode_cells``.
        has_lengths: Whether the first axis of a cell may be shorter than in ``shape``.

    Returns:
        Values ``[rows, *shape]``, with lengths where asked for; and the broken cells.
    """
    groups = unique_cells(cells)
    is_parallel = num_threads != 1 and len(groups) > chunk_size
    values = (shared_memory_zeros if is_parallel else np.zeros)((len(cells), *shape), dtype)
    steps = parallel_map(partial(_decode_into, values, decode_cells), groups, num_threads, chunk_size)
    return _build_column(values, groups, steps, has_lengths)


def decode_ragged(
    cells: Sequence[Cell],
    decode_cells: BatchDecoder,
    step_shape: tuple[int, ...],
    dtype: DTypeLike,
    num_threads: int | None,
) -> tuple[Column, list[BrokenCell]]:
    """Decode cells of different lengths into an array that is padded to the longest.

    Args:
        cells: Any cells; absent ones stay zero.
        decode_cells: Decodes a batch of cells.
        step_shape: Shape of one step of a decoded cell.
        dtype: Dtype of the array.
        num_threads: Number of processes or threads; None: all cores.

    Returns:
        Values ``[rows, steps, *step_shape]`` with lengths, one step at least; and the broken cells.
    """
    groups = unique_cells(cells)
    decoded = list(parallel_map(decode_cells, [cell for cell, _ in groups], num_threads, CHUNK_SIZE))
    max_steps = max((len(found) for found in decoded if isinstance(found, np.ndarray)), default=1)
    values = np.zeros((len(cells), max_steps, *step_shape), dtype)
    steps = [_assign(values, rows, found) for (_, rows), found in zip(groups, decoded, strict=True)]
    return _build_column(values, groups, steps, has_lengths=True)


def _decode_into(
    values: NDArray[Any], decode_cells: BatchDecoder, groups: list[CellRows]
) -> list[int | CellReadError | None]:
    """Decode a batch of cells into their rows of ``values``; return each one's number of steps, or why it failed."""
    decoded = decode_cells([cell for cell, _ in groups])
    return [_assign(values, rows, found) for (_, rows), found in zip(groups, decoded, strict=True)]


def _assign(values: NDArray[Any], rows: list[int], found: DecodeResult) -> int | CellReadError | None:
    if not isinstance(found, np.ndarray):
        return found
    target = rows[0] if len(rows) == 1 else rows  # NumPy assigns to an int index much faster than to a list
    values[target, : len(found)] = found
    return len(found)


def _build_column(
    values: NDArray[Any], groups: Sequence[CellRows], steps: Iterable[int | CellReadError | None], has_lengths: bool
) -> tuple[Column, list[BrokenCell]]:
    present, lengths = np.zeros(len(values), np.bool_), np.zeros(len(values), np.int64)
    failures = []
    for (_, rows), num_steps in zip(groups, steps, strict=True):
        if isinstance(num_steps, CellReadError):
            failures.append((rows, num_steps))
        elif num_steps is not None:
            for row in rows:
                present[row], lengths[row] = True, num_steps
    return Column(values, present, lengths if has_lengths else None), _broken_cells(failures)


def unique_cells(cells: Sequence[Cell]) -> list[tuple[Cell, list[int]]]:
    """Group the rows of equal media cells, so that each cell is decoded once.

    Args:
        cells: Media cells.

    Returns:
        Each distinct cell with its row indices, in order of first appearance; absent cells left out.
    """
    groups: dict[Any, tuple[Cell, list[int]]] = {}
    for index, cell in enumerate(cells):
        if not is_absent_media(cell):
            groups.setdefault(_key(cell), (cell, []))[1].append(index)
    return list(groups.values())


def _key(cell: Cell) -> Any:
    content = unwrap(cell)
    if content is not cell and isinstance(cell, Mapping) and {"start", "end"} & set(cell):
        return content, cell.get("start"), cell.get("end")
    if isinstance(content, str | bytes):
        return content
    return ("path", str(content)) if isinstance(content, PurePath) else ("object", id(content))


def sample_cells(
    cells: Sequence[Cell], decode: Callable[[Cell], T], limit: int, num_threads: int | None
) -> list[tuple[Cell, T]]:
    """Decode a random sample of the cells, with a fixed seed.

    Args:
        cells: Media cells.
        decode: Decodes one; raises CellReadError.
        limit: How many readable cells are wanted; broken ones are skipped.
        num_threads: Number of processes or threads.

    Returns:
        At most ``limit`` distinct cells with what was read, in the order of the cells.
    """
    found = [cell for cell, _ in unique_cells(cells)]
    results: dict[int, T] = {}
    for order in chunked(np.random.default_rng(0).permutation(len(found)).tolist(), limit):
        decoded = parallel_map(map_cells(decode), [found[index] for index in order], num_threads, CHUNK_SIZE)
        for index, result in zip(order, decoded, strict=True):
            if not isinstance(result, CellReadError) and len(results) < limit:
                results[index] = result
        if len(results) == limit:
            break
    return [(found[index], results[index]) for index in sorted(results)]


def _broken_cells(failures: Sequence[tuple[list[int], CellReadError]]) -> list[BrokenCell]:
    """Return one entry per row for the cells that could not be decoded, sorted by row."""
    broken = [BrokenCell(row + 1, "", str(error)) for rows, error in failures for row in rows]
    return sorted(broken, key=lambda cell: cell.row)
