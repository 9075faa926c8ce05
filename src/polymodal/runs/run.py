"""A whole run: data module, network, baselines, training, ensembles, evaluation."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import polymodal
from polymodal.config import RunConfig, TrainConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.schema.schema import Schema
from polymodal.data.tables.slices import read_slices
from polymodal.ensemble.baseline_cache import FittedBaselines
from polymodal.model.batches import Examples
from polymodal.model.build import NARROW, WIDTHS, build_network, resolve_training
from polymodal.model.evaluation import Evaluation, evaluate_examples
from polymodal.model.fit_certainty import fit_certainty
from polymodal.model.fit_ensemble import fit_ensembles, held_out_rows
from polymodal.model.fit_recovery import fit_recovery
from polymodal.model.fit_reference import MOST_ROWS, fit_reference
from polymodal.model.network import Network
from polymodal.model.shared_groups import shared_groups
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.distributed import main_process_first, process_device
from polymodal.progress import Progress
from polymodal.robustness import StressOptions, stress_table
from polymodal.runs.baseline_fitting import fit_baselines
from polymodal.runs.data_module import DataModule, Tables, build_data_module
from polymodal.runs.explained import ShownExplanation
from polymodal.runs.hardening import harden
from polymodal.runs.report_data import build_report_data
from polymodal.runs.run_callbacks import RunCallbacks
from polymodal.targets.evidence import to_evidential
from polymodal.training.distillation import TaughtRows, TeacherAnswers, ask_teacher
from polymodal.training.flip_trial import choose_flip
from polymodal.training.inputs import TrainingInputs
from polymodal.training.optimizers import check_optimizer
from polymodal.training.time_budget import TimeBudget
from polymodal.training.trainer import train_network
from polymodal.training.training_checkpoint import saved_width
from polymodal.training.width_search import WidthChoice, choose_width


class Stopwatch:
    """Seconds of each phase of a run."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds: dict[str, float] = {}
        self.started_s = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase.

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
        model: The trained model, with report data.
        data_module: The data it was trained on.
        evaluation: Scores on test, or on validation if there is no test split.
        split: Which of the two.
        baselines: The baselines with their folds, if there are any.
        explanation: Why some evaluated rows got their answers, if the run asked for it.
    """

    model: TrainedModel
    data_module: DataModule
    evaluation: Evaluation
    split: str
    baselines: FittedBaselines | None
    explanation: ShownExplanation | None = None


def execute(
    tables: Tables,
    config: RunConfig,
    cache: ArrayCache,
    progress: Progress,
    checkpoint_path: Path | None = None,
    resume: bool = False,
    command: str | None = None,
    data_module: DataModule | None = None,
    callbacks: RunCallbacks | None = None,
) -> Run:
    """Train a model on tables and evaluate it.

    Args:
        tables: The tables.
        config: The configuration.
        cache: Cache of decoded arrays.
        progress: Reports progress.
        checkpoint_path: File of the training checkpoint to resume from; None saves none.
        resume: Whether to resume from it.
        command: The command line, for the report.
        data_module: The data module of these tables, if it has been built already.
        callbacks: Called while the network trains.

    Returns:
        The finished run.
    """
    check_optimizer(config.train)
    watch, callbacks = Stopwatch(), callbacks or RunCallbacks()
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    with watch.phase("prepare"), main_process_first():
        data_module = data_module or build_data_module(tables, config, cache, progress)
    _log_data(data_module, progress)
    _tell_what_is_shared(config, data_module.schema, progress)
    with watch.phase("prepare"):
        taught = _ask_teacher(data_module, config, cache, progress)
    data_module = _with_notices(data_module.with_taught(taught.answers.num_alone), taught.notices, progress)
    settings = resolve_training(config.train, config.preset, len(taught.examples), data_module.targets.values())
    config = config.model_copy(update={"train": settings})
    config = config if data_module.warm_start is None else data_module.warm_start.adopt(config)
    network = _build_network(config, data_module)
    data_module = _with_notices(data_module, _start_from_earlier(network, config, data_module), progress)
    data_module = _with_notices(data_module, _head_notices(network, data_module.splits["train"]), progress)
    with watch.phase("precompute"):
        data_module = _precompute(data_module, network, cache, progress)
    hardening = None
    if settings.harden:
        with watch.phase("noise"), main_process_first():
            hardening = harden(data_module, network, config.seed, cache, progress, config.num_threads)
        data_module = _with_notices(data_module, hardening.notices, progress)
    decided_on = data_module if hardening is None else hardening.data_module
    with watch.phase("baselines"), progress.phase("baselines", None):  # before training, which gets the time left
        fitted, notices = fit_baselines(decided_on, config, cache, hardening.origins if hardening else None)
        data_module = _with_notices(data_module, notices, progress)
    with watch.phase("train"):
        inputs = _training_inputs(data_module, config, checkpoint_path, taught)
        budget = _budget(data_module, settings, watch, is_command=command is not None)
        noisy = hardening.noisy.padded(len(inputs.train)) if hardening else None
        inputs = dataclasses.replace(inputs, budget=budget, noisy=noisy)
        width = saved_width(checkpoint_path) if resume else None
        chosen, notices = _run_trials(inputs, config, data_module, progress, width)
        network = network if chosen.width == config.width else _build_network(chosen, data_module)
        config, data_module = chosen, _with_notices(data_module, notices, progress)
        hooks = callbacks.hooks(config, data_module.targets)
        state = train_network(network, dataclasses.replace(inputs, settings=config.train), progress, resume, hooks)
    model = TrainedModel(
        config=config,
        preprocessor=data_module.preprocessor,
        targets=data_module.targets,
        network=network,
        features=fitted.features if fitted else None,
        baselines=fitted.baselines if fitted else {},
        ensembles={},
    )
    split = "test" if "test" in data_module.splits else "validation"
    with watch.phase("evaluate"), progress.phase("judging", None):
        num_clean = None if hardening is None else hardening.num_clean
        model, held_out = held_out_rows(model, decided_on.splits["validation"], cache, fitted, num_clean)
        model = fit_certainty(fit_ensembles(model, held_out), held_out, decided_on.splits["validation"])
        model = fit_reference(model, data_module.splits["train"], data_module.splits["validation"], held_out)
        model, notices = fit_recovery(model, data_module.splits["train"], data_module.splits["validation"])
        data_module = _with_notices(data_module, notices, progress)
        slices = read_slices(data_module.tables[split], config.slices, data_module.splits[split].rows)
        evaluation = evaluate_examples(model, data_module.splits[split], split, cache, slices)
    data_module = dataclasses.replace(data_module, notices=data_module.notices + callbacks.notices)
    stress: dict[str, Any] = {}
    if config.stress:
        with watch.phase("stress_test"):
            stress = _stress(model, data_module, split, progress)
    report_data = build_report_data(model, data_module, state, evaluation, watch.total(), command) | stress
    return Run(
        model=dataclasses.replace(model, report_data=report_data),
        data_module=data_module,
        evaluation=evaluation,
        split=split,
        baselines=fitted,
    )


def _stress(model: TrainedModel, data_module: DataModule, split: str, progress: Progress) -> dict[str, Any]:
    """Return the stress test on the evaluated rows, as a part of the report data."""
    table = data_module.tables[split].take(data_module.splits[split].rows)
    return {"stress": stress_table(model, table, StressOptions(seed=model.config.seed), progress).state()}


def _build_network(config: RunConfig, data_module: DataModule) -> Network:
    torch.manual_seed(config.seed)
    network = build_network(config, data_module.preprocessor.modalities, data_module.targets)
    _start_from_earlier(network, config, data_module)
    return network


def _start_from_earlier(network: Network, config: RunConfig, data_module: DataModule) -> list[str]:
    """Copy the encoders of the run that this one starts from; say which."""
    start = data_module.warm_start
    return [] if start is None else start.copy_into(network, config.init_frozen)


def _run_trials(
    inputs: TrainingInputs, config: RunConfig, data_module: DataModule, progress: Progress, saved: int | None
) -> tuple[RunConfig, list[str]]:
    """Choose by short training runs what the options leave open: the width under a time limit, and flips of images."""
    notices: list[str] = []
    if config.train.time_limit_s is not None and config.width is None:
        with progress.phase("choosing the width", None):
            choice = _choose_width(inputs, config, data_module, saved)
        config, notices = config.model_copy(update={"width": choice.width}), choice.notices
    if config.train.flip == "auto":
        settings, notice = choose_flip(inputs, partial(_build_network, config, data_module), progress)
        config, notices = config.model_copy(update={"train": settings}), [*notices, notice]
    return config, notices


def _choose_width(inputs: TrainingInputs, config: RunConfig, data_module: DataModule, saved: int | None) -> WidthChoice:
    """Choose the width under a time limit; a resumed run keeps its own."""
    widths = [WIDTHS[config.preset], *(width for width in NARROW if width < WIDTHS[config.preset])]

    def build(width: int) -> Network:
        return _build_network(config.model_copy(update={"width": width}), data_module)

    return WidthChoice(saved, {}) if saved else choose_width(inputs, build, widths)


def _log_data(data_module: DataModule, progress: Progress) -> None:
    for split, examples in data_module.splits.items():
        progress.log(f"{split}: {len(examples):,} rows of {examples.name}")
    for notice in data_module.notices:
        progress.log(notice, logging.WARNING)


def _tell_what_is_shared(config: RunConfig, schema: Schema, progress: Progress) -> None:
    groups = shared_groups(config, {stream.name: stream.modality for stream in schema.streams})
    for name, streams in groups.encoders.items():
        progress.message(f"{', '.join(streams)} share an encoder ({name})")
    for name, streams in groups.layers.items():
        layers = "one layer" if config.share_depth == 1 else f"{config.share_depth} layers"
        progress.message(f"{', '.join(streams)} share {layers} behind their own encoders ({name})")


def _with_notices(data_module: DataModule, notices: list[str], progress: Progress) -> DataModule:
    for notice in notices:
        progress.log(notice, logging.WARNING)
    return dataclasses.replace(data_module, notices=data_module.notices + notices)


def _head_notices(network: Network, train: Examples) -> list[str]:
    """Return the notices of the structured heads about the training rows."""
    indices = {name: np.flatnonzero(known) for name, known in train.known.items()}
    return [
        f"The target {name!r}: {notice}."
        for name, head in network.named_structured_heads()
        for notice in head.notices(train.truth[name][indices[name]], train.row_context(indices[name]))
    ]


def _precompute(data_module: DataModule, network: Any, cache: ArrayCache, progress: Progress) -> DataModule:
    network.to(process_device())  # frozen checkpoints run on the device of training
    columns: dict[str, Mapping[str, Any]] = {}
    splits = {}
    for split, examples in data_module.splits.items():
        if examples.name not in columns:
            columns[examples.name] = network.precompute(examples.columns, cache, progress)
        splits[split] = dataclasses.replace(examples, columns=columns[examples.name])
    return dataclasses.replace(data_module, splits=splits)


def _ask_teacher(data_module: DataModule, config: RunConfig, cache: ArrayCache, progress: Progress) -> TaughtRows:
    """Return the rows that the network learns from: the training rows and, with a teacher, those it answers."""
    train = data_module.splits["train"]
    if config.teacher is None:
        return TaughtRows(train, TeacherAnswers(), [])
    table, targets = data_module.tables["train"], data_module.targets
    return ask_teacher(config.teacher, table, train, data_module.unlabelled, targets, cache, progress)


def _budget(data_module: DataModule, settings: TrainConfig, watch: Stopwatch, is_command: bool) -> TimeBudget | None:
    """Return the time budget; a command's time starts with its process, before imports and reading tables."""
    if settings.time_limit_s is None:
        return None
    started_s = polymodal.STARTED_S if is_command else watch.started_s
    evaluated_rows = sum(len(examples) for split, examples in data_module.splits.items() if split != "train")
    evaluated_rows += sum(min(len(data_module.splits[split]), MOST_ROWS) for split in ("train", "validation"))
    return TimeBudget(deadline_s=started_s + settings.time_limit_s, evaluation_rows=evaluated_rows)


def _training_inputs(
    data_module: DataModule,
    config: RunConfig,
    checkpoint_path: Path | None,
    taught: TaughtRows,
) -> TrainingInputs:
    return TrainingInputs(
        train=dataclasses.replace(taught.examples, columns=data_module.splits["train"].columns),
        validation=data_module.splits["validation"],
        targets=to_evidential(data_module.targets) if config.fusion.name == "evidential" else data_module.targets,
        modalities=data_module.preprocessor.modalities,
        settings=config.train,
        seed=config.seed,
        checkpoint_path=checkpoint_path,
        teacher=taught.answers,
        unlabelled=data_module.unlabelled,
    )
