"""Training a model on a table: ``fit``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

from polymodal.config import RunConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.features import functions_by_name
from polymodal.model.custom_objects import custom_objects_of
from polymodal.model.saved_parts import MODEL_FOLDER
from polymodal.nn.devices import use_device
from polymodal.nn.ranks import is_main_process
from polymodal.progress import BroadcastProgress, LoggingProgress, Progress, SilentProgress
from polymodal.runs.callbacks import Callback
from polymodal.runs.data_module import Tables
from polymodal.runs.model import Model, TableLike, load
from polymodal.runs.options import RunOptions, build_run_config, check_options, read_tables
from polymodal.runs.run import execute
from polymodal.runs.run_callbacks import RunCallbacks
from polymodal.runs.run_explanation import explain_run
from polymodal.runs.run_folder import STATE_FILE, open_run_folder, write_run
from polymodal.runs.run_log import open_run_log, summary_lines
from polymodal.runs.trackers import build_trackers
from polymodal.runs.unlabelled import check_unlabelled


def fit(
    table: TableLike,
    *,
    target: str | Sequence[str] | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str | None = None,
    callbacks: Sequence[Callback] = (),
    log: Sequence[str] = (),
    **options: Unpack[RunOptions],
) -> Model:
    """Train a model on a table.

    Args:
        table: Rows to learn from: a path, a dataframe, an Arrow table, a mapping of lists.
        target: Column or columns to predict; without one, learn how the streams relate (``Model.embed``).
        seed: Fixes every random choice.
        output: Run folder to write; None writes nothing.
        resume: Whether to go on with an unfinished run in ``output``.
        progress: Reports the progress of the run; None: ``logging``, by the logger ``polymodal``.
        command: The command line, for the report.
        callbacks: Told of the start, each epoch and the end of the training.
        log: Experiment trackers to log to: "tensorboard", "mlflow", "trackio", "wandb".
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
    folder = None if output is None else Path(output)
    trackers = build_trackers(log, folder)
    config = build_run_config(table, target, options, seed)
    if config.unlabelled is not None or options.get("unlabelled") is not None:
        check_unlabelled(config)
    progress = (progress or LoggingProgress()) if is_main_process() else SilentProgress()
    given = [*trackers, *callbacks] if is_main_process() else []
    with use_device(options.get("device")):
        with progress.phase("reading tables", None):
            tables = read_tables(table, options, config)
        model = _fit_tables(tables, config, folder, resume, progress, command, given)
        functions = functions_by_name(options.get("features") or ())
        return Model(dataclasses.replace(model.trained, feature_functions=functions), model.folder)


def _fit_tables(
    tables: Tables,
    config: RunConfig,
    folder: Path | None,
    resume: bool,
    progress: Progress,
    command: str | None,
    given: Sequence[Callback],
) -> Model:
    if folder is None:
        return _fit_in_memory(tables, config, progress, command, given)
    if resume and (folder / MODEL_FOLDER / "model.json").is_file() and not (folder / STATE_FILE).exists():
        progress.message(f"The run in {folder} is finished; nothing is left to resume.")
        return load(folder, custom_objects=custom_objects_of(config))
    return _fit_in_folder(tables, config, folder, resume, progress, command, given)


def _fit_in_memory(
    tables: Tables, config: RunConfig, progress: Progress, command: str | None, given: Sequence[Callback]
) -> Model:
    callbacks = RunCallbacks(given, command=command, progress=progress)
    with callbacks.told_of_exceptions():
        run = execute(tables, config, ArrayCache.default(), progress, command=command, callbacks=callbacks)
        callbacks.train_end(run.model.report_data, None)
    return Model(run.model)


def _fit_in_folder(
    tables: Tables,
    config: RunConfig,
    folder: Path,
    resume: bool,
    progress: Progress,
    command: str | None,
    given: Sequence[Callback],
) -> Model:
    state_file, cache = folder / STATE_FILE, ArrayCache.default()
    with _open_outputs(folder, config, resume, command) as log:
        progress = BroadcastProgress([progress, log])
        callbacks = RunCallbacks(given, name=folder.name, folder=folder, command=command, progress=progress)
        with callbacks.told_of_exceptions():
            run = execute(tables, config, cache, progress, state_file, resume, command, callbacks=callbacks)
            if is_main_process():
                run = explain_run(run, cache, progress)
                with progress.phase("writing", None):
                    write_run(run, folder)
                for line in summary_lines(run.model.report_data):
                    log.log(line)
            callbacks.train_end(run.model.report_data, folder / "report.html")
    return Model(run.model, folder)


@contextmanager
def _open_outputs(folder: Path, config: RunConfig, resume: bool, command: str | None) -> Iterator[Progress]:
    """Hold the run folder and give its log; both are the main process's."""
    if not is_main_process():
        yield SilentProgress()
        return
    with open_run_folder(folder, config, resume), open_run_log(folder, command, resume) as log:
        yield log
