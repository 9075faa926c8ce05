"""Rows without a target: those of the training table, and those of a further one that are put below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polymodal.config import RunConfig
from polymodal.data.notes.notice import Notice, count, name_columns
from polymodal.data.tables.splits import rows_apart
from polymodal.data.tables.table import Table, concatenate
from polymodal.errors import ConfigError


def uses_unlabelled(config: RunConfig) -> bool:
    """Return whether a run learns anything from rows without a target.

    Args:
        config: The run's configuration.

    Returns:
        True with a teacher, which answers them, or with pretraining on their pictures.
    """
    return config.teacher is not None or config.train.pretrain_epochs > 0


def check_unlabelled(config: RunConfig) -> None:
    """Check that a table of rows without a target is of use to a run.

    Args:
        config: The configuration of a run that was given such a table.

    Raises:
        ConfigError: If nothing learns from them.
    """
    if not config.target:
        raise ConfigError(
            "The option --unlabelled adds rows without a target to a run that has one, and this run has none: it "
            "learns from all rows of its table. Put the rows into that table."
        )
    if not uses_unlabelled(config):
        raise ConfigError(
            "The rows of --unlabelled have no target, and nothing learns from them. Name a model that answers them by "
            "--teacher, or pretrain on their pictures by --set train.pretrain_epochs=10."
        )


def rows_without_target(
    table: Table, config: RunConfig, known: NDArray[np.int64], rows_of: Mapping[str, NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Return the rows of the training table without any target that may be learned from.

    Args:
        table: The training table.
        config: The run's configuration.
        known: int64, its rows with a target.
        rows_of: Split to its rows of the table, int64.

    Returns:
        int64, without those of a group or a time that is held out.
    """
    rows = np.setdiff1d(np.arange(table.num_rows), known).astype(np.int64)
    held_out = [rows_of[split] for split in rows_of if split != "train"]
    if not held_out:
        return rows
    return rows_apart(table, rows, np.concatenate(held_out), group=config.group, time=config.time)


def put_below(table: Table, further: Table, targets: Sequence[str]) -> tuple[Table, list[Notice]]:
    """Put the rows of a further table below those of the training table, without what they say of the targets.

    Args:
        table: The training table.
        further: The table of rows without a target.
        targets: Names of the targets.

    Returns:
        Both, with the columns of the training table; and what the user should know.

    Raises:
        ConfigError: If no input column is in both tables.
    """
    inputs = [name for name in table.columns if name not in targets]
    shared = [name for name in inputs if name in further.columns]
    if not shared:
        raise ConfigError(
            f"{further.name} has no column of {table.name} but its targets. Give --unlabelled a table with some of: "
            f"{', '.join(inputs[:5])}."
        )
    pool = replace(further, columns={name: further.columns[name] for name in shared})
    return concatenate([table, pool]), _notices(table, further, targets, inputs)


def _notices(table: Table, further: Table, targets: Sequence[str], inputs: Sequence[str]) -> list[Notice]:
    named = tuple(name for name in targets if name in further.columns)
    extra = tuple(name for name in further.columns if name not in table.columns)
    lacking = tuple(name for name in inputs if name not in further.columns)
    found = []
    if any(cell is not None for name in named for cell in further.columns[name]):
        sentence = f"{further.name}: what it holds of {name_columns(named)} is not looked at: its rows are unlabelled."
        found.append(Notice(kind="dropped", columns=named, sentence=sentence))
    if extra:
        verb = "is" if len(extra) == 1 else "are"
        sentence = f"{further.name}: {name_columns(extra)} {verb} left out, as {table.name} has no such column."
        found.append(Notice(kind="dropped", columns=extra, sentence=sentence))
    if lacking:
        sentence = f"{further.name} has no {name_columns(lacking)}: these cells are absent in its {_rows(further)}."
        found.append(Notice(kind="dropped", columns=lacking, sentence=sentence))
    return found


def _rows(table: Table) -> str:
    return count(table.num_rows, "row")
