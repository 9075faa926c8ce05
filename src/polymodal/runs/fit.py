"""Learning from a table: ``fit``."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from polymodal.config import Hyperparameter, RunConfig, build_config, load_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table, read_table
from polymodal.model.checkpoint import MODEL_FOLDER
from polymodal.model.model import Model, TableLike, load
from polymodal.nn.distributed import is_main
from polymodal.progress import Progress, SilentProgress
from polymodal.runs.data_module import Tables
from polymodal.runs.run import Run, execute
from polymodal.runs.run_folder import STATE_FILE, check_folder, write_run


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
    found: dict[str, Hyperparameter | None] = {}
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
    record = run.model.report_data
    lines = [f"{started.isoformat(timespec='seconds')} started: {record['command'] or 'polymodal.fit'}"]
    lines += [f"{table['split']}: {table['rows']} rows of {table['name']}" for table in record["tables"]]
    lines += [f"notice: {notice}" for notice in record["notices"]]
    lines += [f"epoch {json.dumps(entry)}" for entry in record["history"]]
    lines += [f"broken: {json.dumps(cell, ensure_ascii=False)}" for cell in record["broken_cells"]]
    return [*lines, f"{record['created']} finished in {record['seconds']['total']:.1f} s"]
