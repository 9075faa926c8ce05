"""Comparing ways of running on the same data: every fusion, or any variants of the options.

::

    runs/compare-clothing/
      compare.json    the comparison as JSON
      compare.html    the same as a page, with links to the runs
      results/        of each finished run a small file and its run folder; such runs are not repeated
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Unpack

import polymodal
from polymodal.atomic_files import remove_temporaries, write_text
from polymodal.config import RunConfig, build_config, values_of
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.cache.keys import cell_keys
from polymodal.data.features import only_features
from polymodal.errors import ConfigError, parameter_error
from polymodal.fusion import FUSIONS
from polymodal.model.build import build_network
from polymodal.model.shared_groups import shared_groups
from polymodal.nn.devices import use_device
from polymodal.nn.ranks import is_main_process
from polymodal.progress import LoggingProgress, Progress
from polymodal.report.comparison import (
    Comparison,
    RunResult,
    Variant,
    describe_budgets,
    sorted_rows,
    summarise,
)
from polymodal.report.comparison_page import write_comparison
from polymodal.runs.data_module import DataModule, Tables, build_data_module
from polymodal.runs.folder_lock import entries, locked_folder
from polymodal.runs.model import TableLike
from polymodal.runs.options import RunOptions, build_run_config, check_options, read_tables
from polymodal.runs.run import Run, execute
from polymodal.runs.run_callbacks import RunCallbacks
from polymodal.runs.run_folder import write_run
from polymodal.runs.run_result import result_of
from polymodal.runs.trackers import build_trackers
from polymodal.training.optimizers import check_optimizer

RESULTS = "results"
ALL = "all"
GIVEN = "as given"
NOT_OF_DATA = ("fusion", "train", "baselines", "width", "preset", "share", "share_depth", "num_threads")
"""Options that the data module does not depend on; of ``share`` only the groups that share an encoder count."""
OF_TABLES = ("data", "validation", "test", "unlabelled")
"""Options that name tables, which are read once for all variants."""


def compare(
    table: TableLike,
    *,
    target: str | Sequence[str] | None = None,
    fusions: Sequence[str] | Literal["all"] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    seeds: Sequence[int] = (0,),
    output: str | Path | None = None,
    progress: Progress | None = None,
    command: str | None = None,
    log: Sequence[str] = (),
    **options: Unpack[RunOptions],
) -> Comparison:
    """Train variants on the same data, with the same encoders and seeds, and put their scores side by side.

    Baselines are off unless ``settings`` turn them on. Without ``fusions`` and ``variants``, all fusions are compared;
    with variants alone, they are compared with the options as given.

    Args:
        table: Rows to learn from.
        target: Column or columns to predict.
        fusions: Names of fusions, or "all": those of the table that can predict the targets.
        variants: Name to dotted options, such as ``{"long": {"train.epochs": 50}}``.
        seeds: Each variant is trained once with each.
        output: Folder for the report, and the model, report and curves of every run; runs that are finished there are
            not repeated. None writes nothing.
        progress: Reports the progress of the comparison; None: ``logging``, by the logger ``polymodal``.
        command: The command line, for the report.
        log: Experiment trackers to log each run to: "tensorboard", "mlflow", "trackio", "wandb".
        **options: Options in common to all variants: the keywords of ``polymodal.RunOptions``.

    Returns:
        The comparison.

    Raises:
        PolymodalError: If tables, columns or options do not fit; the message says what to do.
        OSError: If ``output`` cannot be written: disk full, no permission. Finished runs are kept then.
        TypeError: If there is no such keyword.

    Example:
        >>> comparison = polymodal.compare("train.csv", target="label", fusions=["sum", "film"])  # doctest: +SKIP
        >>> comparison.best().variant  # doctest: +SKIP
        'film'
    """
    check_options(compare, options)
    folder = None if output is None else Path(output)
    build_trackers(log, folder)  # raises where one cannot be used, before anything is read
    base = build_run_config(table, target, options, defaults={"baselines": False})
    progress = progress or LoggingProgress()
    with progress.phase("reading tables", None):
        tables = read_tables(table, options, base)
    runs = _ComparisonRuns(tables, base, folder, progress, log)
    listed = list_variants(base, fusions, variants)
    _check_seeds(seeds)
    with _open_folder(folder), use_device(options.get("device")):
        listed = runs.checked(listed, seeds[0], may_leave_out=fusions == ALL or not (fusions or variants))
        results = runs.results(listed, seeds)
        comparison = _join(results, base, runs.notices, command)
        if folder is not None:
            write_text(folder / "compare.json", json.dumps(comparison.to_dict(), indent=1))
            write_comparison(comparison, folder / "compare.html")
    return comparison


def list_variants(
    base: RunConfig, fusions: Sequence[str] | Literal["all"] | None, variants: Mapping[str, Mapping[str, Any]] | None
) -> list[Variant]:
    """List the variants to compare.

    Args:
        base: The options in common.
        fusions: Names of fusions, or "all".
        variants: Name to dotted options.

    Returns:
        The variants, fusions first.

    Raises:
        ConfigError: If a fusion is unknown or a name is repeated.
    """
    chosen = list(FUSIONS) if fusions == ALL or not (fusions or variants) else list(fusions or ())
    unknown = [name for name in chosen if name not in FUSIONS]
    if unknown:
        expected = f"all, or some of: {', '.join(FUSIONS)}"
        raise parameter_error("fusions", "a comparison", expected, unknown[0], FUSIONS)
    listed = [_fusion_variant(name, base) for name in chosen] or [Variant(GIVEN)]
    listed += [Variant(name, overrides) for name, overrides in (variants or {}).items()]
    names = [variant.name for variant in listed]
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ConfigError(f"Two variants are called {twice!r}. Give each variant a name of its own.")
    return listed


def _fusion_variant(name: str, base: RunConfig) -> Variant:
    """Return the variant of a fusion; the hyperparameters of the configuration apply to its own fusion only."""
    values = base.fusion.hyperparameters if name == base.fusion.name else {}
    return Variant(name, {"fusion.name": name, "fusion.hyperparameters": values})


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) < len(seeds):
        raise parameter_error("seeds", "a comparison", "one whole number or several different ones", list(seeds))


@contextmanager
def _open_folder(folder: Path | None) -> Iterator[None]:
    """Hold the folder of a comparison; no other one may write there meanwhile."""
    if folder is None:
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output {folder} is a file. Choose another --output.")
    with locked_folder(folder):
        if entries(folder) and not (folder / RESULTS).is_dir():
            raise ConfigError(f"The folder {folder} holds something else than a comparison. Choose another --output.")
        for part in (folder, folder / RESULTS):
            if part.is_dir():
                remove_temporaries(part)
        try:
            yield
        finally:
            with suppress(OSError):  # not empty: runs are finished
                (folder / RESULTS).rmdir()


class _ComparisonRuns:
    """The tables and options that all runs of a comparison have in common."""

    def __init__(
        self, tables: Tables, base: RunConfig, folder: Path | None, progress: Progress, log: Sequence[str]
    ) -> None:
        self.tables = tables
        self.base = base
        self.folder = folder
        self.progress = progress
        self.log = log if is_main_process() else ()
        self.notices: list[str] = []
        self.cache = ArrayCache.default()
        self._data_module: tuple[RunConfig, DataModule] | None = None
        self._tables_key = _tables_key(tables)

    def config_of(self, variant: Variant, seed: int) -> RunConfig:
        """Return the options of one run."""
        named = next((name for name in OF_TABLES if name in variant.overrides), None)
        if named is not None:
            raise ConfigError(
                f"The variant {variant.name!r} names a table by {named!r}, but all variants learn from the same "
                "tables. Name it for the whole comparison."
            )
        try:
            return build_config(values_of(self.base), {**variant.overrides, "seed": seed})
        except ConfigError as error:
            raise ConfigError(f"The variant {variant.name!r}: {error}") from None

    def checked(self, variants: list[Variant], seed: int, may_leave_out: bool) -> list[Variant]:
        """Build every network once, so that errors are raised before the first run."""
        usable = []
        for variant in variants:
            config = self.config_of(variant, seed)
            check_optimizer(config.train)
            data_module = self.data_module(config)
            try:
                build_network(config, data_module.preprocessor.modalities, data_module.targets)
            except ConfigError as error:
                if not may_leave_out or variant.name not in FUSIONS:
                    raise ConfigError(f"The variant {variant.name!r}: {error}") from None
                self.notices.append(f"{variant.name} was left out: {error}")
                continue
            usable.append(variant)
        return usable

    def data_module(self, config: RunConfig) -> DataModule:
        """Return the data module; the last one is cached."""
        if self._data_module is None or not _reads_alike(config, *self._data_module):
            tables = _only_features(self.tables, config.features)
            self._data_module = config, build_data_module(tables, config, self.cache, self.progress)
        return self._data_module[1]

    def results(self, variants: Sequence[Variant], seeds: Sequence[int]) -> dict[str, list[RunResult]]:
        """Return the results of every variant, one a seed."""
        results: dict[str, list[RunResult]] = {variant.name: [] for variant in variants}
        pairs = [(seed, variant) for seed in seeds for variant in variants]
        for number, (seed, variant) in enumerate(pairs, start=1):
            self.progress.message(f"{variant.name}, seed {seed} ({number} of {len(pairs)})")
            results[variant.name].append(self.result(variant, seed))
        return results

    def result(self, variant: Variant, seed: int) -> RunResult:
        """Return a run's result, from the folder if it is finished there, else of a new run."""
        config = self.config_of(variant, seed)
        path = None if self.folder is None else self._path(variant, config)
        finished = None if path is None else _read_result(path)
        if finished is not None:
            return finished
        run_folder = None if path is None else path.with_name(path.name.removesuffix(".json"))
        run = self._execute(f"{_slug(variant)}-{config.seed}", config, run_folder)
        result = result_of(run)
        if path is not None and run_folder is not None:
            result = dataclasses.replace(result, folder=f"{RESULTS}/{run_folder.name}")
            write_text(path, json.dumps(result.state(), indent=1))  # says that the run is finished
        return result

    def _execute(self, name: str, config: RunConfig, folder: Path | None) -> Run:
        """Train, and write the run folder."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        trackers = build_trackers(self.log, self.folder)
        callbacks = RunCallbacks(trackers, name=name, folder=folder, progress=self.progress)
        data_module = self.data_module(config)
        with callbacks.told_of_exceptions():
            run = execute(self.tables, config, self.cache, self.progress, data_module=data_module, callbacks=callbacks)
            if folder is not None:
                write_run(run, folder)
            callbacks.train_end(run.model.report_data, None if folder is None else folder / "report.html")
        self.notices += [f"{name}: {notice}" for notice in callbacks.notices]
        return run

    def _path(self, variant: Variant, config: RunConfig) -> Path:
        """Name a run's file after the variant and everything that its result depends on."""
        digest = hashlib.sha256(json.dumps([self._tables_key, config.model_dump(mode="json")]).encode()).hexdigest()
        return (self.folder or Path()) / RESULTS / f"{_slug(variant)}-{config.seed}-{digest[:12]}.json"


def _reads_alike(config: RunConfig, other: RunConfig, data_module: DataModule) -> bool:
    """Whether the data module of other options is that of these too."""
    first, second = (found.model_dump(mode="json", exclude=set(NOT_OF_DATA)) for found in (config, other))
    if first != second:
        return False
    modalities = {stream.name: stream.modality for stream in data_module.schema.streams}
    groups = [shared_groups(found, modalities).encoders.values() for found in (config, other)]
    return list(groups[0]) == list(groups[1])


def _only_features(tables: Tables, names: Sequence[str]) -> Tables:
    """Return the tables with the columns of those feature functions that a variant asks for."""
    validation, test, unlabelled = (
        None if table is None else only_features(table, names)
        for table in (tables.validation, tables.test, tables.unlabelled)
    )
    train = only_features(tables.train, names)
    return dataclasses.replace(tables, train=train, validation=validation, test=test, unlabelled=unlabelled)


def _slug(variant: Variant) -> str:
    return re.sub(r"[^\w.-]+", "-", variant.name)[:40]


def _tables_key(tables: Tables) -> str:
    digest = hashlib.sha256(f"{polymodal.__version__} {tables.has_test}".encode())
    given = [table for table in (tables.train, tables.validation, tables.test, tables.unlabelled) if table is not None]
    for table in given:
        for name, cells in table.columns.items():
            digest.update(f"{name} {cell_keys('cell', {}, cells, table.folder).name}".encode())
    return digest.hexdigest()


def _read_result(path: Path) -> RunResult | None:
    try:
        return RunResult.from_state(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # absent, half-written or of another version: run again
        return None


def _join(results: Mapping[str, list[RunResult]], base: RunConfig, notes: list[str], command: str | None) -> Comparison:
    reference, first_runs = next(iter(results.items()))
    first = first_runs[0]
    better = {name: result.higher_is_better for name, result in first.targets.items()}
    rows = [row for name, runs in results.items() for row in summarise(name, runs, reference, first_runs)]
    return Comparison(
        rows=sorted_rows(rows, better),
        split=first.split,
        num_rows=first.rows,
        higher_is_better=better,
        notes=notes,
        budget=describe_budgets(results),
        options=base.model_dump(mode="json"),
        version=polymodal.__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
    )
