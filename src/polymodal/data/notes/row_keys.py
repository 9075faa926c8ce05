"""Keys of rows: two rows have the same key where all their input cells are the same."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.cache.keys import content_digest
from polymodal.data.notes.part import Part
from polymodal.data.schema.columns import ColumnSchema
from polymodal.data.tables.splits import group_text
from polymodal.modalities import MODALITIES
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import is_absent_media, read_media, resolve_path, unwrap

READ_BYTES = 2**28
"""Bytes of files that are read; files beyond that are known by their path."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Keys = NDArray[np.uint64]


def row_keys(entries: Sequence[ColumnSchema], parts: Sequence[Part]) -> list[Keys]:
    """Return a key of every row of several parts.

    Args:
        entries: The input columns.
        parts: Rows; a column that a table lacks is absent in it.

    Returns:
        uint64 ``[rows]`` for each part; 0 where every input is absent.
    """
    keys = [np.zeros(len(part), np.uint64) for part in parts]
    present = [np.zeros(len(part), np.bool_) for part in parts]
    for entry in entries:
        cells = [part.cells(entry.name) for part in parts]
        hashes = _media_hashes(entry, cells, parts) if MODALITIES[entry.modality].is_media else _plain_hashes(cells)
        for number, (values, there) in enumerate(hashes):
            keys[number] = (keys[number] ^ values) * MULTIPLIER
            keys[number] ^= keys[number] >> np.uint64(29)
            present[number] |= there
    return [np.where(there, np.maximum(key, 1), 0) for key, there in zip(keys, present, strict=True)]


Hashes = tuple[Keys, NDArray[np.bool_]]


def _hashes(cells: Sequence[Cell], key_of: Callable[[Cell], Any]) -> Hashes:
    """Return uint64 ``[rows]``, and where a cell is there."""
    hashed = map(hash, cells if key_of is _itself else map(key_of, cells))
    values = np.fromiter(hashed, np.int64, len(cells)).view(np.uint64)
    return values, np.fromiter((cell is not None for cell in cells), np.bool_, len(cells))


def _plain_hashes(parts: Sequence[Sequence[Cell]]) -> list[Hashes]:
    """Compare cells as they are where all are of one kind, else as text, so that 1, 1.0 and "1" are equal."""
    kinds = {kind for cells in parts for kind in set(map(type, cells))} - {type(None)}
    as_it_is = kinds == {str} or kinds <= {int, float, bool}
    return [_hashes(cells, _itself if as_it_is else group_text) for cells in parts]


def _itself(cell: Cell) -> Cell:
    return cell


def _media_hashes(entry: ColumnSchema, cells: Sequence[Sequence[Cell]], parts: Sequence[Part]) -> list[Hashes]:
    modality = MODALITIES[entry.modality]
    if not modality.is_file:
        return _plain_hashes(cells)
    files = _FileKeys(zip(cells, (part.table.folder for part in parts), strict=True))
    return [
        _hashes([None if is_absent_media(cell) else files.key(cell, part.table.folder) for cell in here], _itself)
        for here, part in zip(cells, parts, strict=True)
    ]


class _FileKeys:
    """Keys of media cells by content; files are read only where another one has the same size."""

    def __init__(self, columns: Any) -> None:
        self._sizes: dict[str, int | None] = {}
        self._keys: dict[str, Any] = {}
        self._left = READ_BYTES
        for cells, folder in columns:
            for cell in cells:
                if (path := _path(cell, folder)) is not None and path not in self._sizes:
                    self._sizes[path] = _size(path)
        self._shared = {size for size, number in Counter(self._sizes.values()).items() if size and number > 1}

    def key(self, cell: Cell, folder: Path | None) -> Any:
        path = _path(cell, folder)
        if path is None:
            return content_digest(unwrap(cell))
        if path not in self._keys:
            self._keys[path] = self._of_file(path, folder)
        return self._keys[path]

    def _of_file(self, path: str, folder: Path | None) -> Any:
        size = self._sizes[path]
        if size not in self._shared or size is None or size > self._left:
            return path
        self._left -= size
        try:
            return content_digest(read_media(path, folder))
        except CellReadError:
            return path


def _path(cell: Cell, folder: Path | None) -> str | None:
    content = unwrap(cell)
    if not isinstance(content, str | PurePath) or str(content).lstrip().startswith("["):
        return None
    try:
        return resolve_path(content, folder)
    except CellReadError:
        return None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None


def repeated(keys: Keys) -> Mapping[int, list[int]]:
    """Group the rows of equal keys.

    Args:
        keys: uint64 ``[rows]``; 0 for rows without any input.

    Returns:
        Key to its rows, those of single rows and of 0 left out.
    """
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(keys[order]) > 0)) if len(keys) else order
    groups = np.split(order, starts[1:])
    return {int(keys[group[0]]): group.tolist() for group in groups if len(group) > 1 and keys[group[0]] != 0}
