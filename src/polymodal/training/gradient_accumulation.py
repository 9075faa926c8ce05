"""How much memory a batch takes on the way back, and in how many parts it fits (torch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

CGROUP = Path("/sys/fs/cgroup")
USABLE = 0.8
"""Share of the free memory that a step may take."""
PEAK = 2.0
"""A step's peak, as a multiple of what its way forwards keeps for the way back."""


@contextmanager
def kept_bytes() -> Iterator[list[int]]:
    """Count what computations keep for their gradients.

    Yields:
        A list that holds the bytes of each tensor's memory when the context ends, each memory once.
    """
    sizes: dict[int, int] = {}
    found: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        sizes[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield found
    found += sizes.values()


def free_bytes() -> int | None:
    """Return how much memory this process may still take: the machine's, and the quota of its container (cgroup v2).

    Returns:
        Bytes; None where the system does not tell.
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


def parts_that_fit(row_bytes: float, num_rows: int, free: float) -> int:
    """Compute in how many parts a batch is to be computed.

    Args:
        row_bytes: What a row keeps for the way back.
        num_rows: Rows of the batch.
        free: Bytes that may be taken.

    Returns:
        A power of two; at most as many parts as there are rows.

    Example:
        >>> parts_that_fit(1e9, 64, 24e9)
        8
    """
    needed = PEAK * row_bytes * num_rows / max(USABLE * free, 1.0)
    parts: int = 2 ** math.ceil(math.log2(max(needed, 1.0)))
    return min(parts, num_rows)
