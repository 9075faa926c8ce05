"""The cache of decoded arrays on disk, which are memory-mapped."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache.entry import (
    METADATA_FILE,
    TEMPORARY_PREFIX,
    CachedColumn,
    Decoded,
    commit_entry,
    entry_bytes,
    last_used,
    load_cached_column,
    load_entry,
    remove_entry,
    save_entry,
)
from polymodal.errors import parameter_error

LOGGER = logging.getLogger(__name__)

MAX_BYTES = 20 * 10**9
EVICTION_TARGET = 0.9
"""When the limit is exceeded, entries are evicted down to this share of it, so that the next stores need no scan."""
STALE_S = 6 * 3600.0
"""A temporary folder that was not touched for this long is stale."""
SCAN_INTERVAL_S = 3600.0
SCAN_INTERVAL_STORES = 1000
"""The folder is scanned at most once in this many seconds or stores, unless the limit is exceeded."""
MAX_REUSED_COLUMNS = 8
HASH_BLOCK_ROWS = 256
USAGE_FILE = "usage"
UNIT_BYTES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class CacheUsage:
    """Size of a cache.

    Attributes:
        folder: The cache's folder.
        entries: Number of entries: decoded columns and outputs of frozen encoders.
        bytes: Their size in bytes.
        max_bytes: Maximum size in bytes.
        oldest_use: Time of last use of the least recently used entry, in seconds since 1970; None without entries.
    """

    folder: Path
    entries: int
    bytes: int
    max_bytes: int
    oldest_use: float | None


@dataclass(frozen=True)
class ArrayCache:
    """A folder of decoded columns.

    Entries are written and removed atomically; one that cannot be read is computed again. If the folder cannot be
    written to (no permission, disk full) columns stay in memory.

    Attributes:
        folder: Folder of the entries; None caches nothing.
        max_bytes: Above this total size the least recently used entries are evicted.

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
            ConfigError: If the limit is not a size.
        """
        chosen, limit = os.environ.get("POLYMODAL_CACHE"), os.environ.get("POLYMODAL_CACHE_LIMIT")
        folder = Path(chosen) if chosen else Path.home() / ".cache" / "polymodal" / "arrays"
        return cls(folder, parse_bytes(limit) if limit else MAX_BYTES)

    def column(self, key: str, compute: Callable[[Path | None], Decoded]) -> Decoded:
        """Return a column from the cache, or compute and store it.

        Args:
            key: Key of the entry; equal keys must mean equal arrays.
            compute: Computes the column; called only if the cache has no valid entry. Its argument is a folder in
                which it may write the values itself, as ``values.npy``, or None if there is none.

        Returns:
            The column, memory-mapped where it came from disk (copy on write: the file never
            changes), and its broken cells.
        """
        if self.folder is None:
            return compute(None)
        found = load_entry(self.folder / key)
        LOGGER.debug("cache: %s %s", "found" if found else "has no", key)
        if found is None:
            found = self._store(self.folder / key, compute)
        return compute(None) if found is None else found

    def columns_with_prefix(self, prefix: str) -> Iterator[CachedColumn]:
        """Return the columns whose keys have a prefix, most recently used first.

        Args:
            prefix: Prefix of the keys.

        Yields:
            Up to eight columns with the digests of their cells.
        """
        names = [] if self.folder is None else [name for name in _names(self.folder) if name.startswith(prefix)]
        entries = [] if self.folder is None else [self.folder / name for name in names]
        ages = {entry: last_used(entry) for entry in entries}
        for entry in sorted(entries, key=lambda entry: -ages[entry])[:MAX_REUSED_COLUMNS]:
            cached = load_cached_column(entry)
            if cached is not None:
                yield cached

    def usage(self) -> CacheUsage:
        """Return the size of the cache."""
        folder = self.folder or Path()
        found = [] if self.folder is None else list(_entries(folder))
        oldest = min((used for used, _, _ in found), default=None)
        return CacheUsage(folder, len(found), sum(size for _, size, _ in found), self.max_bytes, oldest)

    def clear(self, older_than_s: float = 0.0) -> CacheUsage:
        """Remove entries; running processes can still read the columns they have mapped.

        Args:
            older_than_s: Only entries that were not used for this many seconds.

        Returns:
            What was removed.
        """
        folder = self.folder or Path()
        found = [] if self.folder is None else list(_entries(folder))
        old = [(used, size, entry) for used, size, entry in found if used <= time.time() - older_than_s]
        removed = [(used, size) for used, size, entry in old if remove_entry(entry)]
        if self.folder is not None:
            _remove_stale_folders(folder)
            _write_usage(folder, sum(size for _, size, _ in found) - sum(size for _, size in removed))
        oldest = min((used for used, _ in removed), default=None)
        return CacheUsage(folder, len(removed), sum(size for _, size in removed), self.max_bytes, oldest)

    def _store(self, entry: Path, compute: Callable[[Path | None], Decoded]) -> Decoded | None:
        """Compute and store an entry; None if it could not be written and has to be computed in memory."""
        computed = temporary = None
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            temporary = entry.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
            temporary.mkdir()  # with the mode of the umask: other users may share the cache
            computed = compute(temporary)
            save_entry(temporary, computed)
            size = entry_bytes(temporary)
            if size > self.max_bytes:
                return computed
            commit_entry(temporary, entry)
            self._record_size(entry, size)
            return load_entry(entry) or computed
        except OSError:  # no permission, disk full, folder gone: what is in memory, or is mapped already, serves
            return computed
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)

    def _record_size(self, entry: Path, size: int) -> None:
        """Record an entry's size, and scan the folder if that is due."""
        with (entry.parent / USAGE_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{size}\n")
        scanned, sizes = _read_usage(entry.parent)
        is_recent = 0 <= time.time() - scanned < SCAN_INTERVAL_S and len(sizes) < SCAN_INTERVAL_STORES
        if sum(sizes) > self.max_bytes or not is_recent:
            self._evict(entry)

    def _evict(self, new_entry: Path) -> None:
        _remove_stale_folders(new_entry.parent)
        entries = sorted(_entries(new_entry.parent), key=lambda found: found[0])
        total = sum(size for _, size, _ in entries)
        bound = self.max_bytes if total <= self.max_bytes else EVICTION_TARGET * self.max_bytes
        for _, size, entry in entries:
            if total <= bound:
                break
            if entry != new_entry:
                remove_entry(entry)
                total -= size
        _write_usage(new_entry.parent, total)


def content_key(kind: str, dependencies: Iterable[Any]) -> str:
    """Return a hash of everything that an entry depends on.

    Args:
        kind: Kind and format version of the entry.
        dependencies: Arrays, which are hashed by content, and plain values, which are hashed by ``repr``.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(kind.encode())
    for part in dependencies:
        is_array = isinstance(part, np.ndarray)
        digest.update((f" {part.dtype.str} {part.shape} " if is_array else f" {part!r} ").encode("utf-8", "replace"))
        rows = np.atleast_1d(part) if is_array else np.zeros(0)
        for start in range(0, len(rows), HASH_BLOCK_ROWS):  # a mapped array may be larger than memory
            digest.update(np.ascontiguousarray(rows[start : start + HASH_BLOCK_ROWS]).data)
    return digest.hexdigest()


def parse_bytes(text: str) -> int:
    """Parse a size in bytes.

    Args:
        text: A number of bytes, or a number with the unit KB, MB, GB or TB (powers of 1000).

    Returns:
        Bytes.

    Raises:
        ConfigError: If the text is not a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?B)?", text.strip().upper())
    unit = "" if match is None or match[2] in (None, "B") else match[2]
    if match is None:
        raise parameter_error("POLYMODAL_CACHE_LIMIT", "the environment", "a size such as 50GB or 800MB", text)
    return int(float(match[1]) * UNIT_BYTES[unit])


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name != USAGE_FILE]
    except OSError:
        return []


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield time of last use, size and folder of each entry."""
    for name in _names(folder):
        if not name.startswith(TEMPORARY_PREFIX) and (folder / name / METADATA_FILE).exists():
            yield last_used(folder / name), entry_bytes(folder / name), folder / name


def _remove_stale_folders(folder: Path) -> None:
    for name in _names(folder):
        if name.startswith(TEMPORARY_PREFIX) and time.time() - last_used(folder / name) > STALE_S:
            shutil.rmtree(folder / name, ignore_errors=True)


def _read_usage(folder: Path) -> tuple[float, list[int]]:
    """Return the time of the last scan, and the total size then followed by the sizes stored since."""
    try:
        first, *lines = (folder / USAGE_FILE).read_text(encoding="utf-8").split()
        return float(first), [int(line) for line in lines]
    except (OSError, ValueError):
        return 0.0, []


def _write_usage(folder: Path, total: int) -> None:
    temporary = folder / f"{TEMPORARY_PREFIX}{USAGE_FILE}-{os.getpid()}-{time.time_ns()}"
    try:
        temporary.write_text(f"{time.time()}\n{total}\n", encoding="utf-8")
        temporary.replace(folder / USAGE_FILE)
    except OSError:
        with suppress(OSError):  # a read-only disk
            temporary.unlink()
