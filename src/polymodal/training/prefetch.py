"""What the next step takes, made in a thread of its own while the gradients of this one are computed (torch)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from polymodal.modalities.spread import usable_cores
from polymodal.nn.distributed import num_processes

T = TypeVar("T")


def has_free_core(device: torch.device) -> bool:
    """Whether a further thread would have a core to itself while a network learns.

    Where it has none it takes from the steps what it saves them, and more, as it computes alone.

    Args:
        device: Where the network learns; on another than the CPU, cores wait for it.

    Returns:
        False where all cores compute.
    """
    return device.type != "cpu" or torch.get_num_threads() * num_processes() < usable_cores()


class Prefetcher(Generic[T]):
    """A thread that makes what a step takes, at best before the step begins.

    What is made may draw from torch's generator: a step begins the next one's only when it draws nothing any more.

    Example:
        >>> prefetcher = Prefetcher(has_free_core=True)
        >>> prefetcher.begin(1, lambda: "made while step 0 was busy")
        >>> prefetcher.take(1, lambda: "made when step 1 asked for it")
        'made while step 0 was busy'
        >>> prefetcher.take(2, lambda: "made when step 2 asked for it")
        'made when step 2 asked for it'
    """

    def __init__(self, has_free_core: bool = False) -> None:
        """Begin nothing; the thread starts when it is needed.

        Args:
            has_free_core: Whether there is to be a thread; without one, everything is made when a step asks for it.
        """
        self.has_free_core = has_free_core
        self._pool: ThreadPoolExecutor | None = None
        self._begun: tuple[int, Future[T]] | None = None

    def begin(self, step: int, make: Callable[[], T]) -> None:
        """Begin what a step to come takes; returns at once.

        Args:
            step: Its number.
            make: Makes it.
        """
        if self.has_free_core:
            self._begun = step, self._submit(make)

    def take(self, step: int, make: Callable[[], T]) -> T:
        """Return what a step takes; what was begun for another one is dropped.

        Args:
            step: Its number.
            make: Makes it, where it was not begun.

        Returns:
            What was made.
        """
        begun = self.drop()
        if begun and begun[0] == step:
            return begun[1].result()
        return self._submit(make).result() if self.has_free_core else make()

    def drop(self) -> tuple[int, Future[T]] | None:
        """Wait for what was begun, and forget it.

        Returns:
            The step's number and what was made, if anything was begun.
        """
        begun, self._begun = self._begun, None
        if begun is not None:
            begun[1].exception()
        return begun

    def _submit(self, make: Callable[[], T]) -> Future[T]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetcher")
            num_threads = torch.get_num_threads()
            self._pool.submit(_use_one_thread).result()
            torch.set_num_threads(num_threads)  # of this thread and of those to come
        return self._pool.submit(make)


def _use_one_thread() -> None:
    """Let torch compute in the calling thread alone; a thread that has not asked yet takes the number of all others."""
    torch.get_num_threads()
    torch.set_num_threads(1)
