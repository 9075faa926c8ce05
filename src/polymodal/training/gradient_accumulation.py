"""The number of gradient-accumulation steps with which a batch fits into memory (torch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

CGROUP = Path("/sys/fs/cgroup")
USABLE_FRACTION = 0.8
"""Fraction of the available memory that a training step may use."""
PEAK_FACTOR = 2.0
"""Peak memory of a training step, as a multiple of the activations that are saved for the backward pass."""


@contextmanager
def saved_activation_bytes() -> Iterator[list[int]]:
    """Measure the tensors that autograd saves for the backward pass.

    Yields:
        A list; when the context ends it holds the size in bytes of each saved storage, each storage once.
    """
    sizes: dict[int, int] = {}
    result: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield result
    result += sizes.values()


def available_memory_bytes() -> int | None:
    """Return the memory that is available to this process: of the machine, and of its container (cgroup v2).

    Returns:
        Bytes; None where the system does not report it.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    try:
        limit, used = ((CGROUP / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        quota = int(limit) - int(used)
    except (OSError, ValueError):  # no quota
        return free
    return quota if free is None else min(free, quota)


def accumulation_steps_that_fit(row_bytes: float, num_rows: int, available: float) -> int:
    """Compute the number of gradient-accumulation steps with which a batch fits into memory.

    Args:
        row_bytes: Bytes of activations that are saved for a row.
        num_rows: Rows of the batch.
        available: Bytes of available memory.

    Returns:
        A power of two, or ``num_rows`` if that is less.

    Example:
        >>> accumulation_steps_that_fit(1e9, 64, 24e9)
        8
    """
    needed = PEAK_FACTOR * row_bytes * num_rows / max(USABLE_FRACTION * available, 1.0)
    steps: int = 2 ** math.ceil(math.log2(max(needed, 1.0)))
    return min(steps, num_rows)
