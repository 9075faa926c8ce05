"""A whole run: prepare, build, train, fit baselines and the decision level, judge."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import polymodal
from polymodal.arrays import Cell
from polymodal.baseline_cache import keep_baselines
from polymodal.baseline_features import FeatureBlocks, FeatureExtractor
from polymodal.baselines import Baseline, fit_baselines
from polymodal.batches import Examples
from polymodal.build import NARROW, WIDTHS, build_network, num_parameters, resolve_training
from polymodal.cache import ArrayCache
from polymodal.config import RunConfig, TrainConfig
from polymodal.decide import with_decisions
from polymodal.distil import teach
from polymodal.encoders import default_encoder
from polymodal.evaluate import Evaluation, evaluate_examples
from polymodal.job import Job, State
from polymodal.metrics import HIGHER_IS_BETTER
from polymodal.network import Network
from polymodal.pilot import choose_flip
from polymodal.plan import Budget
from polymodal.prepare import Prepared, Tables, prepare
from polymodal.pretrain import HIDDEN_SHARE
from polymodal.processes import main_first, num_processes
from polymodal.progress import Progress
from polymodal.resume import saved_width
from polymodal.schema import ColumnSchema
from polymodal.sharded import is_asked_for
from polymodal.sharing import shared_groups
from polymodal.sizing import Choice, choose_width
from polymodal.targets import AnyTarget, StructuredTarget, Target, primary_metric_of
from polymodal.targets.evidence import with_evidence
from polymodal.train import train_network
from polymodal.trained import TrainedModel, precompute


class Stopwatch:
    """Seconds of each phase of a run."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds: dict[str, float] = {}
        self.started_s = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside towards a phase.

        Args:
            name: The phase.

        Yields:
            Nothing.
        """
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def total(self) -> dict[str, float]:
        """Return the phases and their total."""
        return {"total": time.perf_counter() - self.started_s, **self.seconds}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        model: The trained model, its record filled in.
        prepared: The examples it came from.
        evaluation: How it did on test, or on validation where there is no test.
        split: Which of the two.
    """

    model: TrainedModel
    prepared: Prepared
    evaluation: Evaluation
    split: str


def execute(
    tables: Tables,
    config: RunConfig,
    cache: ArrayCache,
    progress: Progress,
    state_path: Path | None = None,
    resume: bool = False,
    command: str | None = None,
    prepared: Prepared | None = None,
) -> Run:
    """Run everything from tables to a judged model.

    Args:
        tables: The tables.
        config: The configuration.
        cache: Where decoded arrays are kept.
        progress: Told how far it is.
        state_path: File with the training state to resume from; None keeps none.
        resume: Whether to go on from it.
        command: The command line that asked for this, for the record.
        prepared: What ``prepare`` made of these tables, where it has been done already.

    Returns:
        The finished run.
    """
    watch = Stopwatch()
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    with watch.phase("prepare"), main_first():
        prepared = prepared or prepare(tables, config, cache, progress)
    settings = resolve_training(config.train, config.preset, len(prepared.splits["train"]), prepared.targets.values())
    config = config.model_copy(update={"train": settings})
    network = _fresh_network(config, prepared)
    prepared = _with_notices(prepared, _head_notices(network, prepared.splits["train"]))
    with watch.phase("precompute"):
        prepared = _precomputed(prepared, network, cache, progress)
    with watch.phase("baselines"), progress.phase("baselines", None):  # first: then training knows what time is left
        features, baselines = _baselines(prepared, config, cache)
    with watch.phase("train"):
        job = dataclasses.replace(
            _job(prepared, config, state_path, _taught(prepared, config, cache, progress)),
            budget=_budget(prepared, settings, watch, is_command=command is not None),
        )
        if settings.time_limit_s is not None and config.width is None:
            choice = _choose_width(job, config, prepared, saved_width(state_path) if resume else None)
            config = config.model_copy(update={"width": choice.width})
            network, prepared = _fresh_network(config, prepared), _with_notices(prepared, choice.notices)
        if settings.flip == "auto":
            settings, told = choose_flip(job, partial(_fresh_network, config, prepared), progress)
            job, config = dataclasses.replace(job, settings=settings), config.model_copy(update={"train": settings})
            prepared = _with_notices(prepared, [told])
        state = train_network(network, job, progress, resume)
    model = TrainedModel(
        config=config,
        preprocessor=prepared.preprocessor,
        targets=prepared.targets,
        network=network,
        features=features,
        baselines=baselines,
        decisions={},
    )
    split = "test" if "test" in prepared.splits else "validation"
    with watch.phase("evaluate"), progress.phase("judging", None):
        model = with_decisions(model, prepared.splits["validation"])
        evaluation = evaluate_examples(model, prepared.splits[split], split)
    record = build_record(model, prepared, state, evaluation, watch.total(), command)
    return Run(model=dataclasses.replace(model, record=record), prepared=prepared, evaluation=evaluation, split=split)


def _fresh_network(config: RunConfig, prepared: Prepared) -> Network:
    torch.manual_seed(config.seed)
    return build_network(config, prepared.preprocessor.modalities, prepared.targets)


def _choose_width(job: Job, config: RunConfig, prepared: Prepared, saved: int | None) -> Choice:
    """Settle the width where the time is limited; a resumed run keeps its own."""
    widths = [WIDTHS[config.preset], *(width for width in NARROW if width < WIDTHS[config.preset])]

    def build(width: int) -> Network:
        return _fresh_network(config.model_copy(update={"width": width}), prepared)

    return Choice(saved, {}) if saved else choose_width(job, build, widths)


def _with_notices(prepared: Prepared, notices: list[str]) -> Prepared:
    return dataclasses.replace(prepared, notices=prepared.notices + notices)


def _head_notices(network: Network, train: Examples) -> list[str]:
    """Gather what the heads have to say of the training rows."""
    places = {name: np.flatnonzero(known) for name, known in train.known.items()}
    return [
        f"The target {name!r}: {notice}."
        for name, head in network.named_structured_heads()
        for notice in head.notices(train.truth[name][places[name]], train.source(places[name]))
    ]


def _precomputed(prepared: Prepared, network: Any, cache: ArrayCache, progress: Progress) -> Prepared:
    done: dict[str, Mapping[str, Any]] = {}
    splits = {}
    for split, examples in prepared.splits.items():
        if examples.name not in done:
            done[examples.name] = precompute(network, examples.columns, cache, progress)
        splits[split] = dataclasses.replace(examples, columns=done[examples.name])
    return dataclasses.replace(prepared, splits=splits)


def _taught(
    prepared: Prepared, config: RunConfig, cache: ArrayCache, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    if config.teacher is None:
        return {}
    return teach(config.teacher, prepared.tables["train"], prepared.splits["train"], prepared.targets, cache, progress)


def _budget(prepared: Prepared, settings: TrainConfig, watch: Stopwatch, is_command: bool) -> Budget | None:
    """Return when the run has to be over; a command's time begins with its process, before imports and tables."""
    if settings.time_limit_s is None:
        return None
    began = polymodal.STARTED_S if is_command else watch.started_s
    judged = {split: len(examples) for split, examples in prepared.splits.items() if split != "train"}
    return Budget(ends_s=began + settings.time_limit_s, judged_rows=sum(judged.values()))


def _job(
    prepared: Prepared, config: RunConfig, state_path: Path | None, soft: Mapping[str, NDArray[np.float32]]
) -> Job:
    return Job(
        train=prepared.splits["train"],
        validation=prepared.splits["validation"],
        targets=with_evidence(prepared.targets) if config.fusion.name == "evidential" else prepared.targets,
        modalities=prepared.preprocessor.modalities,
        settings=config.train,
        seed=config.seed,
        state_path=state_path,
        soft=soft,
        unlabelled=prepared.unlabelled,
    )


def _baselines(
    prepared: Prepared, config: RunConfig, cache: ArrayCache
) -> tuple[FeatureExtractor | None, dict[str, list[Baseline]]]:
    flat = {name: target for name, target in prepared.targets.items() if not isinstance(target, StructuredTarget)}
    if not config.baselines or not flat:
        return None, {}
    train, validation = prepared.splits["train"], prepared.splits["validation"]
    extractor = FeatureExtractor.fit(
        prepared.schema, prepared.preprocessor.modalities, train.taken(), train.taken_cells()
    )
    parts = [(part, extractor.transform(part.taken(), part.taken_cells())) for part in (train, validation)]
    return extractor, {name: _fit_target(name, target, parts, config, cache) for name, target in flat.items()}


def _fit_target(
    name: str, target: Target, parts: list[tuple[Examples, FeatureBlocks]], config: RunConfig, cache: ArrayCache
) -> list[Baseline]:
    rows = [
        given for part, found in parts for given in (found.take(part.known[name]), part.truth[name][part.known[name]])
    ]
    num_threads = config.num_threads or torch.get_num_threads()
    given: tuple[Any, ...] = (target.kind, len(target.classes or ()) or 1, *rows, config.seed, num_threads)
    return keep_baselines(cache, given, lambda: fit_baselines(*given))


def build_record(
    model: TrainedModel,
    prepared: Prepared,
    state: State,
    evaluation: Evaluation,
    seconds: dict[str, float],
    command: str | None,
) -> dict[str, Any]:
    """Gather what the report and ``metrics.json`` say.

    Args:
        model: The trained model.
        prepared: The examples it came from.
        state: The final training state.
        evaluation: How it did.
        seconds: Phase to seconds.
        command: The command line, if there was one.

    Returns:
        Plain JSON.
    """
    network, schema, config = model.network, model.schema, model.config
    encoders = dict(zip(network.streams, network.encoders, strict=True))
    groups = shared_groups(config, {stream.name: stream.modality for stream in schema.streams})
    shared = {stream: name for name, streams in groups.items() for stream in streams}
    return {
        "version": polymodal.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "title": _title(model),
        "seed": config.seed,
        "seconds": seconds,
        "tables": _table_rows(prepared),
        "columns": _column_rows(prepared),
        "streams": [
            {
                "name": stream.name,
                "modality": stream.modality,
                "encoder": _encoder_name(model, stream.name),
                "shared": shared.get(stream.name),
                "columns": list(stream.columns),
                "parameters": num_parameters(encoders[stream.name]),
            }
            for stream in schema.streams
        ],
        "fusion": {"name": config.fusion.name, "parameters": num_parameters(network.fusion)},
        "parameters": num_parameters(network),
        "targets_info": [_target_info(name, target) for name, target in model.targets.items()],
        "pretraining": state.pretraining,
        "history": state.history,
        "best_epoch": state.best[0][1] if state.best else 0,
        "evaluation": evaluation.report,
        "broken_cells": [
            {"table": table, "row": cell.row, "column": cell.column, "reason": cell.reason}
            for table, cell in prepared.broken
        ],
        "notices": prepared.notices + _pretraining_notices(state) + _memory_notices(state, config.train),
        "config": config.model_dump(mode="json"),
    }


def _title(model: TrainedModel) -> str:
    streams = ", ".join(model.network.streams)
    return f"{', '.join(model.targets)} from {streams}" if model.config.target else f"one space for {streams}"


def _memory_notices(state: State, settings: TrainConfig) -> list[str]:
    notices = []
    if state.num_parts > (settings.accumulate or 1):
        batch = f"each batch of {settings.batch_size} rows in {state.num_parts} parts"
        notices.append(f"Training computed {batch}, one after the other: the memory does not hold it at once.")
    if is_asked_for(settings) and num_processes() == 1:
        notices.append("One process trained and held all weights: train.shard needs several to share them out among.")
    return notices


def _pretraining_notices(state: State) -> list[str]:
    told = {stream: found for stream, found in state.pretraining.items() if found["history"]}
    return [
        f"The encoder of {stream!r} first learned to restore {found['pictures']:,} pictures, "
        f"{found['unlabelled']:,} of them without a target: with {HIDDEN_SHARE:.0%} of the pixels hidden, "
        f"{found['history'][-1]['train_error']:.0%} of their variance stays unexplained."
        for stream, found in told.items()
    ]


def _encoder_name(model: TrainedModel, stream: str) -> str:
    chosen = model.config.encoder.get(stream)
    fitted = model.preprocessor.modalities[stream]
    return default_encoder(fitted.name, fitted) if chosen is None or chosen.name is None else chosen.name


def _table_rows(prepared: Prepared) -> list[dict[str, Any]]:
    seen: set[str] = set()
    rows = []
    for split, examples in prepared.splits.items():
        first = examples.name not in seen
        aside = prepared.set_aside.get(examples.name, 0) if first else 0
        rows.append({"name": examples.name, "split": split, "rows": len(examples), "set_aside": aside})
        seen.add(examples.name)
    return rows


def _column_rows(prepared: Prepared) -> list[dict[str, Any]]:
    table = prepared.schema.with_sounds(prepared.tables["train"])
    stream_of = {column: stream.name for stream in prepared.schema.streams for column in stream.columns}
    broken = [cell.column for name, cell in prepared.broken if name == table.name]
    return [
        {
            "name": column.name,
            "modality": column.modality,
            "stream": stream_of.get(column.name),
            "reason": column.reason,
            "missing": _num_missing(table.columns[column.name], prepared, column, broken.count(column.name)),
            "broken": broken.count(column.name),
            "rows": table.num_rows,
        }
        for column in (*prepared.schema.columns, *prepared.schema.ignored)
    ]


def _num_missing(cells: list[Cell], prepared: Prepared, column: ColumnSchema, broken: int) -> int:
    """Return how many cells are missing; the sound of a silent video is, although its cell is there."""
    if column.source and column in prepared.schema.columns:
        stream = prepared.schema.stream_of(column.name)
        return len(cells) - int(prepared.splits["train"].columns[stream].row_present.sum()) - broken
    return sum(cell is None for cell in cells)


def _target_info(name: str, target: AnyTarget) -> dict[str, Any]:
    primary = primary_metric_of(target)
    weighted = getattr(target, "weights", None)
    return {
        "name": name,
        "kind": target.kind,
        "classes": target.classes,
        "counts": getattr(target, "counts", None),
        "imbalance": "rare classes weigh more in the loss, by the root of their rarity" if weighted else None,
        "primary_metric": primary,
        "higher_is_better": HIGHER_IS_BETTER[primary],
    }
