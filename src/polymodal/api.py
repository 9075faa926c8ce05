"""The Python interface: ``fit``, ``load`` and ``Model``.

What only learning and judging need is imported inside the functions that do so: a process that predicts starts sooner.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell
from polymodal.batches import build_examples
from polymodal.cache import ArrayCache
from polymodal.checkpoint import MODEL_FOLDER, load_model, save_model
from polymodal.config import RunConfig, Size, build_config, load_config
from polymodal.embed import Embeddings, embed_table
from polymodal.errors import CellError, ConfigError, SchemaError, parameter_error
from polymodal.predict import predict_windows
from polymodal.predictions import Predictions, join_predictions
from polymodal.progress import Progress, SilentProgress
from polymodal.search import Hit, SearchIndex, build_index
from polymodal.table import Table, read_table
from polymodal.trained import TrainedModel, precompute

if TYPE_CHECKING:
    from polymodal.prepare import Tables
    from polymodal.run import Run

TableLike = Any
"""A path, a dataframe, an Arrow table, a mapping of lists, a list of rows, or a ``Table``."""


class Model:
    """A trained multimodal model.

    Example:
        >>> model = polymodal.fit("train.csv", target="label")  # doctest: +SKIP
        >>> model.predict("new.csv")["label"]  # doctest: +SKIP

    Attributes:
        trained: The parts: network, fitted modalities and targets, baselines, decisions.
        folder: The run folder it was written to, or None.
    """

    def __init__(self, trained: TrainedModel, folder: Path | None = None) -> None:
        """Wrap the parts of a trained model.

        Args:
            trained: The parts.
            folder: The run folder it was written to, if any.
        """
        self.trained = trained
        self.folder = folder

    @property
    def record(self) -> dict[str, Any]:
        """What the report and ``metrics.json`` say, as plain JSON."""
        return self.trained.record

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns it predicts."""
        return tuple(target.name for target in self.trained.schema.targets)

    @property
    def classes(self) -> dict[str, list[str] | None]:
        """Target to class names, or None for numbers."""
        return {name: target.classes for name, target in self.trained.targets.items()}

    def summary(self) -> dict[str, Any]:
        """Return the scores as ``polymodal train --json`` prints them."""
        from polymodal.run_folder import summary_of

        return summary_of(self.record)

    def predict(self, table: TableLike, *, weights: bool = False) -> dict[str, list[Cell]]:
        """Predict every row.

        Args:
            table: Rows to predict; absent columns count as missing cells.
            weights: Whether to add ``weight:STREAM`` lists, where the fusion has weights.

        Returns:
            Target to one plain answer a row, in the table's order: a label, list of labels, number, text, ...

        Raises:
            PolymodalError: If the table cannot be read.
        """
        found = self.predictions(table, weights=weights)
        shown = {f"weight:{stream}": [float(w) for w in values] for stream, values in found.weights.items()}
        return found.labels | shown

    def predict_proba(self, table: TableLike) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
        """Predict probabilities.

        Args:
            table: Rows to predict.

        Returns:
            Target to class names and probabilities ``[rows, classes]``; number targets are left out.
        """
        found = self.predictions(table)
        return {name: (names, found.values[name]) for name, names in found.classes.items() if names is not None}

    def predictions(
        self, table: TableLike, *, weights: bool = False, strict: bool = False, progress: Progress | None = None
    ) -> Predictions:
        """Predict every row, with everything there is to say.

        Args:
            table: Rows to predict.
            weights: Whether to return the fusion's stream weights.
            strict: Whether a broken cell stops.
            progress: Told how far it is.

        Returns:
            Labels, probabilities, weights and broken cells.

        Raises:
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        parts = self.predict_batches(table, weights=weights, strict=strict, progress=progress)
        return join_predictions(list(parts))

    def predict_batches(
        self,
        table: TableLike,
        *,
        rows: int | None = None,
        weights: bool = False,
        strict: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[Predictions]:
        """Predict a table part by part: a file of any length in the same memory.

        Args:
            table: Rows to predict; a file is read as far as it is predicted.
            rows: Rows of a part at most; None: as many as are predicted at once. The predictions are the same.
            weights: Whether to return the fusion's stream weights.
            strict: Whether a broken cell stops.
            progress: Told how far it is.

        Yields:
            Labels, probabilities, weights and broken cells of the next rows, in the table's order. Broken cells are
            named by their row in the whole table.

        Raises:
            ConfigError: If the model has no target, or ``rows`` is not at least 1.
            TableError: If the table cannot be read; for rows in which a file is broken, once they are reached.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        if not self._has_columns():
            raise ConfigError("This model has no target to predict: it embeds rows. Use `embed` or `search`.")
        if rows is not None and rows < 1:
            raise parameter_error("rows", "predict_batches", "None or at least 1", rows)
        source = table if isinstance(table, str | Path) else read_table(table)
        name = Path(source).name if isinstance(source, str | Path) else source.name
        done = 0
        for found in predict_windows(self.trained, source, ArrayCache.default(), progress, weights):
            if strict and found.broken_cells:
                first = found.broken_cells[0]
                raise CellError(f"{name}, row {first.row}, column {first.column!r}: {first.reason}.")
            step = rows or max(len(found), 1)
            for start in range(0, max(len(found), 1), step):
                yield found if step >= len(found) else found.take(slice(start, start + step), done + 1)
            done += len(found)

    def evaluate(self, table: TableLike, *, strict: bool = False, progress: Progress | None = None) -> dict[str, Any]:
        """Judge the model on rows with truth.

        Args:
            table: Rows with the target columns.
            strict: Whether a broken cell stops.
            progress: Told how far it is.

        Returns:
            The object that ``polymodal evaluate --json`` prints.

        Raises:
            SchemaError: If the table lacks every target column or known value.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.run_folder import summary_of

        return summary_of(self.evaluation_record(table, strict=strict, progress=progress))

    def evaluation_record(
        self, table: TableLike, *, strict: bool = False, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Judge the model on rows with truth, in full: calibration, confusion, curves.

        Args:
            table: Rows with the target columns.
            strict: Whether a broken cell stops.
            progress: Told how far it is.

        Returns:
            The parts of a run's record that an evaluation has.

        Raises:
            SchemaError: If the table lacks every target column or known value.
            CellError: If ``strict`` and a cell cannot be decoded.
        """
        from polymodal.evaluate import evaluate_examples
        from polymodal.prepare import target_problems

        started, source, told = time.perf_counter(), read_table(table), progress or SilentProgress()
        if self._has_columns():
            _check_has_targets(source, self.trained)
        cache = ArrayCache.default()
        with told.phase(f"decoding {source.name}", None):
            columns, broken = self.trained.preprocessor.transform(source, cache)
            broken = broken + target_problems(source, self.trained.targets)
        if strict and broken:
            raise CellError(f"{source.name}, row {broken[0].row}, column {broken[0].column!r}: {broken[0].reason}.")
        columns = precompute(self.trained.network, columns, cache, told)
        cells = _padded_cells(source, self.trained)
        rows = np.arange(source.num_rows)
        examples = build_examples(columns, cells, self.trained.targets, rows, source.name, source.folder)
        known = np.any(list(examples.known.values()), axis=0)
        if not known.any():
            raise SchemaError(
                f"{source.name}: no row has a target value known from training, so nothing can be judged."
            )
        examples = build_examples(columns, cells, self.trained.targets, rows[known], source.name, source.folder)
        with told.phase("judging", None):
            found = evaluate_examples(self.trained, examples, "test")
        aside = source.num_rows - len(examples)
        return {
            "evaluation": found.report,
            "tables": [{"name": source.name, "split": "test", "rows": len(examples), "set_aside": aside}],
            "broken_cells": [{"table": source.name, **dataclasses.asdict(cell)} for cell in broken],
            "targets_info": self.record["targets_info"],
            "notices": [],
            "seconds": {"total": time.perf_counter() - started},
        }

    def embed(self, table: TableLike, *, progress: Progress | None = None) -> Embeddings:
        """Turn rows into vectors.

        Args:
            table: Rows to embed; absent columns count as missing cells.
            progress: Told how far it is.

        Returns:
            One unit vector a row and, of a model without targets, one a stream.
        """
        return embed_table(self.trained, read_table(table), ArrayCache.default(), progress or SilentProgress())

    def index(self, table: TableLike, *, progress: Progress | None = None) -> tuple[SearchIndex, list[BrokenCell]]:
        """Make a searchable index of rows.

        Args:
            table: Rows to index.
            progress: Told how far it is.

        Returns:
            The index, and the cells that could not be decoded.
        """
        source = read_table(table)
        found = embed_table(self.trained, source, ArrayCache.default(), progress or SilentProgress())
        return build_index(found, source), found.broken_cells

    def search(self, index: SearchIndex, cells: Mapping[str, Cell], *, top: int = 10, within: str = "row") -> list[Hit]:
        """Find the rows of an index that are nearest to some cells.

        Args:
            index: What ``index`` made, or ``polymodal.search.load_index`` read.
            cells: Column to cell, such as ``{"caption": "a red circle"}``; other columns count as missing.
            top: How many rows at most.
            within: Whose vectors are compared: ``row``, or a stream.

        Returns:
            The nearest rows, best first.

        Raises:
            ConfigError: If no cell is given, or a column is unknown.
            CellError: If a cell cannot be decoded.
        """
        known = self.trained.preprocessor.column_names
        unknown = sorted(set(cells) - set(known))
        if unknown or not cells:
            asked = f"the column {unknown[0]!r}, which the model does not know" if unknown else "nothing"
            raise ConfigError(f"The search asks for {asked}. The columns are: {', '.join(known)}.")
        found = self.embed({name: [cell] for name, cell in cells.items()})
        if found.broken_cells:
            raise CellError(f"The cell of {found.broken_cells[0].column!r}: {found.broken_cells[0].reason}.")
        return index.search(found.rows[0], top, within)

    def query_cells(self, values: Mapping[str, Cell]) -> dict[str, Cell]:
        """Find the columns that hold a modality.

        Args:
            values: Modality to cell.

        Returns:
            Column to cell.

        Raises:
            ConfigError: If a modality has no column or several.
        """
        found = {}
        for modality, cell in values.items():
            columns = [c.name for c in self.trained.schema.columns if c.modality == modality]
            if len(columns) != 1:
                have = f"{len(columns)} such columns ({', '.join(columns)})" if columns else "no such column"
                raise ConfigError(f"The model has {have}; a search by {modality} needs one. Use --query COL=VALUE.")
            found[columns[0]] = cell
        return found

    def _has_columns(self) -> bool:
        return bool(self.trained.schema.targets)

    def save(self, path: str | Path) -> None:
        """Write the model: safetensors, JSON and text.

        Args:
            path: The model's folder; an older model there is replaced.

        Raises:
            ConfigError: If the folder holds something else.
        """
        folder = Path(path)
        if folder.exists() and not (folder / "model.json").is_file() and any(folder.iterdir()):
            raise ConfigError(f"The folder {folder} holds something else than a model. Choose another one.")
        save_model(self.trained, folder)


def _check_has_targets(table: Table, trained: TrainedModel) -> None:
    if not any(name in table.columns for name in trained.targets):
        names = ", ".join(repr(name) for name in trained.targets)
        raise SchemaError(f"{table.name} has no target column: expected {names}, got {', '.join(table.columns)}.")


def _padded_cells(table: Table, trained: TrainedModel) -> dict[str, list[Cell]]:
    needed = [*trained.preprocessor.column_names, *trained.targets]
    judged = {name: table.columns[name] for name in [trained.config.relevance] if name in table.columns}
    given = trained.schema.with_sounds(table).columns
    return {name: given.get(name, [None] * table.num_rows) for name in needed} | judged


def load(path: str | Path) -> Model:
    """Load a model.

    Args:
        path: A run folder, or the model folder in it.

    Returns:
        The model, ready to predict.

    Raises:
        CheckpointError: If there is no model, or it is damaged.
    """
    folder = Path(path)
    return Model(load_model(folder), folder if (folder / MODEL_FOLDER).is_dir() else None)


def fit(
    table: TableLike,
    *,
    target: str | Sequence[str] | None = None,
    validation: TableLike | None = None,
    test: TableLike | Literal[False] | None = None,
    group: str | None = None,
    time: str | None = None,
    drop: Sequence[str] | None = None,
    relevance: str | None = None,
    reconstruct: bool | None = None,
    teacher: str | Path | None = None,
    modality: Mapping[str, str] | None = None,
    stream: Mapping[str, Sequence[str]] | None = None,
    share: Mapping[str, Sequence[str]] | None = None,
    preset: str | None = None,
    time_limit: float | None = None,
    fusion: str | None = None,
    encoder: Mapping[str, str] | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    strict: bool | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Model:
    """Learn from a table.

    Arguments left at None keep the configuration's value, else the default.

    Args:
        table: Rows to learn from: a path, a dataframe, an Arrow table, a mapping of lists.
        target: Column or columns to predict; without one, learn how the streams relate (``Model.embed``).
        validation: Rows to choose the best epoch by; held out from ``table`` if not given.
        test: Rows to judge by; held out from ``table`` if not given; False for none.
        group: Column whose values never stand on both sides of a split.
        time: Column that orders the split; the latest rows are held out.
        drop: Columns to leave out.
        relevance: Without a target: column whose equal values count as a match when retrieval is judged.
        reconstruct: Whether each stream is also learned to be recovered from the others.
        teacher: A trained model whose predictions the new one also learns from.
        modality: Column to modality, where the guess is wrong.
        stream: Stream name to column patterns, to encode columns together.
        share: Group name to stream patterns; the streams of a group share one encoder.
        preset: "fast", "balanced" or "best".
        time_limit: Seconds after which the whole run shall be over; the schedule is laid over the steps that fit.
        fusion: Name of the fusion.
        encoder: Stream to encoder name, or the folder or hub name of a pretrained checkpoint.
        config: A ``run.yaml``, or its values.
        settings: Dotted option names to values, such as ``{"train.epochs": 20}``.
        seed: Fixes every random choice.
        output: Run folder to write; None writes nothing.
        resume: Whether to go on with an unfinished run in ``output``.
        strict: Whether a broken cell stops the run.
        progress: Told how far it is.
        command: The command line, for the record.

    Returns:
        The trained model.

    Raises:
        PolymodalError: If tables, columns or options do not fit; the message says what to do.
    """
    given = load_config(Path(config)) if isinstance(config, (str, Path)) else dict(config or {})
    values = merged_options(
        given,
        data=str(table) if isinstance(table, (str, Path)) else None,
        validation=str(validation) if isinstance(validation, (str, Path)) else None,
        test=str(test) if isinstance(test, (str, Path)) else None,
        target=(target,) if isinstance(target, str) else target,
        group=group,
        time=time,
        drop=drop,
        relevance=relevance,
        reconstruct=reconstruct,
        teacher=None if teacher is None else str(teacher),
        modality=modality,
        stream=stream,
        share=share,
        preset=preset,
        seed=seed,
        strict=strict,
    )
    overrides = _overrides(time_limit, fusion, encoder) | dict(settings or {})
    checked = build_config(values, overrides)
    tables = read_tables(table, validation, test, checked)
    return _fit_tables(tables, checked, Path(output) if output is not None else None, resume, progress, command)


def merged_options(given: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """Put options that were given by name over those of a configuration.

    Args:
        given: Nested option values.
        **named: Option to value; None leaves the configuration's.

    Returns:
        Nested option values.
    """
    return dict(given) | {name: value for name, value in named.items() if value is not None}


def _overrides(time_limit: float | None, fusion: str | None, encoder: Mapping[str, str] | None) -> dict[str, Any]:
    found: dict[str, Size | None] = {}
    if time_limit is not None:
        found["train.time_limit_s"] = time_limit
    if fusion is not None:
        found["fusion.name"] = fusion
    return {**found, **{f"encoder.{stream}.name": name for stream, name in (encoder or {}).items()}}


def read_tables(
    table: TableLike, validation: TableLike | None, test: TableLike | Literal[False] | None, config: RunConfig
) -> Tables:
    """Read the tables of a run.

    Args:
        table: Rows to learn from.
        validation: Rows to choose by; None: as the configuration says.
        test: Rows to judge by; None: as the configuration says; False for none.
        config: The run's configuration.

    Returns:
        The tables, no two of the same name.
    """
    from polymodal.prepare import Tables

    validation = config.validation if validation is None else validation
    judged = config.test if test is None else test
    sources = {"train": table, "validation": validation, "test": None if judged is False else judged}
    found: dict[str, Table] = {}
    for part, source in sources.items():
        if source is not None:
            found[part] = _named(read_table(source), part, {other.name for other in found.values()})
    return Tables(
        train=found["train"],
        validation=found.get("validation"),
        test=found.get("test"),
        has_test=test is not False,
    )


def _named(table: Table, part: str, taken: set[str]) -> Table:
    """Tables are told apart by name: those from memory are called after their part, and no two are called the same."""
    name = part if table.name == "table" else table.name
    return dataclasses.replace(table, name=f"{name} ({part})" if name in taken else name)


def _fit_tables(
    tables: Tables, config: RunConfig, folder: Path | None, resume: bool, progress: Progress | None, command: str | None
) -> Model:
    from polymodal.processes import is_main
    from polymodal.run import execute
    from polymodal.run_folder import STATE_FILE, check_folder, write_run

    told = progress if progress is not None and is_main() else SilentProgress()
    if folder is None:
        return Model(execute(tables, config, ArrayCache.default(), told, command=command).model)
    if resume and (folder / MODEL_FOLDER / "model.json").is_file() and not (folder / STATE_FILE).exists():
        told.message(f"The run in {folder} is finished; nothing is left to resume.")
        return load(folder)
    if is_main():
        check_folder(folder, config, resume)
    started = datetime.datetime.now(datetime.UTC)
    run = execute(tables, config, ArrayCache.default(), told, folder / STATE_FILE, resume, command)
    if is_main():
        write_run(run, folder, _log(run, started))
    return Model(run.model, folder)


def _log(run: Run, started: datetime.datetime) -> list[str]:
    record = run.model.record
    lines = [f"{started.isoformat(timespec='seconds')} started: {record['command'] or 'polymodal.fit'}"]
    lines += [f"{table['split']}: {table['rows']} rows of {table['name']}" for table in record["tables"]]
    lines += [f"notice: {notice}" for notice in record["notices"]]
    lines += [f"epoch {json.dumps(entry)}" for entry in record["history"]]
    lines += [f"broken: {json.dumps(cell, ensure_ascii=False)}" for cell in record["broken_cells"]]
    return [*lines, f"{record['created']} finished in {record['seconds']['total']:.1f} s"]
