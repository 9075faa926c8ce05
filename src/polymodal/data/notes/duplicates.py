"""Notices of rows that stand on both sides of a split, and of equal rows with different answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.notes.notice import Notice, count, join_words
from polymodal.data.notes.part import Part, num_sampled
from polymodal.data.notes.row_keys import Keys, repeated, row_keys
from polymodal.data.schema.columns import ColumnSchema, TargetSchema
from polymodal.data.schema.schema import Schema
from polymodal.data.tables.splits import group_text
from polymodal.modalities import MODALITIES

CELLS = 3_000_000
FEWEST_ROWS, MOST_ROWS = 1000, 50_000
"""Cells that are looked at in each part, and rows."""
MIN_DISTINCT = 20
MIN_DISTINCT_SHARE = 0.05
"""Inputs with fewer different rows are a few labels, which repeat by their nature."""


def duplicate_notices(schema: Schema, parts: Sequence[Part]) -> list[Notice]:
    """Compare the inputs of all rows.

    Args:
        schema: Input columns and targets.
        parts: The training rows and the other parts; samples of large ones are looked at.

    Returns:
        Notices of rows in training and in another part, of repeated rows where there is one part alone, and of equal
        training rows with other answers.
    """
    most = num_sampled(len(schema.columns), CELLS, FEWEST_ROWS, MOST_ROWS)
    samples = [part.sample(most) for part in parts]
    keys = row_keys(_compared(schema), samples)
    distinct = len(np.unique(keys[0]))
    if distinct < max(MIN_DISTINCT, MIN_DISTINCT_SHARE * len(keys[0])):
        return []
    is_whole = len(samples[0]) == len(parts[0])
    repeats = _on_both_sides(keys, samples, is_whole) if len(parts) > 1 else _repeats(keys[0], samples[0])
    return [*repeats, *_conflicts(schema.targets, keys[0], samples[0])]


def answered_notices(schema: Schema, answered: Part, held_out: Sequence[Part]) -> list[Notice]:
    """Tell how many held-out rows have the inputs of a row that is learned from a teacher's answers.

    Args:
        schema: Input columns.
        answered: Rows without a target that a teacher answers; a sample of many is looked at.
        held_out: Validation and test rows; samples of large parts are looked at.

    Returns:
        One notice, or none.
    """
    if not len(answered) or not held_out:
        return []
    most = num_sampled(len(schema.columns), CELLS, FEWEST_ROWS, MOST_ROWS)
    samples = [part.sample(most) for part in (answered, *held_out)]
    keys = row_keys(_compared(schema), samples)
    if len(np.unique(keys[0])) < max(MIN_DISTINCT, MIN_DISTINCT_SHARE * len(keys[0])):
        return []
    what = "an unlabelled row: what the teacher says of it is learned, so scores on them may be too good"
    return _shared(keys, samples, len(samples[0]) == len(answered), what)


def _compared(schema: Schema) -> list[ColumnSchema]:
    return [entry for entry in schema.columns if entry.modality in MODALITIES and not entry.source]


def _on_both_sides(keys: Sequence[Keys], samples: Sequence[Part], is_whole: bool) -> list[Notice]:
    what = (
        "a training row: scores on them show memory, not skill. Remove repeated rows from the table, or keep "
        "them together with --group"
    )
    return _shared(keys, samples, is_whole, what)


def _shared(keys: Sequence[Keys], samples: Sequence[Part], is_whole: bool, what: str) -> list[Notice]:
    """Tell how many rows of the other parts have the key of a row of the first."""
    numbers = [int((np.isin(theirs, keys[0]) & (theirs != 0)).sum()) for theirs in keys[1:]]
    if not any(numbers):
        return []
    shared = [
        f"{number:,} of {sample.of('row')}" for number, sample in zip(numbers, samples[1:], strict=True) if number
    ]
    sentence = (
        f"{'' if is_whole else 'At least '}{join_words(shared)} {'has' if sum(numbers) == 1 else 'have'} the same "
        f"inputs as {what}."
    )
    return [Notice(kind="duplicate", rows=sum(numbers), of_rows=sum(map(len, samples[1:])), sentence=sentence)]


def _repeats(keys: Keys, sample: Part) -> list[Notice]:
    number = sum(len(rows) - 1 for rows in repeated(keys).values())
    if not number:
        return []
    sentence = (
        f"{number:,} of {sample.of('row')} repeat{'s' if number == 1 else ''} the inputs of another row: a "
        "random split puts such rows on both sides. Remove them, or keep them together with --group."
    )
    return [Notice(kind="duplicate", rows=number, of_rows=len(sample), sentence=sentence)]


def _conflicts(targets: Sequence[TargetSchema], keys: Keys, sample: Part) -> list[Notice]:
    groups = list(repeated(keys).values())
    notices = [_conflict(target, groups, sample) for target in targets] if groups else []
    return [notice for notice in notices if notice is not None]


def _conflict(target: TargetSchema, groups: Collection[list[int]], sample: Part) -> Notice | None:
    cells = sample.cells(target.name)
    rows = [row for group in groups if len({_answer(cells[row]) for row in group} - {None}) > 1 for row in group]
    if not rows:
        return None
    sentence = (
        f"{count(len(rows), 'row')} of the {sample.of('row')} have the same inputs as another one and "
        f"another {target.name!r} (such as rows {sample.rows[rows[0]] + 1:,} and {sample.rows[rows[1]] + 1:,}): no "
        "model can be right on all of them."
    )
    return Notice(kind="conflict", columns=(target.name,), rows=len(rows), of_rows=len(sample), sentence=sentence)


def _answer(cell: Cell) -> str | None:
    return group_text(cell) if isinstance(cell, str | int | float | bool | list | tuple) else None
