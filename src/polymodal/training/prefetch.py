"""Prefetching: the next batch is prepared in a thread while the gradients of this one are computed (torch)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from polymodal.modalities.parallel import available_cpu_count
from polymodal.nn.ranks import get_world_size

T = TypeVar("T")


def has_free_core(device: torch.device) -> bool:
    """Whether a further thread would have a core of its own during training.

    Without a free core, prefetching slows the steps down by at least as much as it saves.

    Args:
        device: Device of the network; with a GPU, CPU cores are idle.

    Returns:
        False where all cores compute.
    """
    return device.type != "cpu" or torch.get_num_threads() * get_world_size() < available_cpu_count()


class Prefetcher(Generic[T]):
    """Prepares the batch of the next step in a thread.

    Preparation may draw from torch's global generator: submit it only after the current step has drawn its last
    random number.

    Example:
        >>> prefetcher = Prefetcher(has_free_core=True)
        >>> prefetcher.submit(1, lambda: "prepared during step 0")
        >>> prefetcher.get(1, lambda: "prepared by step 1")
        'prepared during step 0'
        >>> prefetcher.get(2, lambda: "prepared by step 2")
        'prepared by step 2'
    """

    def __init__(self, has_free_core: bool = False) -> None:
        """Create the prefetcher; its thread starts when it is first needed.

        Args:
            has_free_core: Whether to use a thread; without one, ``submit`` does nothing and ``get`` prepares in the
                calling thread.
        """
        self.has_free_core = has_free_core
        self._pool: ThreadPoolExecutor | None = None
        self._pending: tuple[int, Future[T]] | None = None

    def submit(self, step: int, prepare: Callable[[], T]) -> None:
        """Start to prepare the batch of a later step; returns at once.

        Args:
            step: Number of the step.
            prepare: Returns its batch.
        """
        if self.has_free_core:
            self._pending = step, self._run_in_thread(prepare)

    def get(self, step: int, prepare: Callable[[], T]) -> T:
        """Return the batch of a step; a batch that was submitted for another step is discarded.

        Args:
            step: Number of the step.
            prepare: Returns its batch, if it was not submitted.

        Returns:
            The batch.
        """
        pending = self.discard()
        if pending and pending[0] == step:
            return pending[1].result()
        return self._run_in_thread(prepare).result() if self.has_free_core else prepare()

    def discard(self) -> tuple[int, Future[T]] | None:
        """Wait for the submitted batch, and forget it.

        Returns:
            Number of the step and its batch; None if nothing was submitted.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending[1].exception()
        return pending

    def _run_in_thread(self, prepare: Callable[[], T]) -> Future[T]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetcher")
            num_threads = torch.get_num_threads()
            self._pool.submit(_use_one_thread).result()
            torch.set_num_threads(num_threads)  # of this thread and of later ones
        return self._pool.submit(prepare)


def _use_one_thread() -> None:
    """Make torch use one thread for operators called from this thread.

    A thread takes the number of all others when it first asks for it, so it must ask before its own number is set.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)
