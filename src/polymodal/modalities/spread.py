"""Spreading work on cells over the cores: worker processes where they pay, threads elsewhere."""

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

C = TypeVar("C")
R = TypeVar("R")

LEAST_WORK_S = 0.1
"""Less than this is done in one thread: it is not worth copies of the process."""
MOST_SENT_PER_S, MOST_SENT = 1.5e8, 1e5
"""Where more bytes, a second or for a member, would have to be sent to the main process, threads are as fast: such work
is in C."""


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


def can_fork() -> bool:
    """Return whether to make copies of this process.

    Returns:
        True on Linux and in the main thread, which in a server does other things; no daemon of ``multiprocessing`` may.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and is_main and not multiprocessing.current_process().daemon


def shared_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array that forked processes fill for the main one.

    Args:
        shape: Any.
        dtype: Of its values.

    Returns:
        Zeros.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(dtype).itemsize), dtype).reshape(shape)


def chunked(members: Sequence[C], size: int) -> list[list[C]]:
    """Divide members into chunks.

    Args:
        members: Any.
        size: Of a chunk; the last one may be shorter.

    Returns:
        The chunks, in order.
    """
    return [list(members[start : start + size]) for start in range(0, len(members), size)]


def spread(
    work: Callable[[list[C]], Sequence[R]], members: Sequence[C], num_workers: int | None, chunk_size: int
) -> Iterator[R]:
    """Do work on members, a chunk at a time and a few ahead, and yield the results in order.

    The second member shows what each costs; the first one may still import something. Where much is left, each of a
    few forked processes does every so-manyth chunk: decoding a small file is mostly Python, and threads would wait
    for each other. Work whose results are large is done in threads, and so is all work where processes cannot be
    forked. What a killed process has left undone is done in the caller's thread.

    Args:
        work: What to do with a chunk; one result for each member.
        members: What to work on.
        num_workers: Processes or threads; 1 works in the caller's thread, None takes as many as there are cores to use.
        chunk_size: Members that are worked on at a time.

    Yields:
        The members' results.
    """
    is_little = len(members) <= 2 * chunk_size
    num_workers = 1 if is_little else num_workers or usable_cores()
    if num_workers == 1:
        yield from _here(work, chunked(members, chunk_size))
        return
    yield from work([members[0]])
    begun = time.perf_counter()
    tried = work([members[1]])
    member_s = time.perf_counter() - begun
    yield from tried
    left = members[2:]
    sent = sum(result.nbytes for result in tried if isinstance(result, np.ndarray))
    if member_s * len(left) < LEAST_WORK_S:
        yield from _here(work, chunked(left, chunk_size))
    elif sent < min(MOST_SENT_PER_S * member_s, MOST_SENT) and can_fork():
        yield from _in_processes(work, chunked(left, chunk_size), num_workers)
    else:
        yield from _in_threads(work, chunked(left, -(-chunk_size // 2)), num_workers)


def _here(work: Callable[[list[C]], Sequence[R]], chunks: Sequence[list[C]]) -> Iterator[R]:
    for chunk in chunks:
        yield from work(chunk)


def _in_threads(work: Callable[[list[C]], Sequence[R]], chunks: Sequence[list[C]], num_threads: int) -> Iterator[R]:
    with ThreadPoolExecutor(num_threads) as pool:
        waiting: deque[Future[Sequence[R]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > 4 * num_threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _in_processes(work: Callable[[list[C]], Sequence[R]], chunks: Sequence[list[C]], num_workers: int) -> Iterator[R]:
    with _forked(work, chunks, num_workers) as receivers:
        for number, chunk in enumerate(chunks):
            try:
                results = receivers[number % len(receivers)].recv()
            except (EOFError, OSError):  # the process was killed, or could not send what it found
                results = work(chunk)
            yield from results


@contextmanager
def _forked(
    work: Callable[[list[C]], Sequence[R]], chunks: Sequence[list[C]], num_workers: int
) -> Iterator[list[Connection]]:
    """Fork processes that each send the results of every so-manyth chunk; end them at last."""
    context = multiprocessing.get_context("fork")
    num_workers = min(num_workers, len(chunks))
    pipes = [context.Pipe(duplex=False) for _ in range(num_workers)]
    processes = []
    for number, (_, sender) in enumerate(pipes):
        others = [end for pipe in pipes for end in pipe if end is not sender]
        arguments = (work, chunks[number::num_workers], sender, others)
        processes.append(context.Process(target=_serve, args=arguments, daemon=True))
    try:
        with warnings.catch_warnings(), suppress(OSError):  # no room for one more: its chunks are done by the caller
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: none of theirs is used
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


def _serve(
    work: Callable[[list[C]], Sequence[R]], chunks: Sequence[list[C]], sender: Connection, others: Sequence[Connection]
) -> None:
    """Work in a forked process, quietly: where it fails, the main process meets the same failure and reports it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in others:
        end.close()  # so that each side notices when the other is gone
    try:
        for chunk in chunks:
            sender.send(work(chunk))
    except Exception:  # whatever it was, the main process meets it too
        sender.close()
