"""Evaluation of a trained model on a table that holds the truth."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.input_check import InputCheck
from polymodal.data.tables.slices import read_slices
from polymodal.data.tables.table import Table
from polymodal.errors import SchemaError
from polymodal.model.batches import Examples, build_examples
from polymodal.model.evaluation import evaluate_examples
from polymodal.model.label_decision import decision_notices
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets.notices import invalid_target_cells


def evaluate_table(
    trained: TrainedModel, table: Table, slices: Sequence[str] | None, strict: bool, progress: Progress
) -> dict[str, Any]:
    """Evaluate a model on the rows of a table whose truth is known.

    Args:
        trained: The model.
        table: Rows with the target columns.
        slices: Columns by whose values the rows are scored; None: those of the run, where the table has them.
        strict: Whether a broken cell raises.
        progress: Reports progress.

    Returns:
        The keys of a run's report data that an evaluation has, but for ``targets_info``.

    Raises:
        SchemaError: If the table lacks every target column or known value, or a column of ``slices``.
        CellError: If ``strict`` and a cell cannot be decoded.
    """
    started = time.perf_counter()
    check_has_targets(table, trained)
    own = [name for name in trained.config.slices if name in table.columns]
    names = own if slices is None else slices
    read_slices(table, names)  # raises before anything is decoded
    cache = ArrayCache.default()
    examples, broken = examples_with_truth(trained, table, strict, cache, progress)
    with progress.phase("judging", None):
        sliced = read_slices(table, names, examples.rows)
        evaluation = evaluate_examples(trained, examples, "test", cache, sliced)
    set_aside = table.num_rows - len(examples)
    return {
        "evaluation": evaluation.report,
        "tables": [{"name": table.name, "split": "test", "rows": len(examples), "set_aside": set_aside}],
        "broken_cells": [{"table": table.name, **dataclasses.asdict(cell)} for cell in broken],
        "notices": decision_notices(trained.targets, trained.config),
        "seconds": {"total": time.perf_counter() - started},
    }


def examples_with_truth(
    trained: TrainedModel, table: Table, strict: bool, cache: ArrayCache, progress: Progress
) -> tuple[Examples, list[BrokenCell]]:
    """Decode a table and keep the rows in which a target is known.

    Args:
        trained: The model.
        table: Rows with the target columns.
        strict: Whether a broken cell raises.
        cache: Cache of decoded arrays.
        progress: Reports progress.

    Returns:
        The rows, and the broken cells of the whole table.

    Raises:
        SchemaError: If the table lacks every target column or known value.
        CellError: If ``strict`` and a cell cannot be decoded.
    """
    check_has_targets(table, trained)
    columns, broken = _decode(trained, table, strict, cache, progress)
    return _known_examples(trained, table, columns), broken


def _decode(
    trained: TrainedModel, table: Table, strict: bool, cache: ArrayCache, progress: Progress
) -> tuple[dict[str, Column], list[BrokenCell]]:
    check = InputCheck(trained.preprocessor, table.name, strict=strict)
    check.see_columns(table.columns)
    with progress.phase(f"decoding {table.name}", None):
        invalid = invalid_target_cells(table, trained.targets)
        columns, broken = check.transform(table, cache, more_broken=invalid)
    check.finish()
    return trained.network.precompute(columns, cache, progress), broken


def _known_examples(trained: TrainedModel, table: Table, columns: dict[str, Column]) -> Examples:
    cells, rows = _padded_cells(table, trained), np.arange(table.num_rows)
    examples = build_examples(columns, cells, trained.targets, rows, table.name, table.folder)
    known = np.any(list(examples.known.values()), axis=0)
    if not known.any():
        raise SchemaError(f"{table.name}: no row has a target value known from training, so nothing can be judged.")
    return build_examples(columns, cells, trained.targets, rows[known], table.name, table.folder)


def check_has_targets(table: Table, trained: TrainedModel) -> None:
    """Check that a table has a target column of a model that has targets.

    Args:
        table: The table.
        trained: The model.

    Raises:
        SchemaError: If it has none.
    """
    if trained.schema.targets and not any(name in table.columns for name in trained.targets):
        names = ", ".join(repr(name) for name in trained.targets)
        raise SchemaError(f"{table.name} has no target column: expected {names}, got {', '.join(table.columns)}.")


def _padded_cells(table: Table, trained: TrainedModel) -> dict[str, Sequence[Cell]]:
    needed = [*trained.preprocessor.column_names, *trained.targets]
    config = trained.config
    read = {name: cells for name, cells in table.columns.items() if name in (config.relevance, config.coverage_by)}
    given = trained.schema.with_derived(table).columns
    absent: Sequence[Cell] = [None] * table.num_rows
    return {name: given.get(name, absent) for name in needed} | read
