"""What a model costs: bytes on disk and milliseconds of one row.

A call's time is that on the clock, or that of the processor where it is less: what else runs on the machine is not
counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.model.batches import Examples
from polymodal.model.inference_network import NO_MASK
from polymodal.model.predict import needed_members, needs_network
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from polymodal.runs.model import Model

T = TypeVar("T")

WARM_UP = 3
REPEATS = 25
"""Calls that are timed; their median counts."""
MOST_S = 6.0
"""Seconds of timing after which no further call is made."""


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder.

    Args:
        folder: The folder.

    Returns:
        Their sum.
    """
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def ms_of_row(model: Model, table: Table) -> float:
    """Time the prediction of one row, warm: from its cells to the answer.

    Args:
        model: The model.
        table: Rows to take from, one after the other.

    Returns:
        Median milliseconds.
    """
    rows = [table.take([index]) for index in range(min(table.num_rows, REPEATS))]
    progress = SilentProgress()
    return _median_ms(lambda row: model.predictions(row, progress=progress), rows)


def network_ms_of_row(model: TrainedModel, examples: Examples) -> float | None:
    """Time the network on one decoded row, warm.

    Args:
        model: The model.
        examples: Rows to take from, one after the other.

    Returns:
        Median milliseconds; None where the answers need no network.
    """
    if not needs_network(needed_members(model)):
        return None
    network, progress, cache = model.network, SilentProgress(), ArrayCache(None)
    plain = examples.without_outputs()  # checkpoints are part of what takes time
    rows = [plain.subset(slice(index, index + 1)).columns_in_use() for index in range(min(len(plain), REPEATS))]
    return _median_ms(lambda row: network.run(network.precompute(row, cache, progress), [NO_MASK]), rows)


def _median_ms(call: Callable[[T], object], rows: Sequence[T]) -> float:
    for index in range(WARM_UP):
        call(rows[index % len(rows)])
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < REPEATS and (len(seconds) < WARM_UP or time.perf_counter() - started < MOST_S):
        before = time.perf_counter(), time.process_time()
        call(rows[len(seconds) % len(rows)])
        seconds.append(min(time.perf_counter() - before[0], time.process_time() - before[1]))
    return 1000.0 * statistics.median(seconds)
