"""A whole run: prepare, build, train, fit baselines and the decision level, judge."""

from __future__ import annotations

import dataclasses
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
from polymodal.config import RunConfig, TrainConfig
from polymodal.data.cache.cache import ArrayCache
from polymodal.ensemble.baseline_cache import FittedBaselines, content, keep_baselines
from polymodal.ensemble.baselines import Baseline, fit_baselines
from polymodal.ensemble.features import FeatureBlocks, FeatureExtractor
from polymodal.model.batches import Examples, bytes_of_row
from polymodal.model.build import NARROW, WIDTHS, build_network, resolve_training
from polymodal.model.evaluation import Evaluation, evaluate_examples
from polymodal.model.fit_ensemble import fit_ensembles
from polymodal.model.network import Network
from polymodal.model.trained_model import TrainedModel, precompute
from polymodal.nn.distributed import main_process_first, process_device
from polymodal.progress import Progress
from polymodal.runs.data_module import DataModule, Tables, build_data_module
from polymodal.runs.report_data import build_report_data
from polymodal.targets import StructuredTarget, Target
from polymodal.targets.evidence import with_evidence
from polymodal.training.distillation import predict_with_teacher
from polymodal.training.flip_trial import choose_flip
from polymodal.training.inputs import TrainingInputs
from polymodal.training.time_budget import TimeBudget
from polymodal.training.trainer import train_network
from polymodal.training.training_checkpoint import saved_width
from polymodal.training.width_search import WidthChoice, choose_width

BASELINE_ROWS = {"train": 100_000, "validation": 25_000}
"""At most so many rows of each part are used to fit baselines."""
FITTED_BYTES = 2**30
"""At most so much of the arrays is looked at to fit the baselines' features."""


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
        data_module: The examples it came from.
        evaluation: How it did on test, or on validation where there is no test.
        split: Which of the two.
    """

    model: TrainedModel
    data_module: DataModule
    evaluation: Evaluation
    split: str


def execute(
    tables: Tables,
    config: RunConfig,
    cache: ArrayCache,
    progress: Progress,
    checkpoint_path: Path | None = None,
    resume: bool = False,
    command: str | None = None,
    data_module: DataModule | None = None,
) -> Run:
    """Run everything from tables to a judged model.

    Args:
        tables: The tables.
        config: The configuration.
        cache: Where decoded arrays are kept.
        progress: Told how far it is.
        checkpoint_path: File with the training state to resume from; None keeps none.
        resume: Whether to go on from it.
        command: The command line that asked for this, for the record.
        data_module: What ``prepare`` made of these tables, where it has been done already.

    Returns:
        The finished run.
    """
    watch = Stopwatch()
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    with watch.phase("prepare"), main_process_first():
        data_module = data_module or build_data_module(tables, config, cache, progress)
    settings = resolve_training(
        config.train, config.preset, len(data_module.splits["train"]), data_module.targets.values()
    )
    config = config.model_copy(update={"train": settings})
    network = _fresh_network(config, data_module)
    data_module = _with_notices(data_module, _head_notices(network, data_module.splits["train"]))
    with watch.phase("precompute"):
        data_module = _precomputed(data_module, network, cache, progress)
    with watch.phase("baselines"), progress.phase("baselines", None):  # first: then training knows what time is left
        fitted, notices = _baselines(data_module, config, cache)
        data_module = _with_notices(data_module, notices)
    with watch.phase("train"):
        inputs = dataclasses.replace(
            _job(data_module, config, checkpoint_path, _taught(data_module, config, cache, progress)),
            budget=_budget(data_module, settings, watch, is_command=command is not None),
        )
        settled, notices = _settled(
            inputs, config, data_module, progress, saved_width(checkpoint_path) if resume else None
        )
        network = network if settled.width == config.width else _fresh_network(settled, data_module)
        config, data_module = settled, _with_notices(data_module, notices)
        state = train_network(network, dataclasses.replace(inputs, settings=config.train), progress, resume)
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
        model = fit_ensembles(model, data_module.splits["validation"], cache)
        evaluation = evaluate_examples(model, data_module.splits[split], split, cache)
    record = build_report_data(model, data_module, state, evaluation, watch.total(), command)
    return Run(
        model=dataclasses.replace(model, report_data=record),
        data_module=data_module,
        evaluation=evaluation,
        split=split,
    )


def _fresh_network(config: RunConfig, data_module: DataModule) -> Network:
    torch.manual_seed(config.seed)
    return build_network(config, data_module.preprocessor.modalities, data_module.targets)


def _settled(
    inputs: TrainingInputs, config: RunConfig, data_module: DataModule, progress: Progress, saved: int | None
) -> tuple[RunConfig, list[str]]:
    """Settle by trials what is left open: the width, where the time is limited, and whether pictures are mirrored."""
    notices: list[str] = []
    if config.train.time_limit_s is not None and config.width is None:
        choice = _choose_width(inputs, config, data_module, saved)
        config, notices = config.model_copy(update={"width": choice.width}), choice.notices
    if config.train.flip == "auto":
        settings, told = choose_flip(inputs, partial(_fresh_network, config, data_module), progress)
        config, notices = config.model_copy(update={"train": settings}), [*notices, told]
    return config, notices


def _choose_width(inputs: TrainingInputs, config: RunConfig, data_module: DataModule, saved: int | None) -> WidthChoice:
    """Settle the width where the time is limited; a resumed run keeps its own."""
    widths = [WIDTHS[config.preset], *(width for width in NARROW if width < WIDTHS[config.preset])]

    def build(width: int) -> Network:
        return _fresh_network(config.model_copy(update={"width": width}), data_module)

    return WidthChoice(saved, {}) if saved else choose_width(inputs, build, widths)


def _with_notices(data_module: DataModule, notices: list[str]) -> DataModule:
    return dataclasses.replace(data_module, notices=data_module.notices + notices)


def _head_notices(network: Network, train: Examples) -> list[str]:
    """Gather what the heads have to say of the training rows."""
    indices = {name: np.flatnonzero(known) for name, known in train.known.items()}
    return [
        f"The target {name!r}: {notice}."
        for name, head in network.named_structured_heads()
        for notice in head.notices(train.truth[name][indices[name]], train.row_context(indices[name]))
    ]


def _precomputed(data_module: DataModule, network: Any, cache: ArrayCache, progress: Progress) -> DataModule:
    network.to(process_device())  # frozen checkpoints run where the network will learn
    done: dict[str, Mapping[str, Any]] = {}
    splits = {}
    for split, examples in data_module.splits.items():
        if examples.name not in done:
            done[examples.name] = precompute(network, examples.columns, cache, progress)
        splits[split] = dataclasses.replace(examples, columns=done[examples.name])
    return dataclasses.replace(data_module, splits=splits)


def _taught(
    data_module: DataModule, config: RunConfig, cache: ArrayCache, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    if config.teacher is None:
        return {}
    return predict_with_teacher(
        config.teacher, data_module.tables["train"], data_module.splits["train"], data_module.targets, cache, progress
    )


def _budget(data_module: DataModule, settings: TrainConfig, watch: Stopwatch, is_command: bool) -> TimeBudget | None:
    """Return when the run has to be over; a command's time begins with its process, before imports and tables."""
    if settings.time_limit_s is None:
        return None
    began = polymodal.STARTED_S if is_command else watch.started_s
    judged = {split: len(examples) for split, examples in data_module.splits.items() if split != "train"}
    return TimeBudget(deadline_s=began + settings.time_limit_s, evaluation_rows=sum(judged.values()))


def _job(
    data_module: DataModule,
    config: RunConfig,
    checkpoint_path: Path | None,
    teacher_predictions: Mapping[str, NDArray[np.float32]],
) -> TrainingInputs:
    return TrainingInputs(
        train=data_module.splits["train"],
        validation=data_module.splits["validation"],
        targets=with_evidence(data_module.targets) if config.fusion.name == "evidential" else data_module.targets,
        modalities=data_module.preprocessor.modalities,
        settings=config.train,
        seed=config.seed,
        checkpoint_path=checkpoint_path,
        teacher_predictions=teacher_predictions,
        unlabelled=data_module.unlabelled,
    )


def _baselines(
    data_module: DataModule, config: RunConfig, cache: ArrayCache
) -> tuple[FittedBaselines | None, list[str]]:
    """Fit baselines, on a sample of the rows where they are many, so that neither time nor memory grows without end."""
    flat = {name: target for name, target in data_module.targets.items() if not isinstance(target, StructuredTarget)}
    if not config.baselines or not flat:
        return None, []
    parts = [
        data_module.splits[split].without_outputs().sample(most, config.seed, list(flat))
        for split, most in BASELINE_ROWS.items()
    ]
    few = parts[0].sample(max(1, FITTED_BYTES // bytes_of_row(parts[0].columns)), config.seed, list(flat))
    shapes = {stream: column.take(slice(len(few))) for stream, column in few.columns.items()}
    draft = FeatureExtractor.draft(data_module.schema, data_module.preprocessor.modalities, shapes)

    notices = _baseline_notices(data_module, draft, len(parts[0]))
    if not draft.streams:
        return None, notices

    def fit() -> FittedBaselines:
        features = draft.fit(few.columns_in_use(), few.cells_in_use())
        found = [(part, _features(features, part)) for part in parts]
        return FittedBaselines(features, {name: _fit_target(name, flat[name], found, config) for name in flat})

    fitted = keep_baselines(cache, _given(draft, flat, parts, config), fit)
    return fitted, notices


def _baseline_notices(data_module: DataModule, draft: FeatureExtractor, used: int) -> list[str]:
    rows = len(data_module.splits["train"])
    notices = [f"The baselines were fitted on {used:,} of {rows:,} training rows."] if used < rows else []
    known = {features.stream for features in draft.streams}
    return notices + [
        f"The baselines leave out the stream {stream.name!r}: {stream.modality!r} has no features for them."
        for stream in data_module.schema.streams
        if stream.name not in known
    ]


def _given(
    draft: FeatureExtractor, targets: Mapping[str, Target], parts: list[Examples], config: RunConfig
) -> Iterator[Any]:
    """Yield all that fitted baselines depend on."""
    yield from (draft, config.seed, _num_threads(config))
    yield [(name, target.kind, target.classes) for name, target in targets.items()]
    for examples in parts:
        for name in targets:
            yield from (examples.truth[name], examples.known[name])
        for part in examples.chunks():
            yield from content(part.columns_in_use(), part.cells_in_use(), draft.text_columns)


def _num_threads(config: RunConfig) -> int:
    return config.num_threads or torch.get_num_threads()


def _features(extractor: FeatureExtractor, examples: Examples) -> FeatureBlocks:
    parts = [extractor.transform(part.columns_in_use(), part.cells_in_use()) for part in examples.chunks()]
    return FeatureBlocks.joined(parts)


def _fit_target(
    name: str, target: Target, parts: list[tuple[Examples, FeatureBlocks]], config: RunConfig
) -> list[Baseline]:
    (train, train_truth), (validation, validation_truth) = [
        (_known(found, part.known[name]), part.truth[name][part.known[name]]) for part, found in parts
    ]
    num_classes, num_threads = len(target.classes or ()) or 1, _num_threads(config)
    return fit_baselines(
        target.kind, num_classes, train, train_truth, validation, validation_truth, config.seed, num_threads
    )


def _known(features: FeatureBlocks, known: NDArray[np.bool_]) -> FeatureBlocks:
    return features if known.all() else features.take(known)
