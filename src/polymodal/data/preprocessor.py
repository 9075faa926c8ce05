"""Transforms tables to arrays by each stream's modality, fitted on the training rows only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.decoding import decode_column
from polymodal.data.schema.samples import present_cells
from polymodal.data.schema.schema import Schema, StreamSchema
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, parameter_error
from polymodal.modalities import MODALITIES, Modality, Tabular, build_settings
from polymodal.modalities.decoding import unique_cells
from polymodal.modalities.media import describe_source, is_absent_media
from polymodal.modalities.parallel import chunked

LOGGER = logging.getLogger(__name__)

PROBE_CHUNK_SIZE = 32
MAX_SHOWN_CELLS = 3


@dataclass(frozen=True)
class Preprocessor:
    """The fitted modalities of all streams.

    Attributes:
        schema: The table's columns and streams.
        modalities: Stream to fitted modality, in the schema's order.
    """

    schema: Schema
    modalities: dict[str, Modality]

    @property
    def column_names(self) -> list[str]:
        """Input columns, stream by stream."""
        return [name for stream in self.schema.streams for name in stream.columns]

    @classmethod
    def fit(
        cls,
        table: Table,
        rows: NDArray[np.int64],
        schema: Schema,
        settings: Mapping[str, BaseModel | Mapping[str, Any]] | None = None,
        *,
        shared: Mapping[str, Sequence[str]] | None = None,
        given: Mapping[str, Modality] | None = None,
        num_threads: int | None = None,
    ) -> Preprocessor:
        """Fit every stream's modality.

        Args:
            table: The training table.
            rows: Indices of the training rows; other rows are not read.
            schema: Columns and streams.
            settings: Stream to its modality's settings, as an object or as options; other streams use the defaults.
            shared: Name of a group to media streams that are fitted together, on the cells of all.
            given: Stream to a modality that was fitted before, on other rows.
            num_threads: Number of decoding threads; None: all cores.

        Returns:
            The fitted preprocessor.

        Raises:
            ConfigError: If settings name an unknown stream or option.
            CellError: If not one training cell of a media column can be read.
        """
        settings = settings or {}
        for name in settings:
            if name not in {stream.name for stream in schema.streams}:
                known = ", ".join(stream.name for stream in schema.streams)
                raise parameter_error("settings", "Preprocessor.fit", f"by stream, of: {known}", name)
        training = schema.with_derived(table.take(rows))
        shared_with = {name: streams for streams in (shared or {}).values() for name in streams}
        fitted: dict[str, Modality] = dict(given or {})
        for stream in schema.streams:
            if stream.name in (given or {}):
                _check_readable(stream, fitted[stream.name], training, num_threads)
                continue
            first = shared_with.get(stream.name, [stream.name])[0]
            options = _settings(stream, schema, settings.get(stream.name, {}))
            if first not in fitted:
                cells = _joint_cells(stream, schema, shared_with, training)
                modality = MODALITIES[stream.modality].fit(cells, options, table.folder, num_threads=num_threads)
                fitted[first] = modality
            fitted[stream.name] = fitted[first].with_settings(options)
            _check_readable(stream, fitted[stream.name], training, num_threads)
        return cls(schema, fitted)

    def transform(
        self, table: Table, cache: ArrayCache | None = None, *, num_threads: int | None = None
    ) -> tuple[dict[str, Column], list[BrokenCell]]:
        """Transform a table to arrays.

        Args:
            table: Any table; a missing column is absent in every row, other columns are ignored.
            cache: Where decoded media columns are kept; None keeps nothing.
            num_threads: Number of decoding threads; None: all cores.

        Returns:
            Stream to arrays, ``table.num_rows`` rows each; and the broken cells by row and column.
        """
        table, cache = self.schema.with_derived(table), cache or ArrayCache(None)
        columns: dict[str, Column] = {}
        broken: list[BrokenCell] = []
        for stream in self.schema.streams:
            LOGGER.debug("stream %s of %s: %s", stream.name, table.name, stream.modality)
            columns[stream.name], found = self._transform(stream, table, cache, num_threads)
            broken += [cell if cell.column else replace(cell, column=stream.columns[0]) for cell in found]
        return columns, sorted(broken, key=lambda cell: (cell.row, cell.column))

    def _transform(
        self, stream: StreamSchema, table: Table, cache: ArrayCache, num_threads: int | None
    ) -> tuple[Column, list[BrokenCell]]:
        modality, cells = self.modalities[stream.name], _cells(stream, table)
        if not modality.is_media or isinstance(cells, dict):
            return modality.transform(cells, table.folder, num_threads=num_threads)
        return decode_column(modality, cells, table.folder, cache, num_threads)

    def state(self) -> dict[str, Any]:
        """Return schema and fitted state in plain JSON types."""
        modalities = {
            stream: {"modality": modality.name, "state": modality.state()}
            for stream, modality in self.modalities.items()
        }
        return {"schema": self.schema.state(), "modalities": modalities}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Preprocessor:
        """Restore the preprocessor from its state.

        Args:
            state: What ``state`` returned, possibly through JSON.

        Returns:
            A preprocessor that transforms every table to the same bits.
        """
        schema = Schema.from_state(state["schema"])
        entries = state["modalities"]
        modalities = {
            stream.name: MODALITIES[entries[stream.name]["modality"]].from_state(entries[stream.name]["state"])
            for stream in schema.streams
        }
        return cls(schema, modalities)


def _settings(stream: StreamSchema, schema: Schema, options: BaseModel | Mapping[str, Any]) -> BaseModel:
    settings = options if isinstance(options, BaseModel) else build_settings(stream.modality, options)
    if stream.columns[0] in schema.sounds:
        return settings.model_copy(update={"of_video": True})
    if MODALITIES[stream.modality].is_column:
        return settings
    kinds = {name: schema.modality_of(name) for name in stream.columns}
    return settings.model_copy(update={"kinds": kinds})


def _cells(stream: StreamSchema, table: Table) -> Sequence[Cell] | dict[str, Sequence[Cell]]:
    absent: Sequence[Cell] = [None] * table.num_rows
    cells = {name: table.columns.get(name, absent) for name in stream.columns}
    return cells[stream.columns[0]] if MODALITIES[stream.modality].is_column else cells


def _joint_cells(
    stream: StreamSchema, schema: Schema, shared_with: Mapping[str, Sequence[str]], table: Table
) -> Sequence[Cell] | dict[str, Sequence[Cell]]:
    """Return a stream's cells and those of the media streams that share its encoder."""
    if stream.name not in shared_with:
        return _cells(stream, table)
    found = [_cells(other, table) for other in schema.streams if other.name in shared_with[stream.name]]
    return [cell for cells in found if not isinstance(cells, dict) for cell in cells]


def _check_readable(stream: StreamSchema, modality: Modality, training: Table, num_threads: int | None) -> None:
    """Raise an error if a column has cells but none can be read: its paths are wrong, or its modality."""
    if isinstance(modality, Tabular):
        _check_plain_readable(modality, training)
    if not modality.is_media:
        return
    name = stream.columns[0]
    cells = training.columns.get(name, [])
    first: list[BrokenCell] = []
    for chunk in _probes(cells):
        column, broken = modality.transform(chunk, training.folder, num_threads=num_threads)
        if column.present.any():
            return
        first = first or broken
    if first:
        raise CellError(_unreadable(training, name, [cell for cell, _ in unique_cells(cells)], first[0].reason))


def _check_plain_readable(modality: Tabular, training: Table) -> None:
    for name, member in modality.members.items():
        cells = present_cells(training.columns.get(name, []))
        column, broken = member.transform(cells, None)
        if broken and not column.present.any():
            raise CellError(
                f"{training.name}, column {name!r}: not one of its {len(cells):,} training cells can be read as "
                f"{member.name}. The first one: {broken[0].reason}. Leave out --modality {name}={member.name}, or drop "
                f"the column with --drop {name}."
            )


def _probes(cells: Sequence[Cell]) -> Iterator[Sequence[Cell]]:
    """Yield the first cell, then all other distinct cells in chunks."""
    yield list(islice((cell for cell in cells if not is_absent_media(cell)), 1))
    yield from chunked([cell for cell, _ in unique_cells(cells)][1:], PROBE_CHUNK_SIZE)


def _unreadable(training: Table, name: str, cells: Sequence[Cell], reason: str) -> str:
    tried = ", ".join(describe_source(cell, training.folder) for cell in cells[:MAX_SHOWN_CELLS])
    where = _where(training.folder)
    return (
        f"{training.name}, column {name!r}: not one of its {len(cells):,} training cells can be read. Tried first: "
        f"{tried}. The first one: {reason}. {where}, or leave the column out with --drop {name}."
    )


def _where(folder: Path | None) -> str:
    if folder is None:
        return "Give bytes or arrays, or read the table from a file so that paths may be opened"
    return f"Correct the paths (relative ones begin at {folder.absolute()})"
