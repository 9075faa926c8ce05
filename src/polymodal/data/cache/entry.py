"""One entry of the decode cache: a folder with the arrays of a column, whole or not there at all."""

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

TEMPORARY = "unfinished-"
VALUES_FILE, CELLS_FILE, RECORD_FILE = "values.npy", "cells.npy", "column.json"

Decoded = tuple[Column, list[BrokenCell]]


@dataclass(frozen=True)
class Kept:
    """A column of the cache, and which cell each of its rows came from.

    Attributes:
        column: The column.
        digests: bytes ``[cells]``, sorted: the cells that were decoded without fault.
        rows: int64 ``[cells]``: a row of each.
    """

    column: Column
    digests: NDArray[np.bytes_]
    rows: NDArray[np.int64]

    def find(self, digests: NDArray[np.bytes_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return bool ``[n]``, whether each of ``[n]`` cells is here, and int64 ``[n]``, its row if it is."""
        if not len(self.digests):
            return np.zeros(len(digests), np.bool_), np.zeros(len(digests), np.int64)
        places = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return self.digests[places] == digests, self.rows[places]


def map_values(entry: Path, steps: int | None) -> NDArray[Any]:
    """Map an entry's values into memory, copy on write; of the second axis ``steps`` are in use, or all (None)."""
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


def save_entry(folder: Path, made: Decoded) -> None:
    """Write a column and its broken cells into a folder, down to the disk; values that lie there already stay."""
    column, broken = made
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
    record = {"format": FORMAT, "has_lengths": column.lengths is not None, "steps": steps, "broken": cells}
    (folder / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")
    for path in folder.iterdir():  # without this, a power cut after the rename could leave zeros in the files
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def load_entry(entry: Path) -> Decoded | None:
    """Read an entry, memory-mapped, and note its use; one that is damaged or of another version is removed: None."""
    try:
        record = json.loads((entry / RECORD_FILE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise ValueError("of another version")
        lengths = np.load(entry / "lengths.npy", allow_pickle=False) if record["has_lengths"] else None
        present = np.load(entry / "present.npy", allow_pickle=False)
        column = Column(map_values(entry, record["steps"]), present, lengths)
        broken = [BrokenCell(**cell) for cell in record["broken"]]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, EOFError, AttributeError):
        if entry.exists():
            remove_entry(entry)
        return None
    except OSError:
        return None
    with suppress(OSError):  # a folder that may only be read serves as well
        os.utime(entry)
    return column, broken


def load_kept(entry: Path) -> Kept | None:
    """Read an entry with the cells that it holds; None where it is not sound or does not say which it holds."""
    found = load_entry(entry)
    try:
        digests = np.asarray(np.load(entry / CELLS_FILE, allow_pickle=False), np.bytes_)
    except (OSError, ValueError, EOFError):
        return None
    if found is None or len(digests) != len(found[0]):
        return None
    distinct, rows = np.unique(digests, return_index=True)
    is_there = distinct != b""
    return Kept(found[0], distinct[is_there], rows[is_there])


def publish(temporary: Path, entry: Path) -> None:
    """Give a finished folder its name, unless another process has put the same entry there."""
    try:
        temporary.rename(entry)
    except OSError:
        if load_entry(entry) is None:
            remove_entry(entry)
            temporary.rename(entry)


def remove_entry(entry: Path) -> bool:
    """Remove an entry, all of it from sight first, so that nobody reads half; return whether this process did it."""
    hidden = entry.parent / f"{TEMPORARY}removed-{os.getpid()}-{time.time_ns()}"
    try:
        entry.rename(hidden)
    except OSError:  # another process did, or it may not be written
        return False
    shutil.rmtree(hidden, ignore_errors=True)
    return True


def last_use(entry: Path) -> float:
    """Return when an entry was last used, in seconds since 1970; now, if it has just vanished."""
    try:
        return entry.stat().st_mtime
    except OSError:  # another process removed it meanwhile
        return time.time()


def size_of(entry: Path) -> int:
    """Return the bytes of an entry in blocks of the disk, since parts of a file that are all zeros may take none."""
    try:
        return sum(min(status.st_size, 512 * status.st_blocks) for status in (file.stat() for file in entry.iterdir()))
    except OSError:
        return 0
