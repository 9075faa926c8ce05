"""The rows that a run learned from, read again: what it fitted on, and what it chose by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polymodal.acquisition.acquire import KnownRows
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import ConfigError
from polymodal.model.trained_model import TrainedModel
from polymodal.runs.data_module import Tables, split_tables

HELD_OUT_SHARE = 0.25
"""Share of given rows that are held out, where the run's validation rows are not known."""


def known_rows(model: TrainedModel, training: Table | None) -> KnownRows:
    """Find training and validation rows of a model.

    Args:
        model: The trained model.
        training: Rows to use in place of those of the run: a quarter of them is held out; None: those of the run.

    Returns:
        The rows.

    Raises:
        ConfigError: If the run's table is not known, or is no longer there.
        TableError: If it cannot be read.
        SchemaError: If it lacks a target of the model.
    """
    if training is None:
        return _rows_of_run(model)
    order = np.random.default_rng(0).permutation(training.num_rows)
    number = round(HELD_OUT_SHARE * training.num_rows)
    held_out = training.take(np.sort(order[:number])) if number else None
    return KnownRows(training.take(np.sort(order[number:])), held_out)


def _rows_of_run(model: TrainedModel) -> KnownRows:
    config = model.config
    advice = "Name a table with rows like those it was trained on by --training (in Python: training=...)."
    if config.data is None:
        raise ConfigError(f"This model was trained on a table in memory, which it does not keep. {advice}")
    missing = [path for path in (config.data, config.validation) if path is not None and not Path(path).exists()]
    if missing:
        raise ConfigError(f"The table that this model was trained on is no longer at {missing[0]}. {advice}")
    validation = None if config.validation is None else model.with_features(read_table(config.validation))
    # Which test rows a run has does not change its validation rows only if they are split off as well.
    tables = Tables(
        train=model.with_features(read_table(config.data)), validation=validation, has_test=config.test is None
    )
    splits = split_tables(tables, config, model.schema)
    return KnownRows(splits["train"], splits.get("validation"))
