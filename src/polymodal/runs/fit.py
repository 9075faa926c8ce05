"""Training a model on a table: ``fit``."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Unpack

from polymodal.config import RunConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.model.checkpoint import MODEL_FOLDER
from polymodal.model.custom_objects import custom_objects_of
from polymodal.model.model import Model, TableLike, load
from polymodal.nn.devices import use_device
from polymodal.nn.distributed import is_main_process
from polymodal.progress import Progress, SilentProgress
from polymodal.runs.data_module import Tables
from polymodal.runs.options import RunOptions, build_run_config, check_options, read_tables
from polymodal.runs.run import Run, execute
from polymodal.runs.run_folder import STATE_FILE, open_run_folder, write_run


def fit(
    table: TableLike,
    *,
    target: str | Sequence[str] | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str | None = None,
    **options: Unpack[RunOptions],
) -> Model:
    """Train a model on a table.

    Args:
        table: Rows to learn from: a path, a dataframe, an Arrow table, a mapping of lists.
        target: Column or columns to predict; without one, learn how the streams relate (``Model.embed``).
        seed: Fixes every random choice.
        output: Run folder to write; None writes nothing.
        resume: Whether to go on with an unfinished run in ``output``.
        progress: Reports the progress of the run.
        command: The command line, for the report.
        **options: Everything else: the keywords of ``polymodal.RunOptions``.

    Returns:
        The trained model.

    Raises:
        PolymodalError: If tables, columns or options do not fit; the message says what to do.
        OSError: If ``output`` cannot be written: disk full, no permission. The run can be resumed then.
        TypeError: If there is no such keyword.

    Example:
        >>> model = polymodal.fit("train.csv", target="label", preset="fast", fusion="film")  # doctest: +SKIP
    """
    check_options(fit, options)
    config = build_run_config(table, target, options, seed)
    with use_device(options.get("device")):
        tables = read_tables(table, options, config)
        return _fit_tables(tables, config, None if output is None else Path(output), resume, progress, command)


def _fit_tables(
    tables: Tables, config: RunConfig, folder: Path | None, resume: bool, progress: Progress | None, command: str | None
) -> Model:
    progress = progress if progress is not None and is_main_process() else SilentProgress()
    if folder is None:
        return Model(execute(tables, config, ArrayCache.default(), progress, command=command).model)
    if resume and (folder / MODEL_FOLDER / "model.json").is_file() and not (folder / STATE_FILE).exists():
        progress.message(f"The run in {folder} is finished; nothing is left to resume.")
        return load(folder, custom_objects=custom_objects_of(config))
    started = datetime.datetime.now(datetime.UTC)
    with open_run_folder(folder, config, resume) if is_main_process() else nullcontext():
        run = execute(tables, config, ArrayCache.default(), progress, folder / STATE_FILE, resume, command)
        if is_main_process():
            write_run(run, folder, _log(run, started))
    return Model(run.model, folder)


def _log(run: Run, started: datetime.datetime) -> list[str]:
    report = run.model.report_data
    lines = [f"{started.isoformat(timespec='seconds')} started: {report['command'] or 'polymodal.fit'}"]
    lines += [f"{table['split']}: {table['rows']} rows of {table['name']}" for table in report["tables"]]
    lines += [f"notice: {notice}" for notice in report["notices"]]
    lines += [f"epoch {json.dumps(entry)}" for entry in report["history"]]
    lines += [f"broken: {json.dumps(cell, ensure_ascii=False)}" for cell in report["broken_cells"]]
    return [*lines, f"{report['created']} finished in {report['seconds']['total']:.1f} s"]
