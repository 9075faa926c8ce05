"""Keys of decoded columns: digests of everything that decoding depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.stored_columns import ReadSequence, take_cells
from polymodal.modalities.archive_files import member_identity, split_archive_path
from polymodal.modalities.base import CellReadError, is_absent
from polymodal.modalities.decoding import CellRows, unique_cells
from polymodal.modalities.media import resolve_path, unwrap
from polymodal.modalities.picture_lists import frames_of
from polymodal.modalities.remote_files import address_identity, is_address, is_remote_allowed

FORMAT = 3
"""Part of every key; is increased when decoding changes, so that older entries are not used."""
DIGEST_BYTES = 16


@dataclass(frozen=True)
class CellKeys:
    """Keys of the cells of one column.

    Attributes:
        settings: 16 hexadecimal digits: format, modality and its fitted state.
        groups: Each distinct present cell with its rows; texts are not deduplicated.
        digests: bytes ``[distinct cells]``, 16 each: a file is identified by path, size and times of change (in
            nanoseconds), anything else by its content.
        num_rows: Rows of the column.
    """

    settings: str
    groups: Sequence[CellRows]
    digests: NDArray[np.bytes_]
    num_rows: int

    @property
    def name(self) -> str:
        """The column's key: ``settings``, a dash, and 48 digits for the cells and their order."""
        return f"{self.settings}-{hashlib.sha256(self.of_rows().tobytes()).hexdigest()[:48]}"

    def of_rows(self) -> NDArray[np.bytes_]:
        """Return the digest of every row's cell, bytes ``[rows]``; empty where the cell is absent."""
        digests = np.zeros(self.num_rows, f"S{DIGEST_BYTES}")
        rows = np.fromiter(chain.from_iterable(rows for _, rows in self.groups), np.int64)
        digests[rows] = np.repeat(self.digests, [len(rows) for _, rows in self.groups])
        return digests


def cell_keys(
    modality: str,
    state: Mapping[str, Any],
    cells: Sequence[Cell],
    folder: Path | None,
    *,
    is_file: bool = True,
    is_json: bool = False,
) -> CellKeys:
    """Return the keys of a column and of its cells.

    Args:
        modality: Name of the modality.
        state: Its fitted state.
        cells: The cells.
        folder: Base folder of relative paths.
        is_file: Whether strings are paths of files.
        is_json: Whether strings may be JSON text instead.

    Returns:
        The keys; the same keys mean the same arrays.
    """
    settings = hashlib.sha256(json.dumps([FORMAT, modality, state], sort_keys=True).encode()).hexdigest()[:16]
    groups = unique_cells(cells) if is_file else _Texts(cells)
    base = None if folder is None else folder.absolute()
    identities = (_identity(cell, base, is_file, is_json) for cell, _ in groups)
    digests = (hashlib.sha256(identity).digest()[:DIGEST_BYTES] for identity in identities)
    return CellKeys(settings, groups, np.fromiter(digests, f"S{DIGEST_BYTES}", len(groups)), len(cells))


class _Texts(ReadSequence[CellRows]):
    """Each text with its row: tokenising is cheaper than deduplication."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self.rows = np.flatnonzero(np.fromiter((not is_absent(cell) for cell in cells), np.bool_, len(cells)))

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: NDArray[np.int64]) -> list[CellRows]:
        rows = self.rows[places]
        return list(zip(take_cells(self.cells, rows), ([row] for row in rows.tolist()), strict=True))


def _identity(cell: Cell, folder: Path | None, is_file: bool, is_json: bool) -> bytes:
    content = unwrap(cell)
    if content is not cell and isinstance(cell, Mapping) and {"start", "end"} & set(cell):
        return _identity(content, folder, is_file, is_json) + f" {cell.get('start')} {cell.get('end')}".encode()
    if is_file and (pictures := frames_of(content, folder)) is not None:
        return b"pictures " + b" ".join(_identity(picture, folder, is_file, is_json) for picture in pictures)
    is_path = isinstance(content, PurePath) or (isinstance(content, str) and is_file)
    if is_path and not (is_json and str(content).lstrip().startswith("[")):
        return _file_identity(content, folder)
    try:
        return _content(content)
    except Exception as error:  # a picture or array that fails when it is read: a broken cell, not a broken run
        return f"unreadable {type(content).__name__} {error!r}".encode("utf-8", "surrogatepass")


def _file_identity(path: str | PurePath, folder: Path | None) -> bytes:
    if folder is not None and is_remote_allowed() and is_address(str(path)):
        return address_identity(str(path))
    try:
        resolved = resolve_path(path, folder)
        if (inside := split_archive_path(resolved)) is not None:
            return member_identity(*inside)
        status = os.stat(resolved)
    except (CellReadError, OSError, ValueError) as error:
        return f"unreadable {type(error).__name__} {folder} {path}".encode("utf-8", "surrogatepass")
    # A file that was replaced with its modification time kept is detected by the time of its status change.
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"file {resolved} {status.st_size} {times}".encode("utf-8", "surrogatepass")


def _content(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return b"bytes " + bytes(value)
    if isinstance(value, str):
        return b"text " + value.encode("utf-8", "surrogatepass")
    if isinstance(value, Mapping):
        return b"map " + b"".join(content_digest(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return type(value).__name__.encode() + b"".join(content_digest(item) for item in value)
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


def content_digest(value: Any) -> bytes:
    """Return the SHA-256 digest of what a cell holds; paths count as text.

    Args:
        value: Any cell: text, bytes, an array, a picture, a number, or lists and records of them.

    Returns:
        32 bytes; the same content has the same digest.
    """
    return hashlib.sha256(_content(value)).digest()
