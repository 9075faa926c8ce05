"""Inspection of a table as plain JSON: columns, missing and broken cells, class balance of the targets, notices."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polymodal.arrays import BrokenCell, Cell
from polymodal.data.notes.dropped import no_target_notice, unknown_truth_notices
from polymodal.data.notes.notice import Notice, in_order
from polymodal.data.notes.part import Part
from polymodal.data.notes.table_notices import table_notices
from polymodal.data.notes.values import absent_file_notices, as_numbers
from polymodal.data.schema.certainty import certainty_of
from polymodal.data.schema.columns import ColumnSchema, TargetSchema
from polymodal.data.schema.detect_modality import RECOGNISED_ONLY
from polymodal.data.schema.detect_target import FLAT_KINDS, number_of
from polymodal.data.schema.samples import are_urls, evenly_spaced, present_cells
from polymodal.data.schema.schema import Schema, infer_schema
from polymodal.data.tables.splits import group_text
from polymodal.data.tables.table import Table
from polymodal.modalities import MODALITIES, Category, CellReadError, Modality, build_settings
from polymodal.modalities.box_cells import read_boxes
from polymodal.modalities.decoding import unique_cells
from polymodal.modalities.label_lists import labels_of
from polymodal.modalities.remote_files import is_remote_allowed
from polymodal.progress import Progress, SilentProgress

MAX_EXAMPLES = 3
MAX_BROKEN_SHOWN = 5
MAX_VALUES_SHOWN = 20
CHUNK = 64


def inspect_table(
    table: Table,
    *,
    targets: Sequence[str] = (),
    modality: Mapping[str, str] | None = None,
    streams: Mapping[str, Sequence[str]] | None = None,
    drop: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Inspect a table; every media cell is decoded once.

    Args:
        table: The table.
        targets: Columns to predict.
        modality: Column to modality, as given by the user.
        streams: Stream name to patterns of column names.
        drop: Columns to leave out; they are listed, but not decoded.
        settings: Stream name to options of its modality.
        progress: Told how many cells are decoded.
        num_threads: Threads that decode; None means all cores.

    Returns:
        Plain JSON: ``rows``; ``columns``, each with ``name``, ``modality``, ``stream`` (None: ignored or a target),
        ``role`` (``input``, ``target`` or ``ignored``), ``reason``, ``supported``, ``missing``, ``distinct``,
        ``broken``, ``broken_examples`` (``row`` counted from 1, and ``reason``), ``examples``, ``confidence`` (0 to 1),
        ``certainty`` (``sure``, ``likely`` or ``guess``), ``second_guess`` (a modality, or None), ``overrule`` (the
        option of the command line that overrules it, or None), and for categories
        ``balance`` (the most frequent values with their rows); ``targets``, each with ``name``, ``kind``, ``reason``,
        ``missing``, and ``balance`` or, for numbers, ``range``, or for structured targets ``different``: how many; and
        ``notices`` about the table, each with ``kind``, ``columns``, ``rows``, ``of_rows`` and ``sentence``.

    Raises:
        SchemaError: If a name does not fit the table, or a target cannot be predicted.
        ConfigError: If an option of a modality is wrong.

    Example:
        >>> found = inspect_table(Table({"age": ["31", None], "label": ["a", "b"]}), targets=["label"])
        >>> found["columns"][0]["modality"], found["columns"][0]["missing"]
        ('number', 1)
    """
    schema = infer_schema(table, targets=targets, modality=modality, streams=streams, drop=drop, check_supported=False)
    options = {name: dict((settings or {}).get(stream, {})) for name, stream in schema.stream_names.items()}
    options |= {name: options[name] | {"of_video": True} for name in schema.sounds if name in options}
    given, table = table, schema.with_derived(table)
    progress = progress or SilentProgress()
    fitted = _fit(table, schema.columns, options, num_threads)
    broken, silent = _broken_cells(table, fitted, progress, num_threads)
    roles = _roles(schema)
    columns = {name: _describe_column(table, name, schema, roles[name], broken.get(name, [])) for name in table.columns}
    for name, rows in silent.items():
        columns[name]["missing"] += rows
    for name, (role, entry) in roles.items():
        columns[name] |= certainty_of(given, entry, role)
    return {
        "rows": table.num_rows,
        "columns": list(columns.values()),
        "targets": [_describe_target(table, target) for target in schema.targets],
        "notices": [notice.state() for notice in _notices(table, schema, fitted, broken, num_threads)],
    }


def _notices(
    table: Table,
    schema: Schema,
    fitted: Sequence[_FittedColumn],
    broken: Mapping[str, Sequence[BrokenCell]],
    num_threads: int | None,
) -> list[Notice]:
    part, streams = Part("", table, np.arange(table.num_rows)), schema.stream_names
    modalities = {streams[column.entry.name]: (column.entry.name, column.modality) for column in fitted}
    reasons = {name: [cell.reason for cell in cells] for name, cells in broken.items()}
    present = {name: len(present_cells(table.columns[name])) for name in reasons}
    unknown = [notice for target in schema.targets for notice in _unknown_truth(part, target, len(schema.targets))]
    absent = np.ones(table.num_rows, np.bool_)
    for target in schema.targets:
        absent &= np.fromiter((cell is None for cell in table.columns[target.name]), np.bool_, table.num_rows)
    return in_order(
        [
            *no_target_notice(table.name, schema.targets, int(absent.sum()), table.num_rows),
            *unknown,
            *absent_file_notices(reasons, present),
            *table_notices(schema, [part], modalities, num_threads=num_threads),
        ]
    )


def _unknown_truth(part: Part, target: TargetSchema, num_targets: int) -> list[Notice]:
    if target.kind != "number":
        return []
    known = np.isfinite(as_numbers(part.cells(target.name)))
    return unknown_truth_notices(part, target, known, is_only=num_targets == 1)


def _describe_column(
    table: Table, name: str, schema: Schema, use: tuple[str, ColumnSchema], broken: Sequence[BrokenCell]
) -> dict[str, Any]:
    cells = table.columns[name]
    present = present_cells(cells)
    role, entry = use
    values = Counter(_value_text(cell) for cell in present)
    described: dict[str, Any] = {
        "name": name,
        "modality": entry.modality,
        "stream": schema.stream_names.get(schema.part_of.get(name, name)),
        "role": role,
        "reason": entry.reason,
        "supported": role != "input" or _is_supported(entry, present),
        "missing": len(cells) - len(present),
        "distinct": len(values),
        "broken": len(broken),
        "broken_examples": [{"row": cell.row, "reason": cell.reason} for cell in broken[:MAX_BROKEN_SHOWN]],
        "examples": [_shorten(value) for value in list(values)[:MAX_EXAMPLES]],
    }
    return described | ({"balance": _balance(values)} if entry.modality == Category.name else {})


def _roles(schema: Schema) -> dict[str, tuple[str, ColumnSchema]]:
    """Return what each column of the table is used for; a column with several uses has the first."""
    targets = [ColumnSchema(target.name, target.kind, target.reason) for target in schema.targets]
    ignored = [("input" if entry.name in schema.part_of else "ignored", entry) for entry in schema.ignored]
    uses = [*(("input", entry) for entry in schema.columns), *ignored, *(("target", entry) for entry in targets)]
    return {entry.name: (role, entry) for role, entry in reversed(uses)}


def _is_supported(entry: ColumnSchema, present: Sequence[Cell]) -> bool:
    if entry.modality in RECOGNISED_ONLY:
        return False
    is_fetched = is_remote_allowed() or not MODALITIES[entry.modality].is_file
    return is_fetched or not are_urls(evenly_spaced(present, 100))


def _value_text(cell: Cell) -> str:
    """Return a short text that tells different cells apart."""
    if isinstance(cell, bytes):
        return f"{len(cell):,} bytes, {zlib.crc32(cell):08x}"
    if isinstance(cell, np.ndarray):
        return f"array {list(cell.shape)}, {zlib.crc32(cell.tobytes()):08x}"
    if hasattr(cell, "getbands"):
        return f"picture {cell.size[0]} x {cell.size[1]}, {zlib.crc32(cell.tobytes()):08x}"
    if isinstance(cell, dict):
        return ", ".join(f"{key}: {_value_text(value)}" for key, value in cell.items() if value is not None)
    if isinstance(cell, list | tuple):
        return "[" + ", ".join(_value_text(value) for value in cell) + "]"
    return str(cell)


def _shorten(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _balance(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"value": value, "rows": count} for value, count in ordered[:MAX_VALUES_SHOWN]]


def _describe_target(table: Table, target: TargetSchema) -> dict[str, Any]:
    cells = table.columns[target.name]
    present = present_cells(cells)
    described = {
        "name": target.name,
        "kind": target.kind,
        "reason": target.reason,
        "missing": len(cells) - len(present),
    }
    if target.kind == "boxes":
        boxes = Counter(label for cell in present for label in _labels_of_boxes(cell))
        return described | {"classes": len(boxes), "balance": _balance(boxes), "boxes": boxes.total()}
    if target.kind == "number":
        return described | {"range": _range(present)}
    if target.kind not in FLAT_KINDS:
        return described | {"different": len({_value_text(cell) for cell in present})}
    labels = Counter(label for cell in present for label in _labels(cell, target.kind))
    return described | {"classes": len(labels), "balance": _balance(labels)}


def _labels(cell: Cell, kind: str) -> list[str]:
    return labels_of(cell) if kind == "categories" else [group_text(cell) or ""]


def _labels_of_boxes(cell: Cell) -> list[str]:
    try:
        return [box.label for box in read_boxes(cell) or ()]
    except CellReadError:
        return []


def _range(present: Sequence[Cell]) -> dict[str, float]:
    numbers = np.array([number for cell in present if (number := number_of(cell)) is not None])
    return {
        "smallest": float(numbers.min()),
        "mean": float(numbers.mean()),
        "median": float(np.median(numbers)),
        "largest": float(numbers.max()),
    }


@dataclass(frozen=True)
class _FittedColumn:
    """A column whose cells are decoded, its fitted modality, and its distinct cells with their rows."""

    entry: ColumnSchema
    modality: Modality
    groups: list[tuple[Cell, list[int]]]


def _fit(
    table: Table, columns: Sequence[ColumnSchema], options: Mapping[str, Mapping[str, Any]], num_threads: int | None
) -> list[_FittedColumn]:
    fitted = []
    for entry in columns:
        cells = table.columns[entry.name]
        if not _is_supported(entry, present_cells(cells)) or not _is_checked(MODALITIES[entry.modality]):
            continue
        modality, groups = MODALITIES[entry.modality], _distinct(entry, cells)
        settings = build_settings(entry.modality, options[entry.name] if modality.is_stream else {})
        distinct = [cell for cell, _ in groups]
        modality_of = modality.fit(distinct, settings, table.folder, num_threads=num_threads)
        fitted.append(_FittedColumn(entry, modality_of, groups))
    return fitted


def _broken_cells(
    table: Table, columns: Sequence[_FittedColumn], progress: Progress, num_threads: int | None
) -> tuple[dict[str, list[BrokenCell]], dict[str, int]]:
    """Return each column's broken cells, and for the sound of videos the number of rows without any."""
    broken: dict[str, list[BrokenCell]] = {}
    silent: dict[str, int] = {}
    with progress.phase("decoding", sum(len(column.groups) for column in columns)) as phase:
        for fitted in columns:
            entry, cells = fitted.entry, [cell for cell, _ in fitted.groups]
            failures: list[BrokenCell] = []
            for start in range(0, len(cells), CHUNK):
                chunk = cells[start : start + CHUNK]
                column, found = fitted.modality.transform(chunk, table.folder, num_threads=num_threads)
                failures += [replace(cell, row=cell.row + start, column=entry.name) for cell in found]
                if entry.source:
                    without = set(np.flatnonzero(~column.row_present).tolist()) - {cell.row - 1 for cell in found}
                    rows = sum(len(fitted.groups[start + index][1]) for index in without)
                    silent[entry.name] = silent.get(entry.name, 0) + rows
                phase.advance(len(chunk), note=entry.name)
            broken[entry.name] = _by_row(failures, fitted.groups)
    return broken, silent


def _is_checked(modality: type[Modality]) -> bool:
    """Tell whether cells are decoded to find the broken ones; texts are not, for to train a tokenizer takes long."""
    return modality.is_file or not modality.is_media


def _distinct(entry: ColumnSchema, cells: Sequence[Cell]) -> list[tuple[Cell, list[int]]]:
    if MODALITIES[entry.modality].is_media:
        return unique_cells(cells)
    return [(cell, [row]) for row, cell in enumerate(cells)]


def _by_row(failures: Sequence[BrokenCell], groups: Sequence[tuple[Cell, list[int]]]) -> list[BrokenCell]:
    rows = [replace(cell, row=row + 1) for cell in failures for row in groups[cell.row - 1][1]]
    return sorted(rows, key=lambda cell: cell.row)
