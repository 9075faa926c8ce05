"""A look at a table before any training: what each column is, what is missing, what is broken."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.arrays import BrokenCell, Cell
from polymodal.infer import evenly, is_absent, present_cells
from polymodal.modalities import MODALITIES
from polymodal.progress import Phase, Progress, SilentProgress
from polymodal.schema import ColumnSchema, Schema, infer_schema
from polymodal.table import Table

SAMPLE = 500
CHUNK_ROWS = 256


@dataclass(frozen=True)
class InspectedColumn:
    """What was found in a column.

    Attributes:
        name: The column.
        modality: What it holds; "ignored" where nothing can be learned from it.
        stream: The stream it goes to; None for targets and ignored columns.
        reason: One clause why.
        num_missing: Rows without a cell.
        num_broken: Cells that are there but cannot be decoded.
    """

    name: str
    modality: str
    stream: str | None
    reason: str
    num_missing: int
    num_broken: int


@dataclass(frozen=True)
class InspectedTarget:
    """What was found in a column to predict.

    Attributes:
        name: The column.
        kind: category, categories or number.
        reason: One clause why.
        counts: Class to rows, the most frequent first; empty for numbers.
    """

    name: str
    kind: str
    reason: str
    counts: dict[str, int]


@dataclass(frozen=True)
class Inspection:
    """Everything found in a table.

    Attributes:
        name: The table.
        num_rows: Its rows.
        columns: One entry a column, in the table's order.
        targets: One entry a column to predict.
        broken_cells: Cells that cannot be decoded.
    """

    name: str
    num_rows: int
    columns: list[InspectedColumn]
    targets: list[InspectedTarget]
    broken_cells: list[BrokenCell]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, as ``polymodal inspect --json`` prints it."""
        return dataclasses.asdict(self)


def inspect_table(
    table: Table,
    *,
    targets: Sequence[str] = (),
    modality: Mapping[str, str] | None = None,
    streams: Mapping[str, Sequence[str]] | None = None,
    drop: Sequence[str] = (),
    progress: Progress | None = None,
) -> Inspection:
    """Look at every cell of a table.

    Args:
        table: The table.
        targets: Columns to predict.
        modality: Column to modality, where the guess is wrong.
        streams: Stream name to column patterns.
        drop: Columns left out.
        progress: Told how far it is.

    Returns:
        What each column is and what is wrong in it.

    Raises:
        SchemaError: If a name is no column.
    """
    schema = infer_schema(table, targets=targets, modality=modality, streams=streams, drop=drop, check_supported=False)
    broken = _find_broken(table, schema, progress or SilentProgress())
    counts = Counter(cell.column for cell in broken)
    columns = [_inspect_column(table, entry, schema, counts[entry.name]) for entry in _entries(table, schema)]
    found = [
        InspectedTarget(target.name, target.kind, target.reason, _class_counts(table.columns[target.name], target.kind))
        for target in schema.targets
    ]
    return Inspection(table.name, table.num_rows, columns, found, broken)


def _entries(table: Table, schema: Schema) -> Iterator[ColumnSchema]:
    """Every column that was not dropped, in the table's order."""
    known = {entry.name: entry for entry in schema.columns}
    known |= {target.name: ColumnSchema(target.name, "target", target.reason) for target in schema.targets}
    known |= {entry.name: dataclasses.replace(entry, modality="ignored") for entry in schema.ignored}
    return (known[name] for name in table.column_names if name in known)


def _inspect_column(table: Table, entry: ColumnSchema, schema: Schema, num_broken: int) -> InspectedColumn:
    stream = next((stream.name for stream in schema.streams if entry.name in stream.columns), None)
    num_missing = sum(map(is_absent, table.columns[entry.name]))
    return InspectedColumn(entry.name, entry.modality, stream, entry.reason, num_missing, num_broken)


def _find_broken(table: Table, schema: Schema, progress: Progress) -> list[BrokenCell]:
    found = []
    with progress.phase("reading cells", table.num_rows * len(schema.columns)) as phase:
        for entry in schema.columns:
            if entry.modality in MODALITIES:
                found += _broken_in_column(table, entry, phase)
    return sorted(found, key=lambda cell: (cell.row, cell.column))


def _broken_in_column(table: Table, entry: ColumnSchema, phase: Phase) -> list[BrokenCell]:
    """Decode a column piece by piece, so that its arrays never stand in memory as a whole."""
    cells, modality = table.columns[entry.name], MODALITIES[entry.modality]
    sample = evenly(present_cells(cells), SAMPLE)
    fitted = modality.fit(sample, modality.Settings(), table.folder)
    found = []
    for start in range(0, len(cells), CHUNK_ROWS):
        chunk = cells[start : start + CHUNK_ROWS]
        _, broken = fitted.transform(chunk, table.folder)
        found += [dataclasses.replace(cell, row=cell.row + start, column=entry.name) for cell in broken]
        phase.advance(len(chunk))
    return found


def _class_counts(cells: Sequence[Cell], kind: str) -> dict[str, int]:
    from polymodal.targets.labels import label_text, split_labels

    if kind == "number":
        return {}
    labels: Counter[str] = Counter()
    for cell in present_cells(cells):
        labels.update((split_labels(cell) or []) if kind == "categories" else [label_text(cell) or ""])
    return dict(labels.most_common())
