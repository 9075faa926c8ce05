"""A parallel map over cells: in forked worker processes where they pay, in threads elsewhere."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

T = TypeVar("T")
R = TypeVar("R")

MIN_PARALLEL_S = 0.1
"""Estimated work below this runs in the calling thread: starting worker processes would take longer."""
MAX_SENT_BYTES_PER_S, MAX_SENT_BYTES_PER_ITEM = 1.5e8, 1e5
"""With larger results threads are as fast as processes: such work is done in C, and results need not be pickled."""


def available_cpu_count() -> int:
    """Return the number of CPU cores that this process may use: its affinity, and its container's quota (cgroup v2).

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


def can_fork() -> bool:
    """Return whether worker processes may be forked.

    Returns:
        True on Linux, in the main thread of a process that is no daemon of ``multiprocessing``.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and is_main and not multiprocessing.current_process().daemon


def shared_memory_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Create an array in shared memory, which forked processes can write to.

    Args:
        shape: Shape of the array.
        dtype: Its dtype.

    Returns:
        Zeros.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(dtype).itemsize), dtype).reshape(shape)


def chunked(items: Sequence[T], size: int) -> list[list[T]]:
    """Divide items into chunks.

    Args:
        items: Any sequence.
        size: Items of a chunk; the last chunk may be shorter.

    Returns:
        The chunks, in order.
    """
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def parallel_map(
    function: Callable[[list[T]], Sequence[R]], items: Sequence[T], num_workers: int | None, chunk_size: int
) -> Iterator[R]:
    """Apply a function to items, chunk by chunk and in parallel, and yield the results in order.

    The time of the second item (the first call may import modules) decides where the rest runs. Long work runs in
    forked processes, each of which takes every n-th chunk: decoding small files is mostly Python, where threads wait
    for the GIL. Work with large results runs in threads, and so does all work where processes cannot be forked. Chunks
    of a worker that was killed run in the calling thread.

    Args:
        function: Takes a chunk; returns one result for each item.
        items: Its inputs.
        num_workers: Processes or threads; 1 runs in the calling thread, None uses all available cores.
        chunk_size: Items of a chunk.

    Yields:
        The results of the items.
    """
    is_small = len(items) <= 2 * chunk_size
    num_workers = 1 if is_small else num_workers or available_cpu_count()
    if num_workers == 1:
        yield from _map_serially(function, chunked(items, chunk_size))
        return
    yield from function([items[0]])
    start = time.perf_counter()
    second = function([items[1]])
    item_s = time.perf_counter() - start
    yield from second
    rest = items[2:]
    sent_bytes = sum(result.nbytes for result in second if isinstance(result, np.ndarray))
    if item_s * len(rest) < MIN_PARALLEL_S:
        yield from _map_serially(function, chunked(rest, chunk_size))
    elif sent_bytes < min(MAX_SENT_BYTES_PER_S * item_s, MAX_SENT_BYTES_PER_ITEM) and can_fork():
        yield from _map_in_processes(function, chunked(rest, chunk_size), num_workers)
    else:
        yield from _map_in_threads(function, chunked(rest, -(-chunk_size // 2)), num_workers)


def _map_serially(function: Callable[[list[T]], Sequence[R]], chunks: Sequence[list[T]]) -> Iterator[R]:
    for chunk in chunks:
        yield from function(chunk)


def _map_in_threads(
    function: Callable[[list[T]], Sequence[R]], chunks: Sequence[list[T]], num_threads: int
) -> Iterator[R]:
    with ThreadPoolExecutor(num_threads) as pool:
        pending: deque[Future[Sequence[R]]] = deque()
        try:
            for chunk in chunks:
                pending.append(pool.submit(function, chunk))
                if len(pending) > 4 * num_threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _map_in_processes(
    function: Callable[[list[T]], Sequence[R]], chunks: Sequence[list[T]], num_workers: int
) -> Iterator[R]:
    with _forked_workers(function, chunks, num_workers) as receivers:
        for index, chunk in enumerate(chunks):
            try:
                results = receivers[index % len(receivers)].recv()
            except (EOFError, OSError):  # the worker was killed, failed, or could not send its results
                results = function(chunk)
            yield from results


@contextmanager
def _forked_workers(
    function: Callable[[list[T]], Sequence[R]], chunks: Sequence[list[T]], num_workers: int
) -> Iterator[list[Connection]]:
    """Fork workers that each send the results of every n-th chunk; kill them on exit."""
    context = multiprocessing.get_context("fork")
    num_workers = min(num_workers, len(chunks))
    pipes = [context.Pipe(duplex=False) for _ in range(num_workers)]
    processes = []
    for index, (_, sender) in enumerate(pipes):
        unused = [end for pipe in pipes for end in pipe if end is not sender]
        arguments = (function, chunks[index::num_workers], sender, unused)
        processes.append(context.Process(target=_run_worker, args=arguments, daemon=True))
    try:
        with warnings.catch_warnings(), suppress(OSError):  # if no more can be forked, the caller runs their chunks
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: workers use none of their locks
            for process in processes:
                process.start()
        for _, sender in pipes:
            sender.close()
        yield [receiver for receiver, _ in pipes]
    finally:
        for receiver, _ in pipes:
            receiver.close()
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _run_worker(
    function: Callable[[list[T]], Sequence[R]],
    chunks: Sequence[list[T]],
    sender: Connection,
    unused: Sequence[Connection],
) -> None:
    """Send the results of chunks. On an exception stop: the caller runs the chunk again and gets the exception too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in unused:
        end.close()  # so that each side gets an EOFError when the other one exits
    try:
        for chunk in chunks:
            sender.send(function(chunk))
    except Exception:  # the caller gets the same exception
        sender.close()
