"""Decoded arrays on disk: made once, memory-mapped ever after, keyed by content and settings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import distinct, resolve_path, unwrap

FORMAT = 1
"""Part of every key; rises when decoding changes, so that older entries are not taken."""
MAX_BYTES = 20 * 10**9
STALE_S = 24 * 3600.0
TEMPORARY = "unfinished-"
JSON_MODALITIES = ("vector", "series", "points")
"""Modalities whose cells may be JSON text instead of paths."""

Decoded = tuple[Column, list[BrokenCell]]


@dataclass(frozen=True)
class ArrayCache:
    """A folder of decoded columns.

    An entry appears whole or not at all; one that cannot be read is made again. Where the folder
    cannot be written (no permission, disk full) columns stay in memory.

    Attributes:
        folder: Where entries lie; None keeps nothing.
        max_bytes: When all entries together are larger, those not used for longest are removed.

    Example:
        >>> cache = ArrayCache(None)
        >>> column = Column(np.zeros((2, 3), np.float32), np.ones(2, bool))
        >>> cache.column("key", lambda: (column, []))[0] is column
        True
    """

    folder: Path | None
    max_bytes: int = MAX_BYTES

    @classmethod
    def default(cls) -> ArrayCache:
        """Return the user's cache: ``$POLYMODAL_CACHE``, or ``~/.cache/polymodal/arrays``.

        Returns:
            The cache; its folder need not exist.
        """
        chosen = os.environ.get("POLYMODAL_CACHE")
        return cls(Path(chosen) if chosen else Path.home() / ".cache" / "polymodal" / "arrays")

    def column(self, key: str, make: Callable[[], Decoded]) -> Decoded:
        """Return a column from the cache, or make and keep it.

        Args:
            key: From ``column_key``: the same key means the same arrays.
            make: Decodes the column; called only where the cache has no sound entry.

        Returns:
            The column, memory-mapped where it came from disk (copy on write: the file never
            changes), and its broken cells.
        """
        if self.folder is None:
            return make()
        entry = self.folder / key
        found = _load(entry)
        if found is not None:
            return found
        made = make()
        if _num_bytes(made[0]) <= self.max_bytes and self._store(entry, made):
            self._remove_oldest(entry)
            return _load(entry) or made
        return made

    def _store(self, entry: Path, made: Decoded) -> bool:
        temporary = None
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=entry.parent))
            _save(temporary, made)
            shutil.rmtree(entry, ignore_errors=True)
            temporary.rename(entry)
        except OSError:  # no permission, disk full, or another process was first: the arrays in memory serve
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            return False
        return True

    def _remove_oldest(self, kept: Path) -> None:
        entries = []
        for entry in kept.parent.iterdir():
            size, used_s = _size_and_age(entry)
            if entry.name.startswith(TEMPORARY) and time.time() - used_s > STALE_S:
                shutil.rmtree(entry, ignore_errors=True)
            elif (entry / "column.json").exists():
                entries.append((used_s, size, entry))
        total = sum(size for _, size, _ in entries)
        for _, size, entry in sorted(entries, key=lambda item: item[0]):
            if total <= self.max_bytes:
                return
            if entry != kept:
                shutil.rmtree(entry, ignore_errors=True)
                total -= size


def _size_and_age(entry: Path) -> tuple[int, float]:
    try:
        return sum(file.stat().st_size for file in entry.iterdir()), entry.stat().st_mtime
    except OSError:  # another process removed it meanwhile
        return 0, time.time()


def _num_bytes(column: Column) -> int:
    return int(column.values.nbytes + column.present.nbytes)


def _save(folder: Path, made: Decoded) -> None:
    column, broken = made
    np.save(folder / "values.npy", column.values, allow_pickle=False)
    np.save(folder / "present.npy", column.present, allow_pickle=False)
    if column.lengths is not None:
        np.save(folder / "lengths.npy", column.lengths, allow_pickle=False)
    record = {
        "format": FORMAT,
        "has_lengths": column.lengths is not None,
        "broken": [asdict(cell) for cell in broken],
    }
    (folder / "column.json").write_text(json.dumps(record), encoding="utf-8")


def _load(entry: Path) -> Decoded | None:
    try:
        record = json.loads((entry / "column.json").read_text(encoding="utf-8"))
        lengths = _read_array(entry / "lengths.npy") if record["has_lengths"] else None
        column = Column(_map_array(entry / "values.npy"), _read_array(entry / "present.npy"), lengths)
        broken = [BrokenCell(**cell) for cell in record["broken"]]
        os.utime(entry)
    except PermissionError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError):  # absent, half-written or damaged: made again
        shutil.rmtree(entry, ignore_errors=True)
        return None
    return column, broken


def _read_array(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _map_array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:  # an array without values cannot be mapped
        return _read_array(path)
    return array


def column_key(modality: str, state: Mapping[str, Any], cells: Sequence[Cell], folder: Path | None) -> str:
    """Return a key that changes with whatever decoding depends on.

    Args:
        modality: Name of the modality.
        state: Its fitted state.
        cells: The cells: a file counts by its path, size and time of change (in nanoseconds),
            everything else by its content.
        folder: Where relative paths begin.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, modality, state], sort_keys=True).encode())
    order = np.full(len(cells), -1, np.int64)
    for index, (cell, rows) in enumerate(distinct(cells)):
        order[rows] = index
        digest.update(hashlib.sha256(_identity(cell, modality, folder)).digest())
    digest.update(order.tobytes())
    return digest.hexdigest()


def _identity(cell: Cell, modality: str, folder: Path | None) -> bytes:
    content = unwrap(cell)
    is_path = isinstance(content, PurePath) or (isinstance(content, str) and modality != "text")
    if is_path and not (modality in JSON_MODALITIES and str(content).lstrip().startswith("[")):
        return _file_identity(content, folder)
    try:
        return _content(content)
    except Exception as error:  # a picture or array that fails when it is read: a broken cell, not a broken run
        return f"unreadable {type(content).__name__} {error!r}".encode("utf-8", "surrogatepass")


def _file_identity(path: str | PurePath, folder: Path | None) -> bytes:
    try:
        resolved = resolve_path(path, folder).absolute()
        status = resolved.stat()
    except (CellReadError, OSError, ValueError) as error:
        return f"unreadable {type(error).__name__} {folder} {path}".encode("utf-8", "surrogatepass")
    return f"file {resolved} {status.st_size} {status.st_mtime_ns}".encode("utf-8", "surrogatepass")


def _content(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return b"bytes " + bytes(value)
    if isinstance(value, str):
        return b"text " + value.encode("utf-8", "surrogatepass")
    if isinstance(value, Mapping):
        return b"map " + b"".join(_digest(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return type(value).__name__.encode() + b"".join(_digest(item) for item in value)
    if hasattr(value, "tobytes") and not isinstance(value, np.ndarray | np.generic):  # a PIL image
        orientation = repr(sorted(value.getexif().items())) if hasattr(value, "getexif") else ""
        head = f"picture {value.mode} {value.size} {value.info.get('transparency')!r} {orientation} ".encode()
        return head + bytes(value.convert("RGBA" if value.mode == "P" else value.mode).tobytes())
    if hasattr(value, "__array__"):
        return _array_content(np.asarray(value))
    return f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass")


def _array_content(array: NDArray[Any]) -> bytes:
    if array.dtype == object:
        return b"objects " + _content(array.tolist())
    return f"array {array.dtype.str} {array.shape} ".encode() + array.tobytes()


def _digest(value: Any) -> bytes:
    return hashlib.sha256(_content(value)).digest()
