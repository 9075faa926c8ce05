"""The data module: from tables to examples, with schema, splits, fitted targets and modalities, decoded arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Column
from polymodal.config import RunConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.notes.notice import Notice, in_order
from polymodal.data.notes.table_notices import notice_lines
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import Schema, infer_schema
from polymodal.data.tables.slices import read_slices
from polymodal.data.tables.splits import check_groups, split_rows
from polymodal.data.tables.table import Table, concatenate
from polymodal.errors import CellError, ConfigError, SchemaError, did_you_mean, list_names
from polymodal.model.batches import Examples, build_examples
from polymodal.model.label_decision import decision_notices, with_label_decision
from polymodal.model.shared_groups import shared_groups
from polymodal.progress import Progress
from polymodal.runs.recovery_objectives import recovery_objectives
from polymodal.runs.stream_settings import settings_notices, stream_settings
from polymodal.runs.table_notices import table_notices_of_run
from polymodal.runs.target_encoding import TargetEncodings, check_target_encodings, fit_target_encodings
from polymodal.runs.unlabelled import put_below, rows_without_target, uses_unlabelled
from polymodal.runs.warm_start import WarmStart, open_warm_start
from polymodal.targets import AnyTarget, RowContext, fit_target
from polymodal.targets.notices import invalid_target_cells, target_notices

OBJECTIVE = "embedding"
"""Name of the objective of several streams without a target: joint embeddings."""
RECONSTRUCTION = "reconstruction"
"""Name of the objective of a single stream without a target: reconstruction."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of a run.

    Attributes:
        train: Training rows; validation and test rows are split off from it if not given.
        validation: Validation rows, or None.
        test: Test rows, or None.
        has_test: Whether test rows are split off from ``train`` if ``test`` is None.
        unlabelled: Rows whose targets are not looked at, or None.
    """

    train: Table
    validation: Table | None = None
    test: Table | None = None
    has_test: bool = True
    unlabelled: Table | None = None


@dataclass(frozen=True, kw_only=True)
class DataModule:
    """The data of a training run.

    Attributes:
        preprocessor: Fitted on the training rows.
        targets: Name to target fitted on the training rows.
        splits: "train", "validation" and perhaps "test" to examples.
        tables: Split to the table of its rows.
        broken: Cells that could not be decoded, with the table's name.
        set_aside: Table name to the number of rows without any known target: none is present, or only classes that
            the training rows lack.
        unlabelled: int64, rows of the training table without any target, for self-supervised pretraining and for a
            teacher to answer.
        table_notices: What was done with the tables, and what the user should know of them.
        notices: Sentences about the run that the user should read.
        warm_start: The run that this one starts from.
        num_taught: Rows of the training table without any target that are learned from a teacher alone.
        target_encodings: How training rows are encoded out of fold, where categories are encoded by a target.
    """

    preprocessor: Preprocessor
    targets: dict[str, AnyTarget]
    splits: dict[str, Examples]
    tables: dict[str, Table]
    broken: list[tuple[str, BrokenCell]]
    set_aside: dict[str, int]
    unlabelled: NDArray[np.int64]
    table_notices: list[Notice]
    notices: list[str]
    warm_start: WarmStart | None = None
    num_taught: int = 0
    target_encodings: TargetEncodings | None = None

    @property
    def schema(self) -> Schema:
        """The modality and stream of each column."""
        return self.preprocessor.schema

    def with_taught(self, number: int) -> DataModule:
        """Return the same with a number of rows that are not set aside, as they are learned from a teacher alone.

        Args:
            number: Rows of the training table without any target.

        Returns:
            A copy.
        """
        name = self.tables["train"].name
        set_aside = {**self.set_aside, name: self.set_aside.get(name, 0) - number}
        return replace(self, set_aside=set_aside, num_taught=number)


def build_data_module(tables: Tables, config: RunConfig, cache: ArrayCache, progress: Progress) -> DataModule:
    """Build the data module of a run.

    Args:
        tables: The tables.
        config: The run's configuration.
        cache: Cache of decoded arrays.
        progress: Reports progress.

    Returns:
        Examples of every split, fitted targets and the fitted preprocessor.

    Raises:
        PolymodalError: If tables, columns, targets or options do not fit together.
    """
    tables, about_tables = _pooled_for_groups(tables, config)
    tables, about_unlabelled = _with_unlabelled(tables, config)
    schema = _schema(tables.train, config)
    known = _known_rows(tables.train, schema)
    rows_of = _split(tables, config, schema, known)
    table_of = _table_of_split(tables, rows_of)
    read_slices(table_of.get("test") or table_of["validation"], config.slices)  # raises before anything is decoded
    if config.coverage_by is not None:
        table_of["validation"].check_columns([config.coverage_by], "coverage_by")
    unlabelled = rows_without_target(tables.train, config, known, rows_of)
    targets = with_label_decision(_fit_targets(tables.train, schema, rows_of["train"], config), config)
    shared = shared_groups(config, {stream.name: stream.modality for stream in schema.streams}).encoders
    settings = stream_settings(schema, config, targets)
    check_target_encodings(settings, targets)
    warm_start = open_warm_start(config, schema)
    given = {} if warm_start is None else warm_start.modalities
    fitted_on = rows_of["train"] if config.teacher is None else np.union1d(rows_of["train"], unlabelled)
    with progress.phase("reading cells", None):
        preprocessor = Preprocessor.fit(
            tables.train, fitted_on, schema, settings, shared=shared, given=given, num_threads=config.num_threads
        )
    preprocessor, encodings = fit_target_encodings(
        preprocessor, tables.train, rows_of["train"], targets, settings, config
    )
    columns, broken = _decode(preprocessor, targets, table_of, cache, progress, config)
    if encodings is not None:
        every_row = np.arange(tables.train.num_rows)
        columns[tables.train.name] = encodings.out_of_fold(columns[tables.train.name], every_row)
    targets |= _fit_objectives(config, preprocessor, columns[tables.train.name], rows_of["train"])
    all_rows, splits, set_aside = {}, {}, {tables.train.name: tables.train.num_rows - len(known)}
    for split, table in table_of.items():
        rows = rows_of.get(split, np.arange(table.num_rows))
        cells = schema.with_derived(table).columns
        examples = build_examples(columns[table.name], cells, targets, rows, table.name, table.folder)
        all_rows[split], splits[split] = examples, _without_unknown(examples, targets)
        set_aside[table.name] = set_aside.get(table.name, 0) + len(examples) - len(splits[split])
    _check_splits(splits, table_of)
    with progress.phase("checking the table", None):
        taught = unlabelled if config.teacher is not None else unlabelled[:0]
        found = table_notices_of_run(table_of, all_rows, splits, preprocessor, broken, config, taught)
    found = in_order([*about_tables, *about_unlabelled, *_shared_groups(tables, config), *found])
    for number, line in enumerate(notice_lines([notice.state() for notice in found])):
        progress.message(line, logging.WARNING if number else logging.INFO)  # the first one is the heading
    return DataModule(
        preprocessor=preprocessor,
        targets=targets,
        splits=splits,
        tables=table_of,
        broken=broken,
        set_aside=set_aside,
        unlabelled=unlabelled,
        table_notices=found,
        notices=[
            *_feature_notices(tables.train),
            *decision_notices(targets, config),
            *target_notices(targets),
            *settings_notices(preprocessor.modalities, settings),
        ],
        warm_start=warm_start,
        target_encodings=encodings,
    )


def split_tables(tables: Tables, config: RunConfig, schema: Schema) -> dict[str, Table]:
    """Split the tables of a run as it did when it was trained; nothing is decoded.

    Args:
        tables: The tables.
        config: The run's configuration.
        schema: Its schema.

    Returns:
        "train", "validation" and perhaps "test" to their rows, those without any target left out of what is split.

    Raises:
        SchemaError: If a table lacks a target, or has too few rows.
    """
    tables, _ = _pooled_for_groups(tables, config)
    tables.train.check_columns([target.name for target in schema.targets], "the model's targets")
    rows_of = _split(tables, config, schema, _known_rows(tables.train, schema))
    table_of = _table_of_split(tables, rows_of)
    return {split: table.take(rows_of[split]) if split in rows_of else table for split, table in table_of.items()}


def _feature_notices(table: Table) -> list[str]:
    return [
        f"The feature function {name!r} added {list_names(map(repr, names))}." for name, names in table.added.items()
    ]


def _pooled_for_groups(tables: Tables, config: RunConfig) -> tuple[Tables, list[Notice]]:
    """Pool training and validation tables that share groups, so that they are split again by group."""
    if config.group is None or tables.validation is None or config.group not in tables.validation.columns:
        return tables, []
    shared = check_groups(tables.train.columns.get(config.group, []), tables.validation.columns[config.group])
    if not shared:
        return tables, []
    shown = ", ".join(repr(group) for group in shared[:3])
    sentence = (
        f"{tables.validation.name} shares {len(shared)} groups of {config.group!r} with {tables.train.name} "
        f"({shown}, ...): both were pooled and validation was drawn again by group."
    )
    pooled = concatenate([tables.train, tables.validation])
    notice = Notice(kind="group", columns=(config.group,), sentence=sentence)
    pooled_tables = Tables(train=pooled, test=tables.test, has_test=tables.has_test, unlabelled=tables.unlabelled)
    return pooled_tables, [notice]


def _with_unlabelled(tables: Tables, config: RunConfig) -> tuple[Tables, list[Notice]]:
    """Put the table without targets below the training table, where the run learns from it."""
    if tables.unlabelled is None or not uses_unlabelled(config):
        return tables, []
    train, notices = put_below(tables.train, tables.unlabelled, config.target)
    return replace(tables, train=train, unlabelled=None), notices


def _shared_groups(tables: Tables, config: RunConfig) -> list[Notice]:
    if config.group is None or tables.test is None or config.group not in tables.test.columns:
        return []
    shared = check_groups(tables.train.columns.get(config.group, []), tables.test.columns[config.group])
    if not shared:
        return []
    sentence = (
        f"{tables.test.name} shares {len(shared)} groups of {config.group!r} with {tables.train.name} "
        f"({shared[0]!r}, ...): its scores say little about unseen groups."
    )
    return [Notice(kind="group", columns=(config.group,), sentence=sentence)]


def _schema(table: Table, config: RunConfig) -> Schema:
    for option, column in (("--group", config.group), ("--time", config.time), ("--relevance", config.relevance)):
        table.check_columns([] if column is None else [column], option)
    if config.group is not None and config.time is not None:
        raise ConfigError("The splits can follow --group or --time, not both. Leave one of them out.")
    if config.relevance is not None and config.target:
        raise ConfigError("The option --relevance judges runs without a target. Leave out --target or --relevance.")
    unseen = {config.group, config.relevance} - {None}
    hidden = [column for column in table.columns if column in unseen and column not in config.drop]
    return infer_schema(
        table,
        targets=config.target,
        modality=config.modality,
        streams=config.stream,
        drop=config.drop,
        ignore=hidden,
    )


def _known_rows(table: Table, schema: Schema) -> NDArray[np.int64]:
    """Return the rows with at least one target; the others are set aside and counted."""
    if not schema.targets:
        return np.arange(table.num_rows)
    known = np.zeros(table.num_rows, np.bool_)
    for target in schema.targets:
        known |= np.fromiter((cell is not None for cell in table.columns[target.name]), np.bool_, table.num_rows)
    if not known.any():
        names = ", ".join(repr(t.name) for t in schema.targets)
        raise SchemaError(f"{table.name}: the target {names} has no value in any row. Choose another --target.")
    return np.flatnonzero(known)


def _split(tables: Tables, config: RunConfig, schema: Schema, known: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    fractions = {}
    if tables.validation is None:
        fractions["validation"] = config.validation_share
    if tables.test is None and tables.has_test and config.test_share:
        fractions["test"] = config.test_share
    if not fractions:
        return {"train": known}
    labelled = tables.train.take(known)
    stratified = [target.name for target in schema.targets if target.kind == "category"]
    splits = split_rows(
        labelled, targets=stratified, group=config.group, time=config.time, fractions=fractions, seed=config.seed
    )
    return {split: known[rows] for split, rows in splits.items()}


def _table_of_split(tables: Tables, rows_of: Mapping[str, NDArray[np.int64]]) -> dict[str, Table]:
    given = {"train": tables.train, "validation": tables.validation, "test": tables.test}
    table_of = {split: tables.train if split in rows_of else table for split, table in given.items()}
    return {split: table for split, table in table_of.items() if table is not None}


def _fit_targets(table: Table, schema: Schema, rows: NDArray[np.int64], config: RunConfig) -> dict[str, AnyTarget]:
    targets: dict[str, AnyTarget] = {}
    known = {target.name for target in schema.targets} or {OBJECTIVE}
    unknown = sorted(set(config.target_settings) - known)
    if unknown:
        advice = did_you_mean(unknown[0], known, "The targets are")
        raise ConfigError(f"There is no target {unknown[0]!r} to give settings to. {advice}")
    train = schema.with_derived(table.take(rows))
    for target in schema.targets:
        options = config.target_settings.get(target.name, {})
        try:
            context = RowContext(train.columns, train.folder, streams=schema.streams)
            targets[target.name] = fit_target(target.kind, train.columns[target.name], context, options)
        except SchemaError as error:
            raise SchemaError(f"{table.name}, column {target.name!r}: {error}") from None
    return targets


def _fit_objectives(
    config: RunConfig, preprocessor: Preprocessor, columns: Mapping[str, Column], rows: NDArray[np.int64]
) -> dict[str, AnyTarget]:
    """Return the objectives without a target column: joint embeddings, or reconstruction of each stream."""
    objectives: dict[str, AnyTarget] = {}
    streams = preprocessor.schema.streams
    if not config.target and len(streams) > 1:
        relevance = {} if config.relevance is None else {"relevance": config.relevance}
        options = config.target_settings.get(OBJECTIVE, {})
        objectives[OBJECTIVE] = fit_target("embedding", [], RowContext(streams=streams), {**options, **relevance})
    context = RowContext(columns=columns, rows=rows, streams=streams)
    if config.reconstruct:
        return objectives | recovery_objectives(preprocessor, context, config)
    if not config.target and len(streams) == 1:
        options = {"stream": streams[0].name, "seed": config.seed}
        objectives[RECONSTRUCTION] = fit_target("sketch", [], context, options)
    return objectives


def _decode(
    preprocessor: Preprocessor,
    targets: Mapping[str, AnyTarget],
    tables: Mapping[str, Table],
    cache: ArrayCache,
    progress: Progress,
    config: RunConfig,
) -> tuple[dict[str, dict[str, Column]], list[tuple[str, BrokenCell]]]:
    columns: dict[str, dict[str, Column]] = {}
    broken: list[tuple[str, BrokenCell]] = []
    for table in tables.values():
        if table.name in columns:
            continue
        with progress.phase(f"decoding {table.name}", None):
            columns[table.name], cells = preprocessor.transform(table, cache, num_threads=config.num_threads)
            cells = cells + invalid_target_cells(preprocessor.schema.with_derived(table), targets)
        broken += [(table.name, cell) for cell in cells]
        if config.strict and cells:
            raise CellError(
                f"{table.name}, row {cells[0].row}, column {cells[0].column!r}: {cells[0].reason}. "
                f"A strict run stops here ({len(cells)} such cells); mend the cell, or leave out --strict to treat "
                "it as missing."
            )
    return columns, broken


def _without_unknown(examples: Examples, targets: Mapping[str, AnyTarget]) -> Examples:
    known = np.any([examples.known[name] for name in targets], axis=0)
    return Examples(
        examples.columns,
        examples.rows[known],
        examples.cells,
        {name: values[known] for name, values in examples.truth.items()},
        {name: values[known] for name, values in examples.known.items()},
        examples.name,
        examples.folder,
    )


def _check_splits(splits: Mapping[str, Examples], tables: Mapping[str, Table]) -> None:
    for split, examples in splits.items():
        if not len(examples):
            raise SchemaError(
                f"{tables[split].name}: no {split} row has a target value known from training, or, without a "
                "target, two streams. Check the columns, or give more rows."
            )
