"""Decoded arrays on disk: made once, memory-mapped ever after."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache.entry import (
    RECORD_FILE,
    TEMPORARY,
    Decoded,
    Kept,
    last_use,
    load_entry,
    load_kept,
    publish,
    remove_entry,
    save_entry,
    size_of,
)
from polymodal.errors import parameter_error

MAX_BYTES = 20 * 10**9
KEPT_SHARE = 0.9
"""Where the bound is passed, entries are removed down to this share of it, so that the next few need no search."""
STALE_S = 6 * 3600.0
"""A folder that a process has not touched for so long was left behind."""
SEARCH_S = 3600.0
SEARCH_STORES = 1000
"""The whole folder is looked through at most once in so many seconds or stored entries, unless the bound is passed."""
MOST_LIKE = 8
HASHED_ROWS = 256
USAGE = "usage"
BYTES_OF_UNIT = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class CacheUse:
    """What lies in a cache.

    Attributes:
        folder: Where.
        entries: Number of decoded columns and of frozen encoders' outputs.
        bytes: What they take.
        max_bytes: What they may take.
        oldest_use: When the entry was last used that will go first, in seconds since 1970; None without entries.
    """

    folder: Path
    entries: int
    bytes: int
    max_bytes: int
    oldest_use: float | None


@dataclass(frozen=True)
class ArrayCache:
    """A folder of decoded columns.

    An entry appears whole or not at all, and vanishes whole; one that cannot be read is made again. Where the
    folder cannot be written (no permission, disk full) columns stay in memory.

    Attributes:
        folder: Where entries lie; None keeps nothing.
        max_bytes: When all entries together are larger, those not used for longest are removed.

    Example:
        >>> cache = ArrayCache(None)
        >>> column = Column(np.zeros((2, 3), np.float32), np.ones(2, bool))
        >>> cache.column("key", lambda entry: (column, []))[0] is column
        True
    """

    folder: Path | None
    max_bytes: int = MAX_BYTES

    @classmethod
    def default(cls) -> ArrayCache:
        """Return the user's cache: ``$POLYMODAL_CACHE`` or ``~/.cache/polymodal/arrays``.

        ``$POLYMODAL_CACHE_LIMIT`` bounds it: ``50GB``, or a number of bytes; 20 GB if it is not set.

        Returns:
            The cache; its folder need not exist.

        Raises:
            ConfigError: If the bound is no size.
        """
        chosen, limit = os.environ.get("POLYMODAL_CACHE"), os.environ.get("POLYMODAL_CACHE_LIMIT")
        folder = Path(chosen) if chosen else Path.home() / ".cache" / "polymodal" / "arrays"
        return cls(folder, parse_bytes(limit) if limit else MAX_BYTES)

    def column(self, key: str, make: Callable[[Path | None], Decoded]) -> Decoded:
        """Return a column from the cache, or make and keep it.

        Args:
            key: The same key means the same arrays.
            make: Makes the column; called only where the cache has no sound entry. It is given a folder in
                which it may write the values itself, as ``values.npy``, or None where there is none to write to.

        Returns:
            The column, memory-mapped where it came from disk (copy on write: the file never
            changes), and its broken cells.
        """
        if self.folder is None:
            return make(None)
        found = load_entry(self.folder / key)
        if found is None:
            found = self._store(self.folder / key, make)
        return make(None) if found is None else found

    def columns_like(self, prefix: str) -> Iterator[Kept]:
        """Return columns made with the same settings, the last used first.

        Args:
            prefix: The keys' beginning.

        Yields:
            Up to eight columns that say which cells they hold.
        """
        names = [] if self.folder is None else [name for name in _names(self.folder) if name.startswith(prefix)]
        entries = [] if self.folder is None else [self.folder / name for name in names]
        ages = {entry: last_use(entry) for entry in entries}
        for entry in sorted(entries, key=lambda entry: -ages[entry])[:MOST_LIKE]:
            kept = load_kept(entry)
            if kept is not None:
                yield kept

    def use(self) -> CacheUse:
        """Return how much lies in the cache."""
        folder = self.folder or Path()
        found = [] if self.folder is None else list(_entries(folder))
        oldest = min((used for used, _, _ in found), default=None)
        return CacheUse(folder, len(found), sum(size for _, size, _ in found), self.max_bytes, oldest)

    def clear(self, older_than_s: float = 0.0) -> CacheUse:
        """Remove entries; columns in use by running processes stay readable for them.

        Args:
            older_than_s: Only those that were not used for so many seconds.

        Returns:
            What was removed.
        """
        folder = self.folder or Path()
        found = [] if self.folder is None else list(_entries(folder))
        old = [(used, size, entry) for used, size, entry in found if used <= time.time() - older_than_s]
        removed = [(used, size) for used, size, entry in old if remove_entry(entry)]
        if self.folder is not None:
            _remove_leftovers(folder)
            _write_usage(folder, sum(size for _, size, _ in found) - sum(size for _, size in removed))
        oldest = min((used for used, _ in removed), default=None)
        return CacheUse(folder, len(removed), sum(size for _, size in removed), self.max_bytes, oldest)

    def _store(self, entry: Path, make: Callable[[Path | None], Decoded]) -> Decoded | None:
        """Make an entry; None where it could not be written and has to be made in memory."""
        made = temporary = None
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=entry.parent))
            made = make(temporary)
            save_entry(temporary, made)
            size = size_of(temporary)
            if size > self.max_bytes:
                return made
            publish(temporary, entry)
            self._note(entry, size)
            return load_entry(entry) or made
        except OSError:  # no permission, disk full, folder gone: what is in memory, or is mapped already, serves
            return made
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def _note(self, entry: Path, size: int) -> None:
        """Add an entry's size to the list of sizes; look through the folder where that is due."""
        with (entry.parent / USAGE).open("a", encoding="utf-8") as file:
            file.write(f"{size}\n")
        searched, sizes = _read_usage(entry.parent)
        is_recent = 0 <= time.time() - searched < SEARCH_S and len(sizes) < SEARCH_STORES
        if sum(sizes) > self.max_bytes or not is_recent:
            self._remove_oldest(entry)

    def _remove_oldest(self, kept: Path) -> None:
        _remove_leftovers(kept.parent)
        entries = sorted(_entries(kept.parent), key=lambda found: found[0])
        total = sum(size for _, size, _ in entries)
        bound = self.max_bytes if total <= self.max_bytes else KEPT_SHARE * self.max_bytes
        for _, size, entry in entries:
            if total <= bound:
                break
            if entry != kept:
                remove_entry(entry)
                total -= size
        _write_usage(kept.parent, total)


def content_key(what: str, given: Iterable[Any]) -> str:
    """Return a key that changes with anything that an entry depends on.

    Args:
        what: What kind of entry it is, and in which form.
        given: Arrays, which count by their content, and plain values, which count as Python shows them.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(what.encode())
    for part in given:
        is_array = isinstance(part, np.ndarray)
        digest.update((f" {part.dtype.str} {part.shape} " if is_array else f" {part!r} ").encode("utf-8", "replace"))
        rows = np.atleast_1d(part) if is_array else np.zeros(0)
        for start in range(0, len(rows), HASHED_ROWS):  # a mapped array may be larger than memory
            digest.update(np.ascontiguousarray(rows[start : start + HASHED_ROWS]).data)
    return digest.hexdigest()


def parse_bytes(text: str) -> int:
    """Read a size.

    Args:
        text: A number of bytes, or a number with the unit KB, MB, GB or TB (powers of 1000).

    Returns:
        Bytes.

    Raises:
        ConfigError: If the text is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?B)?", text.strip().upper())
    unit = "" if match is None or match[2] in (None, "B") else match[2]
    if match is None:
        raise parameter_error("POLYMODAL_CACHE_LIMIT", "the environment", "a size such as 50GB or 800MB", text)
    return int(float(match[1]) * BYTES_OF_UNIT[unit])


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name != USAGE]
    except OSError:
        return []


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield when each entry was last used, its size, and its folder."""
    for name in _names(folder):
        if not name.startswith(TEMPORARY) and (folder / name / RECORD_FILE).exists():
            yield last_use(folder / name), size_of(folder / name), folder / name


def _remove_leftovers(folder: Path) -> None:
    for name in _names(folder):
        if name.startswith(TEMPORARY) and time.time() - last_use(folder / name) > STALE_S:
            shutil.rmtree(folder / name, ignore_errors=True)


def _read_usage(folder: Path) -> tuple[float, list[int]]:
    """Return when the folder was last looked through, and the sizes: what lay there then, and what came since."""
    try:
        first, *lines = (folder / USAGE).read_text(encoding="utf-8").split()
        return float(first), [int(line) for line in lines]
    except (OSError, ValueError):
        return 0.0, []


def _write_usage(folder: Path, total: int) -> None:
    temporary = folder / f"{TEMPORARY}{USAGE}-{os.getpid()}-{time.time_ns()}"
    try:
        temporary.write_text(f"{time.time()}\n{total}\n", encoding="utf-8")
        temporary.replace(folder / USAGE)
    except OSError:
        temporary.unlink(missing_ok=True)
