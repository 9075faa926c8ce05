"""Rank and world size of the processes that train one network (no torch).

``torchrun`` starts the processes, or ``accelerate launch`` where Accelerate is installed; both set environment
variables.
"""

from __future__ import annotations

import os


def get_rank() -> int:
    """Return the rank of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def get_world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the main process, which writes files and prints."""
    return get_rank() == 0
