"""Notices of columns that are no inputs, and of rows that no target is known of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.notes.notice import Notice, count, example, name_columns
from polymodal.data.notes.part import Part
from polymodal.data.schema.columns import ColumnSchema, TargetSchema
from polymodal.data.schema.samples import is_absent
from polymodal.data.schema.schema import FOR_SPLIT, LEFT_OUT, PART_OF, Schema
from polymodal.data.tables.splits import group_text
from polymodal.modalities.base import quote
from polymodal.modalities.number import is_missing_word

ASKED = (LEFT_OUT, FOR_SPLIT, PART_OF)
"""Reasons of ignored columns that are no news to the user."""
EXPECTED = {
    "number": "hold no finite number",
    "category": "are of no class that a training row has",
    "categories": "name no label that a training row has",
}
"""Kind of a flat target to what is wrong with cells that it cannot read."""


def dropped_notices(schema: Schema, part: Part) -> list[Notice]:
    """Tell which columns are left out although nobody asked for it.

    Args:
        schema: Its ignored columns, each with the reason.
        part: The training rows.

    Returns:
        One notice for each reason.
    """
    groups: dict[str, list[ColumnSchema]] = {}
    for entry in schema.ignored:
        if not entry.reason.startswith(ASKED):
            groups.setdefault(entry.reason.partition(":")[0], []).append(entry)
    return [_dropped(entries, part) for entries in groups.values()]


def _dropped(entries: Sequence[ColumnSchema], part: Part) -> Notice:
    names, reasons = tuple(entry.name for entry in entries), {entry.reason for entry in entries}
    reason = entries[0].reason if len(reasons) == 1 else entries[0].reason.partition(":")[0]
    is_identifier = "identifier" in reason and len(names) == 1
    such = f" (such as {quote(_first(part.table.columns[names[0]]))})" if is_identifier else ""
    keep = f" To keep it: --modality {names[0]}=..." if is_identifier else ""
    verb = "is" if len(names) == 1 else "are"
    return Notice(
        kind="dropped",
        columns=names,
        sentence=f"{name_columns(names)} {verb} left out: {reason}{such}.{keep}",
    )


def _first(cells: Sequence[Cell]) -> Cell:
    return next((cell for cell in cells if not is_absent(cell)), None)


def no_target_notice(name: str, targets: Sequence[TargetSchema], rows: int, of_rows: int) -> list[Notice]:
    """Tell how many rows have no target cell at all.

    Args:
        name: The table's name.
        targets: All targets.
        rows: Rows without any.
        of_rows: Rows of the table.

    Returns:
        One notice, or none.
    """
    if not rows or not targets:
        return []
    names = tuple(target.name for target in targets)
    which = f"a value of {names[0]!r}" if len(names) == 1 else "a value of any target"
    sentence = f"{name}: {rows:,} of {count(of_rows, 'row')} without {which} {_are(rows)} set aside."
    return [Notice(kind="set_aside", columns=names, rows=rows, of_rows=of_rows, sentence=sentence)]


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def too_few_streams_notice(name: str, rows: int, of_rows: int) -> list[Notice]:
    """Tell how many rows have too little in them to learn from without a target.

    Args:
        name: The table's name.
        rows: Such rows.
        of_rows: Rows of the table.

    Returns:
        One notice, or none.
    """
    if not rows:
        return []
    sentence = f"{name}: {rows:,} of {count(of_rows, 'row')} with too few streams present {_are(rows)} set aside."
    return [Notice(kind="set_aside", rows=rows, of_rows=of_rows, sentence=sentence)]


def unknown_truth_notices(part: Part, target: TargetSchema, known: NDArray[np.bool_], *, is_only: bool) -> list[Notice]:
    """Tell which target cells hold something that the target cannot read.

    Args:
        part: Rows of a table, those to set aside among them.
        target: A target.
        known: bool ``[rows]``, where its truth is known.
        is_only: Whether it is the only target.

    Returns:
        One notice, or none; words for a missing number, such as ``n/a``, are no cells.
    """
    cells = part.cells(target.name)
    wrong = [
        row for row in np.flatnonzero(~known).tolist() if not is_absent(cells[row]) and not _is_word(cells[row], target)
    ]
    if not wrong:
        return []
    such = _classes(cells, wrong) if target.kind == "category" else example(int(part.rows[wrong[0]]), cells[wrong[0]])
    what = EXPECTED.get(target.kind, "cannot be read")
    effect = "these rows are set aside" if is_only else "they count as unknown"
    sentence = (
        f"{part.table.name}, {target.name!r}: {len(wrong):,} of {count(len(part), 'cell')} {what} (such as {such}); "
        f"{effect}."
    )
    return [
        Notice(kind="set_aside", columns=(target.name,), rows=len(wrong), of_rows=len(part), sentence=sentence),
    ]


def _is_word(cell: Cell, target: TargetSchema) -> bool:
    return target.kind == "number" and is_missing_word(cell)


def _classes(cells: Sequence[Cell], rows: Sequence[int]) -> str:
    found: Mapping[str, None] = dict.fromkeys(str(group_text(cells[row])) for row in rows)
    return ", ".join(map(repr, list(found)[:3]))
