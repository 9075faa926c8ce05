"""The notices of a run about its tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell
from polymodal.config import RunConfig
from polymodal.data.notes.dropped import no_target_notice, too_few_streams_notice, unknown_truth_notices
from polymodal.data.notes.duplicates import answered_notices
from polymodal.data.notes.notice import Notice, in_order
from polymodal.data.notes.part import Part
from polymodal.data.notes.table_notices import table_notices
from polymodal.data.notes.values import absent_file_notices
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.columns import TargetSchema
from polymodal.data.tables.table import Table
from polymodal.model.batches import Examples

SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test"}


def table_notices_of_run(
    tables: Mapping[str, Table],
    examples: Mapping[str, Examples],
    used: Mapping[str, Examples],
    preprocessor: Preprocessor,
    broken: Sequence[tuple[str, BrokenCell]],
    config: RunConfig,
    taught: NDArray[np.int64],
) -> list[Notice]:
    """Collect what the user should know of the tables of a run before it trains.

    Args:
        tables: Split to its table.
        examples: Split to its rows, those without a known truth among them.
        used: Split to its rows with a known truth.
        preprocessor: Schema and fitted modalities.
        broken: Broken cells with their table's name.
        config: The run's configuration.
        taught: Rows of the training table without any target that a teacher answers.

    Returns:
        The notices, by kind.
    """
    schema = preprocessor.schema
    derived = {name: schema.with_derived(table) for name, table in tables.items()}
    parts = [Part(SPLIT_NAMES[split], derived[split], rows.rows) for split, rows in used.items()]
    media = {stream.name: (stream.columns[0], preprocessor.modalities[stream.name]) for stream in schema.streams}
    found = table_notices(
        schema,
        parts,
        media,
        is_grouped=config.group is not None or config.time is not None,
        num_threads=config.num_threads,
    )
    answered = answered_notices(schema, Part("unlabelled", derived["train"], taught), parts[1:])
    files = _absent_files(derived["train"], broken)
    unknown = _unknown_truth(derived, examples, schema.targets) if schema.targets else _without_streams(examples, used)
    return in_order([*_without_target(tables, preprocessor, len(taught)), *unknown, *files, *found, *answered])


def _unknown_truth(
    tables: Mapping[str, Table], examples: Mapping[str, Examples], targets: Sequence[TargetSchema]
) -> list[Notice]:
    """Tell of each table, whose rows may be in several splits, which target cells cannot be read."""
    splits_of: dict[str, list[str]] = defaultdict(list)
    for split, table in tables.items():
        splits_of[table.name].append(split)
    notices = []
    for splits in splits_of.values():
        rows = np.concatenate([examples[split].rows for split in splits])
        order = np.argsort(rows)
        part = Part("", tables[splits[0]], rows[order])
        for target in targets:
            known = np.concatenate([examples[split].known[target.name] for split in splits])[order]
            notices += unknown_truth_notices(part, target, known, is_only=len(targets) == 1)
    return notices


def _without_streams(examples: Mapping[str, Examples], used: Mapping[str, Examples]) -> list[Notice]:
    rows, of_rows = Counter[str](), Counter[str]()
    for split, found in examples.items():
        rows[found.name] += len(found) - len(used[split])
        of_rows[found.name] += len(found)
    return [notice for name in of_rows for notice in too_few_streams_notice(name, rows[name], of_rows[name])]


def _without_target(tables: Mapping[str, Table], preprocessor: Preprocessor, num_taught: int) -> list[Notice]:
    """Tell how many rows without a target are of no use; a teacher answers some of the training table."""
    notices: list[Notice] = []
    for table in {table.name: table for table in tables.values()}.values():
        absent = np.ones(table.num_rows, np.bool_)
        for target in preprocessor.schema.targets:
            cells = table.columns.get(target.name, [None] * table.num_rows)
            absent &= np.fromiter((cell is None for cell in cells), np.bool_, table.num_rows)
        rows = int(absent.sum()) - (num_taught if table.name == tables["train"].name else 0)
        notices += no_target_notice(table.name, preprocessor.schema.targets, rows, table.num_rows)
    return notices


def _absent_files(table: Table, broken: Sequence[tuple[str, BrokenCell]]) -> list[Notice]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, cell in broken:
        if name == table.name and cell.column in table.columns:
            reasons[cell.column].append(cell.reason)
    present = Counter({name: sum(cell is not None for cell in table.columns[name]) for name in reasons})
    return absent_file_notices(reasons, present)
