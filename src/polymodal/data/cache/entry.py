"""An entry of the cache: a folder with the arrays of a column, written and removed atomically."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Column
from polymodal.data.cache.keys import FORMAT

TEMPORARY_PREFIX = "unfinished-"
VALUES_FILE, CELLS_FILE, METADATA_FILE = "values.npy", "cells.npy", "column.json"

Decoded = tuple[Column, list[BrokenCell]]


@dataclass(frozen=True)
class CachedColumn:
    """A cached column with the digest of each row's cell.

    Attributes:
        column: The column.
        digests: bytes ``[cells]``, sorted: digests of the cells that were decoded without an error.
        rows: int64 ``[cells]``: the row of each cell.
    """

    column: Column
    digests: NDArray[np.bytes_]
    rows: NDArray[np.int64]

    def find(self, digests: NDArray[np.bytes_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return bool ``[n]``, whether each of ``[n]`` cells is in the column, and int64 ``[n]``, its row if it is."""
        if not len(self.digests):
            return np.zeros(len(digests), np.bool_), np.zeros(len(digests), np.int64)
        indices = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return self.digests[indices] == digests, self.rows[indices]


def map_values(entry: Path, steps: int | None) -> NDArray[Any]:
    """Memory-map an entry's values, copy on write, with the first ``steps`` of the second axis (None: all)."""
    path = entry / VALUES_FILE
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:  # an array without values cannot be mapped
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # larger than memory: copies on write could fill it
    return array if steps is None else array[:, :steps]


def save_entry(folder: Path, decoded: Decoded) -> None:
    """Write a column and its broken cells to a folder and sync it to disk; existing values are kept."""
    column, broken = decoded
    arrays = {"present.npy": column.present, "lengths.npy": column.lengths}
    steps = None
    if not (folder / VALUES_FILE).exists():
        arrays[VALUES_FILE] = column.values
    elif column.lengths is not None:
        steps = int(column.values.shape[1])
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / name, array, allow_pickle=False)
    cells = [asdict(cell) for cell in broken]
    metadata = {"format": FORMAT, "has_lengths": column.lengths is not None, "steps": steps, "broken": cells}
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    for path in folder.iterdir():  # without this, a power cut after the rename could leave zeros in the files
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def load_entry(entry: Path) -> Decoded | None:
    """Load an entry, memory-mapped, and update its time of use; a damaged or outdated one is removed: None."""
    try:
        metadata = json.loads((entry / METADATA_FILE).read_text(encoding="utf-8"))
        if metadata["format"] != FORMAT:
            raise ValueError("of another version")
        lengths = np.load(entry / "lengths.npy", allow_pickle=False) if metadata["has_lengths"] else None
        present = np.load(entry / "present.npy", allow_pickle=False)
        column = Column(map_values(entry, metadata["steps"]), present, lengths)
        broken = [BrokenCell(**cell) for cell in metadata["broken"]]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, EOFError, AttributeError):
        if entry.exists():
            remove_entry(entry)
        return None
    except OSError:
        return None
    with suppress(OSError):  # a read-only cache works as well
        os.utime(entry)
    return column, broken


def load_cached_column(entry: Path) -> CachedColumn | None:
    """Load an entry with its digests; None if it is damaged or has no digests."""
    found = load_entry(entry)
    try:
        digests = np.asarray(np.load(entry / CELLS_FILE, allow_pickle=False), np.bytes_)
    except (OSError, ValueError, EOFError):
        return None
    if found is None or len(digests) != len(found[0]):
        return None
    distinct, rows = np.unique(digests, return_index=True)
    is_cell = distinct != b""
    return CachedColumn(found[0], distinct[is_cell], rows[is_cell])


def commit_entry(temporary: Path, entry: Path) -> None:
    """Rename a finished folder to its entry, unless another process has stored the same entry."""
    try:
        temporary.rename(entry)
    except OSError:
        if load_entry(entry) is None:
            remove_entry(entry)
            temporary.rename(entry)


def remove_entry(entry: Path) -> bool:
    """Remove an entry atomically (it is renamed first); return whether this process did it."""
    trash = entry.parent / f"{TEMPORARY_PREFIX}removed-{os.getpid()}-{time.time_ns()}"
    try:
        entry.rename(trash)
    except OSError:  # another process did, or there is no permission
        return False
    shutil.rmtree(trash, ignore_errors=True)
    return True


def last_used(entry: Path) -> float:
    """Return the time of an entry's last use in seconds since 1970; the current time if it no longer exists."""
    try:
        return entry.stat().st_mtime
    except OSError:  # another process removed it meanwhile
        return time.time()


def entry_bytes(entry: Path) -> int:
    """Return the disk usage of an entry in bytes; its files may be sparse."""
    try:
        return sum(min(status.st_size, 512 * status.st_blocks) for status in (file.stat() for file in entry.iterdir()))
    except OSError:
        return 0
