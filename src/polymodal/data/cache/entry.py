"""One entry of the decode cache: a folder with the arrays of a column, whole or not there at all.

The system brings files to the disk in its own time; a power cut may leave zeros in them. Nobody waits for that: until
an entry is *settled*, on the disk, its record names the machine's boot, and it counts until the next one only.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Column
from polymodal.data.cache.keys import FORMAT

TEMPORARY = "unfinished-"
VALUES_FILE, CELLS_FILE, RECORD_FILE = "values.npy", "cells.npy", "column.json"
BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
BOOT = "boot"
"""Of the record: the boot of an entry that is not settled, or None."""

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
        """Look cells up.

        Args:
            digests: bytes ``[n]``.

        Returns:
            bool ``[n]``, whether the cell is here, and int64 ``[n]``, its row if it is.
        """
        if not len(self.digests):
            return np.zeros(len(digests), np.bool_), np.zeros(len(digests), np.int64)
        places = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return self.digests[places] == digests, self.rows[places]


def map_values(entry: Path, steps: int | None) -> NDArray[Any]:
    """Map an entry's values into memory.

    Args:
        entry: The entry's folder.
        steps: Steps in use of the second axis; None for all.

    Returns:
        The values, copy on write.
    """
    array = _map_array(entry / VALUES_FILE)
    return array if steps is None else array[:, :steps]


def save_entry(folder: Path, made: Decoded) -> None:
    """Write a column into a folder; values that were written there already stay.

    Args:
        folder: Where.
        made: The column and its broken cells.
    """
    column, broken = made
    steps = None
    if not (folder / VALUES_FILE).exists():
        _write_array(folder / VALUES_FILE, column.values)
    elif column.lengths is not None:
        steps = int(column.values.shape[1])
    _write_array(folder / "present.npy", column.present)
    if column.lengths is not None:
        _write_array(folder / "lengths.npy", column.lengths)
    record = {
        "format": FORMAT,
        "has_lengths": column.lengths is not None,
        "steps": steps,
        "broken": [asdict(cell) for cell in broken],
        BOOT: boot(),
    }
    (folder / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")
    if boot() is None:
        _bring_to_disk(folder)


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _bring_to_disk(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())


@cache
def boot() -> str | None:
    """Return what names the time since the machine was started; None where the system does not tell."""
    try:
        return BOOT_FILE.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def settle(entry: Path) -> threading.Thread | None:
    """Bring an entry to the disk in the background, and then note in its record that it is there.

    Args:
        entry: Its folder.

    Returns:
        The thread that does it, which ends with the process; None where the entry was settled before it got its name.
    """
    if boot() is None:
        return None
    thread = threading.Thread(target=_settle, args=(entry,), daemon=True)
    thread.start()
    return thread


def _settle(entry: Path) -> None:
    try:
        _bring_to_disk(entry)
        with (entry / RECORD_FILE).open("r+b") as file:  # in place: a new file would make the folder look just used
            record = file.read()
            file.seek(0)
            file.write(json.dumps({**json.loads(record), BOOT: None}).encode().ljust(len(record)))
    except FileNotFoundError:  # removed meanwhile
        return
    except (OSError, ValueError):  # the disk refused what it had taken
        remove_entry(entry)


def load_entry(entry: Path) -> Decoded | None:
    """Read an entry and note that it was used; one that is damaged, of another version or perhaps not whole is removed.

    Args:
        entry: Its folder.

    Returns:
        The column, memory-mapped, and its broken cells; None where there is no sound one.
    """
    try:
        record = json.loads((entry / RECORD_FILE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT or record.get(BOOT) not in (None, boot()):
            raise ValueError("of another version, or never settled")
        lengths = _read_array(entry / "lengths.npy") if record["has_lengths"] else None
        column = Column(map_values(entry, record["steps"]), _read_array(entry / "present.npy"), lengths)
        broken = [BrokenCell(**cell) for cell in record["broken"]]
        _touch(entry)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, EOFError, AttributeError):
        if entry.exists():  # damaged or of another version: made again
            remove_entry(entry)
        return None
    except OSError:
        return None
    return column, broken


def _touch(entry: Path) -> None:
    try:
        os.utime(entry)
    except OSError:  # a folder that may only be read serves as well
        return


def load_kept(entry: Path) -> Kept | None:
    """Read an entry with the cells that it holds.

    Args:
        entry: Its folder.

    Returns:
        The column; None where there is no sound one, or it does not say which cells it holds.
    """
    found = load_entry(entry)
    try:
        digests = np.asarray(_read_array(entry / CELLS_FILE), np.bytes_)
    except (OSError, ValueError, EOFError):
        return None
    if found is None or len(digests) != len(found[0]):
        return None
    distinct, rows = np.unique(digests, return_index=True)
    is_there = distinct != b""
    return Kept(found[0], distinct[is_there], rows[is_there])


def publish(temporary: Path, entry: Path) -> None:
    """Give a finished folder its name, unless another process has put the same entry there.

    Args:
        temporary: The finished folder.
        entry: Its name.
    """
    try:
        temporary.rename(entry)
    except OSError:
        if load_entry(entry) is None:
            remove_entry(entry)
            temporary.rename(entry)


def remove_entry(entry: Path) -> bool:
    """Remove an entry: first all of it from sight, so that nobody reads half of it.

    Args:
        entry: Its folder.

    Returns:
        Whether this process did it.
    """
    hidden = entry.parent / f"{TEMPORARY}removed-{os.getpid()}-{time.time_ns()}"
    try:
        entry.rename(hidden)
    except OSError:  # another process did, or it may not be written
        return False
    shutil.rmtree(hidden, ignore_errors=True)
    return True


def last_use(entry: Path) -> float:
    """Return when an entry was last used.

    Args:
        entry: Its folder.

    Returns:
        Seconds since 1970; now, if it has just vanished.
    """
    try:
        return entry.stat().st_mtime
    except OSError:  # another process removed it meanwhile
        return time.time()


def size_of(entry: Path) -> int:
    """Return what an entry takes: blocks of the disk, since parts of a file that are all zeros may take none.

    Args:
        entry: Its folder.

    Returns:
        Bytes.
    """
    try:
        return sum(min(status.st_size, 512 * status.st_blocks) for status in (file.stat() for file in entry.iterdir()))
    except OSError:
        return 0


def _read_array(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _map_array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:  # an array without values cannot be mapped
        return _read_array(path)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # larger than memory: copies on write could fill it
    return array
