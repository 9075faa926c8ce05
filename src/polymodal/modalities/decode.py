"""Decoding a column's cells: each distinct one once, in threads, into one array."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import attempt, is_absent_media, unwrap

C = TypeVar("C")
R = TypeVar("R")
T = TypeVar("T")

Found = NDArray[Any] | CellReadError | None
"""What became of a cell: an array, why there is none, or None where it holds nothing after all."""
Work = Callable[[list[Cell]], Sequence[Found]]


def each(decode: Callable[[Cell], T]) -> Callable[[list[Cell]], list[T | CellReadError]]:
    """Make a decoder of one cell one of several.

    Args:
        decode: Decodes a cell; whatever it raises breaks this cell only.

    Returns:
        Decodes a few cells.
    """
    return lambda cells: [attempt(decode, cell) for cell in cells]


def decode_fixed(
    cells: Sequence[Cell],
    work: Work,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    num_threads: int | None,
    *,
    chunk_size: int = 16,
    has_lengths: bool = False,
) -> tuple[Column, list[BrokenCell]]:
    """Decode cells into an array whose extents are known beforehand.

    Args:
        cells: Any cells; absent ones stay zero.
        work: Decodes a few cells.
        shape: Of a decoded cell.
        dtype: Of the array.
        num_threads: Threads that decode; None means all cores.
        chunk_size: Cells per call of ``work``.
        has_lengths: Whether a cell may be shorter than ``shape`` says, along its first axis.

    Returns:
        Values ``[rows, *shape]``, with lengths where asked for; and the broken cells.
    """
    groups = distinct(cells)
    decoded = decode_chunks([cell for cell, _ in groups], work, num_threads, chunk_size)
    return _placed(len(cells), groups, decoded, shape, dtype, has_lengths)


def decode_ragged(
    cells: Sequence[Cell], work: Work, step_shape: tuple[int, ...], dtype: DTypeLike, num_threads: int | None
) -> tuple[Column, list[BrokenCell]]:
    """Decode cells of any length into an array as long as the longest.

    Args:
        cells: Any cells; absent ones stay zero.
        work: Decodes a few cells.
        step_shape: Of a step of a decoded cell.
        dtype: Of the array.
        num_threads: Threads that decode; None means all cores.

    Returns:
        Values ``[rows, steps, *step_shape]`` with lengths, one step at least; and the broken cells.
    """
    groups = distinct(cells)
    decoded = list(decode_chunks([cell for cell, _ in groups], work, num_threads))
    steps = max((len(found) for found in decoded if isinstance(found, np.ndarray)), default=1)
    return _placed(len(cells), groups, decoded, (steps, *step_shape), dtype, has_lengths=True)


def _placed(
    num_rows: int,
    groups: Sequence[tuple[Cell, list[int]]],
    decoded: Iterable[Found],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    has_lengths: bool,
) -> tuple[Column, list[BrokenCell]]:
    values, present = np.zeros((num_rows, *shape), dtype), np.zeros(num_rows, np.bool_)
    lengths = np.zeros(num_rows, np.int64) if has_lengths else None
    failures = []
    for (_, rows), found in zip(groups, decoded, strict=True):
        if isinstance(found, CellReadError):
            failures.append((rows, found))
        if not isinstance(found, np.ndarray):
            continue
        where = rows[0] if len(rows) == 1 else rows  # numpy assigns to a number many times as fast as to a list
        present[where] = True
        if lengths is None:
            values[where] = found
        else:
            values[where, : len(found)], lengths[where] = found, len(found)
    return Column(values, present, lengths), _by_row(failures)


def distinct(cells: Sequence[Cell]) -> list[tuple[Cell, list[int]]]:
    """Group rows that hold the same media cell, so that it is decoded once.

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
    if isinstance(content, str | bytes):
        return content
    return ("path", str(content)) if isinstance(content, PurePath) else ("object", id(content))


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, and the quota of its container (cgroup v2).

    Returns:
        At least 1.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no quota
        return max(1, cores)


def in_threads(work: Callable[[list[C]], R], chunks: Sequence[list[C]], num_threads: int | None) -> Iterator[R]:
    """Run work on chunks in a few threads and yield the results in order, a few ahead.

    Args:
        work: What to do with a chunk.
        chunks: The chunks.
        num_threads: Threads; 1 runs in the caller's, None takes as many as there are cores to use.

    Yields:
        One result per chunk.
    """
    num_threads = usable_cores() if num_threads is None else num_threads
    if num_threads <= 1 or len(chunks) <= 1:
        yield from map(work, chunks)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > 4 * num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def decode_chunks(
    cells: Sequence[Cell],
    work: Callable[[list[Cell]], Sequence[T]],
    num_threads: int | None,
    chunk_size: int = 16,
) -> Iterator[T]:
    """Decode cells in threads, in order.

    Args:
        cells: Cells that are there.
        work: Decodes a few cells at a time.
        num_threads: Threads that decode; None means all cores.
        chunk_size: Cells per call of ``work``.

    Yields:
        One result or failure per cell.
    """
    chunks = [list(cells[start : start + chunk_size]) for start in range(0, len(cells), chunk_size)]
    for results in in_threads(work, chunks, num_threads):
        yield from results


def sample(
    cells: Sequence[Cell], work: Callable[[Cell], T], limit: int, num_threads: int | None
) -> list[tuple[Cell, T]]:
    """Decode some cells, drawn without regard to their order, always the same ones.

    Args:
        cells: Media cells.
        work: Decodes one; raises CellReadError.
        limit: How many readable cells are wanted; broken ones are skipped.
        num_threads: Threads that decode; None means all cores.

    Returns:
        At most ``limit`` distinct cells with what was read, in the order of the cells.
    """
    found = [cell for cell, _ in distinct(cells)]
    order = np.random.default_rng(0).permutation(len(found)).tolist()
    results: dict[int, T] = {}
    drawn = [found[index] for index in order]
    decoded = decode_chunks(drawn, each(work), num_threads)
    for index, result in zip(order, decoded, strict=True):
        if not isinstance(result, CellReadError):
            results[index] = result
        if len(results) == limit:
            break
    return [(found[index], results[index]) for index in sorted(results)]


def _by_row(failures: Sequence[tuple[list[int], CellReadError]]) -> list[BrokenCell]:
    """Name every row of every cell that could not be decoded, in order of the rows."""
    broken = [BrokenCell(row + 1, "", str(error)) for rows, error in failures for row in rows]
    return sorted(broken, key=lambda cell: cell.row)
