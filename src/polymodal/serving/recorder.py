"""Keeps predictions as Parquet files, for ``polymodal drift``; nothing is kept unless it was asked for.

The files of a folder are one table: ``recorded_at``, ``model_version``, the chosen input columns as they were sent, and
for each target ``predicted:TARGET`` and, where there is one, ``predicted:TARGET:confidence``.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.atomic_files import atomic_file
from polymodal.data.schema.columns import read_written_number
from polymodal.errors import ConfigError, did_you_mean
from polymodal.modalities.category import category_text
from polymodal.modalities.number import parse_number
from polymodal.serving.columns import InputColumn
from polymodal.serving.logs import LOGGER, error_fields
from polymodal.serving.questions import Row

FILE_ROWS = 1000
FILE_S = 60.0
MOST_ROWS = 100_000
"""Rows that wait to be written at most, where the disk is slow or full; further ones are lost, and counted."""
ALL = "all"


class Recorder:
    """Collects predictions and writes them in files of a thousand rows, or every minute.

    Attributes:
        folder: Where the files are.
        columns: Input columns that are kept.
        num_lost: Rows that could not be written.
    """

    def __init__(self, folder: Path, columns: Sequence[str], known: Mapping[str, InputColumn]) -> None:
        """Check the columns and make the folder.

        Args:
            folder: Where the files are to be.
            columns: Input columns to keep; ``all`` keeps every one.
            known: The model's columns.

        Raises:
            ConfigError: If there is no such column, or the folder cannot be written to.
        """
        names = list(known) if list(columns) == [ALL] else list(columns)
        for name in names:
            if name not in known:
                raise ConfigError(f"The model has no input column {name!r} to record. {did_you_mean(name, known)}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"Nothing can be recorded in {folder}: {error.strerror}. Choose another folder."
            ) from None
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"Nothing can be recorded in {folder}: it may not be written to. Choose another folder.")
        self.folder = folder
        self.columns = {name: known[name] for name in names}
        self.num_lost = 0
        self._rows: list[dict[str, Any]] = []
        self._oldest_s = 0.0
        self._num_files = 0
        self._task: asyncio.Task[None] | None = None
        self._full = asyncio.Event()

    def start(self) -> None:
        """Begin to write; call it in the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._write_forever())

    async def stop(self) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._write()

    def see(self, rows: Sequence[Row], answers: Sequence[Mapping[str, Any]], version: str) -> None:
        """Keep the predictions of a request.

        Args:
            rows: Its checked rows.
            answers: One answer a row, of ``ServedModel.predict``.
            version: Version of the model that answered.
        """
        if len(self._rows) + len(rows) > MOST_ROWS:
            self.num_lost += len(rows)
            return
        self._oldest_s = self._oldest_s or time.monotonic()
        head = {"recorded_at": datetime.now(UTC), "model_version": version}
        for row, answer in zip(rows, answers, strict=True):
            self._rows.append(head | self._inputs(row) | _predicted(answer["predictions"]))
        if len(self._rows) >= FILE_ROWS:
            self._full.set()

    def _inputs(self, row: Row) -> dict[str, Any]:
        return {name: _plain(column, row.cells.get(name)) for name, column in self.columns.items()}

    async def _write_forever(self) -> None:
        while True:
            self._full.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), FILE_S)
            await self._write()

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        for group in _of_one_type(rows):
            self._num_files += 1
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            path = self.folder / f"predictions-{now}-{os.getpid()}-{self._num_files}.parquet"
            try:
                await asyncio.to_thread(write_rows, group, path)
            except Exception as error:  # a full disk must not stop the answers
                self.num_lost += len(group)
                LOGGER.error("recording failed", extra={"fields": {"rows": len(group), **error_fields(error)}})


def _of_one_type(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Group rows so that each column of a group has one type: files of a media column may be sent as lists too."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple((name, isinstance(value, bytes)) for name, value in row.items() if value is not None)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as a Parquet file, as a whole or not at all.

    Args:
        rows: Rows with the same columns, or some of them.
        path: The file.

    Raises:
        OSError: If it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    with atomic_file(path) as temporary:
        parquet.write_table(table, temporary)


def _predicted(predictions: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, target in predictions.items():
        value = target["value"]
        found[f"predicted:{name}"] = value if isinstance(value, str | int | float) or value is None else _text(value)
        if target.get("confidence") is not None:
            found[f"predicted:{name}:confidence"] = float(target["confidence"])
    return found


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain(column: InputColumn, cell: Cell) -> Any:
    """Return a cell in one type: numbers as floats, files as bytes, texts as they are, lists as JSON text."""
    if cell is None or isinstance(cell, bytes):
        return cell
    if column.kind == "number":
        return parse_number(cell if column.form is None else read_written_number(column.form, cell))
    if column.kind == "category":
        return category_text(cell)
    if isinstance(cell, list | np.ndarray):
        return _text(cell.tolist() if isinstance(cell, np.ndarray) else cell)
    return str(cell)
