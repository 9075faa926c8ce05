"""Training students and pruned networks on the original's answers (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

import copy
import dataclasses

import torch

from polymodal.compression.rows import CompressionRows, without_outputs
from polymodal.compression.student_plan import StudentPlan, is_checkpoint_encoder
from polymodal.config import RunConfig, TrainConfig
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import Schema
from polymodal.errors import ConfigError
from polymodal.model.batches import Examples
from polymodal.model.build import build_network, resolve_training
from polymodal.model.network import Network
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.pruning import prune
from polymodal.progress import Progress
from polymodal.targets.evidence import to_evidential
from polymodal.training.distillation import TeacherAnswers
from polymodal.training.inputs import TrainingInputs
from polymodal.training.trainer import train_network

FINE_TUNING_RATE = 0.3
"""Learning rate of fine-tuning a pruned network, as a factor of that of the run."""
FINE_TUNING_EPOCHS = 0.35
"""Epochs of fine-tuning a pruned network, as a share of those of the run."""


def train_student(
    plan: StudentPlan, original: TrainedModel, rows: CompressionRows, progress: Progress
) -> tuple[TrainedModel, Examples]:
    """Build a student and train it on the truth and on the original's answers.

    Args:
        plan: The student.
        original: The original.
        rows: Rows and the original's answers.
        progress: Reports every step.

    Returns:
        The student, with the decision level of the original, and the validation rows as it reads them.

    Raises:
        ConfigError: If such a network cannot be built.
    """
    preprocessor = _without_streams(original.preprocessor, plan.without)
    torch.manual_seed(original.config.seed)
    network = build_network(plan.config, preprocessor.modalities, original.targets)
    train, validation = (read_by_student(part, original) for part in (rows.train, rows.validation))
    settings = training_settings(plan.config, original, len(train))
    _train(network, original, plan.config, settings, rows, (train, validation), progress)
    config = plan.config.model_copy(update={"train": settings})
    student = dataclasses.replace(original, config=config, preprocessor=preprocessor, network=network.eval())
    return uncombined(student), validation


def train_pruned(share: float, original: TrainedModel, rows: CompressionRows, progress: Progress) -> TrainedModel:
    """Prune the original's network and train it further, on the truth and on the original's answers.

    Args:
        share: Share of heads, hidden units and channels that is kept.
        original: The original.
        rows: Rows and the original's answers.
        progress: Reports every step.

    Returns:
        The pruned model, with the decision level of the original.

    Raises:
        ConfigError: If nothing in its network can be pruned.
    """
    before = torch_network(original, "Compressing")
    network = copy.deepcopy(before)
    kept = prune(network, share)
    if not kept:
        raise ConfigError("its network has no heads, hidden units or channels that pruning knows.")
    network.pruned = {**before.pruned, **kept}
    _fine_tune(network, original, rows, progress)
    return uncombined(dataclasses.replace(original, network=network))


def uncombined(model: TrainedModel) -> TrainedModel:
    """Return a model whose decision level is still that of the original, and is fitted next.

    Args:
        model: The model.

    Returns:
        The same without stackers and reference.
    """
    return dataclasses.replace(model, stackers={}, reference=None)


def _fine_tune(network: Network, original: TrainedModel, rows: CompressionRows, progress: Progress) -> None:
    settings = training_settings(original.config, original, len(rows.train))
    epochs = max(2, round((settings.epochs or 1) * FINE_TUNING_EPOCHS))
    rate = (settings.learning_rate or 1e-3) * FINE_TUNING_RATE
    settings = settings.model_copy(update={"epochs": epochs, "learning_rate": rate})
    _train(network, original, original.config, settings, rows, (rows.train, rows.validation), progress)
    network.eval()


def read_by_student(examples: Examples, original: TrainedModel) -> Examples:
    """Return rows as students read them: cells in place of the outputs of checkpoints, which students do not have.

    Args:
        examples: Rows as the original reads them.
        original: The original.

    Returns:
        The same rows.
    """
    replaced = frozenset(stream for stream in original.network.streams if is_checkpoint_encoder(original, stream))
    return without_outputs(examples, replaced)


def training_settings(config: RunConfig, original: TrainedModel, num_rows: int) -> TrainConfig:
    """Return how the run trained, without what is of no use for a student.

    Args:
        config: The student's configuration.
        original: The original.
        num_rows: Training rows.

    Returns:
        Resolved options.
    """
    plain = {"time_limit_s": None, "harden": False, "pretrain_epochs": 0, "shard": False}
    settings = config.train.model_copy(update=plain)
    if settings.flip == "auto":
        settings = settings.model_copy(update={"flip": False})
    return resolve_training(settings, config.preset, num_rows, original.targets.values())


def _train(
    network: Network,
    original: TrainedModel,
    config: RunConfig,
    settings: TrainConfig,
    rows: CompressionRows,
    splits: tuple[Examples, Examples],
    progress: Progress,
) -> None:
    is_evidential = config.fusion.name == "evidential"
    train, validation = splits
    inputs = TrainingInputs(
        train=train,
        validation=validation,
        targets=to_evidential(dict(original.targets)) if is_evidential else original.targets,
        modalities=original.preprocessor.modalities,
        settings=settings,
        seed=config.seed,
        checkpoint_path=None,
        teacher=TeacherAnswers() if is_evidential else TeacherAnswers.of_all_rows(rows.teacher),
    )
    train_network(network, inputs, progress)


def _without_streams(preprocessor: Preprocessor, without: frozenset[str]) -> Preprocessor:
    """Return a preprocessor that does not read some streams."""
    if not without:
        return preprocessor
    schema = preprocessor.schema
    streams = tuple(stream for stream in schema.streams if stream.name not in without)
    read = {column for stream in streams for column in stream.columns}
    reduced = Schema(
        columns=tuple(column for column in schema.columns if column.name in read),
        streams=streams,
        targets=schema.targets,
        ignored=schema.ignored,
    )
    return Preprocessor(reduced, {stream.name: preprocessor.modalities[stream.name] for stream in streams})
