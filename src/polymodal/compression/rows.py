"""The rows that a compression learns from, chooses by and reports on: those of the run, split as it split them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table, read_table
from polymodal.ensemble.baseline_cache import FittedBaselines
from polymodal.errors import ConfigError, SchemaError
from polymodal.model.batches import Examples
from polymodal.model.evaluate_table import examples_with_truth
from polymodal.model.inference_network import NO_MASK
from polymodal.model.predict import combine, predict_examples
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.runs.baseline_fitting import fit_baselines
from polymodal.runs.data_module import DataModule, Tables, split_tables
from polymodal.targets import StructuredTarget

MIN_ROWS = 8
"""Fewest training rows, and fewest validation rows, that anything can be learned from or chosen by."""


@dataclass(frozen=True, kw_only=True)
class CompressionRows:
    """Decoded rows with truth, and what the original and its baselines say of them.

    Attributes:
        train: Rows that students learn from.
        validation: Rows that points are scored on and chosen by.
        test: Rows that the chosen point is reported on; None: there are none.
        fitted: Baselines with their folds, fitted again as the run fitted them; None: the original has none.
        teacher: Flat target to the original's answers to the training rows.
        notices: What the user should know of the rows.
    """

    train: Examples
    validation: Examples
    test: Examples | None
    fitted: FittedBaselines | None
    teacher: dict[str, NDArray[np.float32]]
    notices: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Split to its number of rows."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: len(examples) for name, examples in splits.items() if examples is not None}


def find_tables(model: TrainedModel, given: Any) -> tuple[dict[str, Table], list[str]]:
    """Read the tables of a run and split them as it did.

    Args:
        model: The original.
        given: Rows to use in place of the run's training table, as for ``read_table``; None: those of the run.

    Returns:
        "train", "validation" and perhaps "test" to tables; and notices.

    Raises:
        ConfigError: If the model has no target, or its table is not known or no longer there.
        TableError: If a table cannot be read.
        SchemaError: If a table lacks a target or has too few rows.
    """
    config, notices = model.config, []
    if not model.schema.targets:
        raise ConfigError(
            "This model has no target: it embeds rows, and nothing says how much a smaller one would lose. "
            "Only models that predict a column can be compressed."
        )
    if given is None and config.data is None:
        raise ConfigError(
            "This model was trained on a table in memory, which it does not keep. Name rows like those it was trained "
            "on by --table (in Python: table=...)."
        )
    if given is None and not Path(str(config.data)).exists():
        raise ConfigError(
            f"The table that this model was trained on is no longer at {config.data}. Name rows like those by --table "
            "(in Python: table=...)."
        )
    others = {split: getattr(config, split) for split in ("validation", "test")}
    found = {split: read_table(path) for split, path in others.items() if path is not None and Path(path).exists()}
    instead = {"validation": "rows are held out of the table", "test": "no test score is reported"}
    notices += [
        f"The {split} table {path} is no longer there: {instead[split]}."
        for split, path in others.items()
        if path is not None and split not in found
    ]
    train = read_table(config.data if given is None else given)
    if given is not None:
        notices.append(
            f"{train.name} was given: rows of it that the original learned from may stand among the validation rows."
        )
    # Which test rows a run has does not change its validation rows only if they are split off as well.
    tables = Tables(
        train=train, validation=found.get("validation"), test=found.get("test"), has_test=config.test is None
    )
    return split_tables(tables, config, model.schema), notices


def prepare_rows(
    model: TrainedModel, tables: Mapping[str, Table], notices: list[str], cache: ArrayCache, progress: Progress
) -> CompressionRows:
    """Decode the rows and fit the baselines again, which the cache may still hold.

    Args:
        model: The original.
        tables: What ``find_tables`` found.
        notices: What the user should know so far.
        cache: Cache of decoded arrays and of fitted baselines.
        progress: Reports progress.

    Returns:
        The rows.

    Raises:
        SchemaError: If a split has too few rows with a known target.
    """
    splits = {split: examples_with_truth(model, table, False, cache, progress)[0] for split, table in tables.items()}
    for split in ("train", "validation"):
        if split not in splits or len(splits[split]) < MIN_ROWS:
            number = len(splits[split]) if split in splits else 0
            raise SchemaError(
                f"There are {number} {split} rows with a known target, and at least {MIN_ROWS} are needed to compress "
                "a model. Name a larger table by --table."
            )
    fitted = _fit_again(model, splits, tables, cache, progress)
    with progress.phase("asking the original", None):
        teacher = _teacher_answers(model, splits["train"], cache)
    return CompressionRows(
        train=splits["train"],
        validation=splits["validation"],
        test=splits.get("test"),
        fitted=fitted,
        teacher=teacher,
        notices=notices,
    )


def _fit_again(
    model: TrainedModel,
    splits: Mapping[str, Examples],
    tables: Mapping[str, Table],
    cache: ArrayCache,
    progress: Progress,
) -> FittedBaselines | None:
    """Fit the baselines with folds, which a saved model does not keep: only those answer validation rows fairly."""
    if model.features is None:
        return None
    data_module = DataModule(
        preprocessor=model.preprocessor,
        targets=dict(model.targets),
        splits=dict(splits),
        tables=dict(tables),
        broken=[],
        set_aside={},
        unlabelled=np.zeros(0, np.int64),
        table_notices=[],
        notices=[],
    )
    with progress.phase("baselines", None):
        return fit_baselines(data_module, model.config, cache)[0]


def _teacher_answers(model: TrainedModel, train: Examples, cache: ArrayCache) -> dict[str, NDArray[np.float32]]:
    flat = [name for name, target in model.targets.items() if not isinstance(target, StructuredTarget)]
    if not flat:
        return {}
    (members,) = predict_examples(model, train, [NO_MASK], cache)
    answers = combine(model, members)
    return {name: answers[name].astype(np.float32) for name in flat}


def without_outputs(examples: Examples, streams: frozenset[str]) -> Examples:
    """Return the rows without what frozen checkpoints say of some streams, so that their cells are read again.

    Args:
        examples: Rows.
        streams: The streams.

    Returns:
        The same rows.
    """
    columns = {
        name: dataclasses.replace(column, outputs=None) if name in streams else column
        for name, column in examples.columns.items()
    }
    return dataclasses.replace(examples, columns=columns)
