"""The trainer: epochs of training steps, validation, early stopping, checkpoints and weight averaging.

Every step seeds its random numbers from the run's seed and the step's number, so that a resumed run takes exactly the
steps that an uninterrupted one takes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from polymodal.config import TrainConfig
from polymodal.errors import ConfigError
from polymodal.model.batches import Examples, epoch_batches, largest_first, sampling_probabilities
from polymodal.model.network import Network
from polymodal.nn.distributed import broadcast_from_main, process_device
from polymodal.nn.ranks import get_world_size
from polymodal.progress import Progress
from polymodal.training.epoch_reporter import EpochReporter, TrainingHooks
from polymodal.training.gradient_accumulation import (
    accumulation_steps_that_fit,
    available_memory_bytes,
    saved_activation_bytes,
)
from polymodal.training.inputs import TrainingInputs
from polymodal.training.losses import check_loss
from polymodal.training.lr_schedule import lr_factor
from polymodal.training.modality_balance import check_balance
from polymodal.training.optimizers import build_optimizer, parameter_groups
from polymodal.training.prefetch import Prefetcher, has_free_core
from polymodal.training.pretraining import pretrain_images
from polymodal.training.sharding import is_sharding_enabled, shard_module
from polymodal.training.state import TrainingState
from polymodal.training.strategy import Strategy
from polymodal.training.time_budget import StepPlanner
from polymodal.training.training_checkpoint import load_checkpoint, save_checkpoint
from polymodal.training.training_step import compute_gradients, training_step
from polymodal.training.validation import Validation, evaluated_loss, validate

LOGGER = logging.getLogger(__name__)

MEASURED_ROWS = 4
"""Number of rows with which the memory of a batch is measured before training."""
MAX_EVALUATED_TRAIN_ROWS = 1000
"""Most training rows whose loss is computed after each epoch, and never more than there are validation rows."""
TIMED_VALIDATION_ROWS = 128
"""Number of validation rows with which the speed of validation is measured before training."""


def train_network(
    network: Network,
    inputs: TrainingInputs,
    progress: Progress,
    resume: bool = False,
    hooks: TrainingHooks | None = None,
) -> TrainingState:
    """Train a network, and load the average of the best epochs' weights into it.

    Args:
        network: The network, freshly built.
        inputs: Data and options.
        progress: Reports every step.
        resume: Whether to start from ``inputs.checkpoint_path`` if that file exists.
        hooks: Called before the first step and after each epoch.

    Returns:
        The final state, with the history.
    """
    accumulation_steps = (inputs.settings.accumulate or 1) * get_world_size()
    check_balance(inputs.settings.balance, network, inputs.targets, accumulation_steps)
    check_loss(inputs.settings, inputs.targets, network)
    strategy, state = set_up(network, inputs)
    if resume and inputs.checkpoint_path is not None and inputs.checkpoint_path.exists():
        load_checkpoint(inputs.checkpoint_path, strategy, state)
    planner = inputs.step_planner(state)
    if inputs.settings.pretrain_epochs and not state.pretraining:
        _pretrain(strategy, inputs, state, progress)
    time_validation(strategy, inputs, planner)
    state.planned_steps = planner.num_steps
    hooks = hooks or TrainingHooks()
    _log_set_up(strategy, inputs, state)
    hooks.on_train_start(state)
    with progress.phase("training", state.planned_steps) as phase:
        phase.advance(state.step)
        reporter = EpochReporter(
            inputs=inputs, progress=progress, phase=phase, hooks=hooks, planned_steps=state.planned_steps
        )
        _run_epochs(strategy, inputs, state, planner, reporter)
    _load_best_weights(strategy.gather_weights(), inputs, state)
    return state


def set_up(network: Network, inputs: TrainingInputs) -> tuple[Strategy, TrainingState]:
    """Move the network to its device, choose the number of gradient-accumulation steps, and shard the weights.

    Args:
        network: The network.
        inputs: Data and options.

    Returns:
        The strategy, with the optimizer, and the initial training state.
    """
    device = process_device()
    network.to(device)
    prefetcher = Prefetcher[Any](has_free_core(device))
    strategy = Strategy(
        network=network, optimizer=_build_optimizer(network, inputs.settings), device=device, prefetcher=prefetcher
    )
    state = TrainingState(width=network.width, accumulation_steps=inputs.settings.accumulate or 1)
    if inputs.settings.accumulate is None and device.type == "cpu":
        state.accumulation_steps = _choose_accumulation_steps(strategy, inputs)
        check_balance(inputs.settings.balance, network, inputs.targets, state.accumulation_steps * get_world_size())
    if get_world_size() > 1 and is_sharding_enabled(inputs.settings):
        sharded = shard_module(network, device)
        shards = {parameter: shard for shard, parameter in sharded.parameter_of_shard.items()}
        optimizer = _build_optimizer(sharded.module, inputs.settings, shards)
        strategy = Strategy(network=network, optimizer=optimizer, device=device, sharded=sharded, prefetcher=prefetcher)
    return strategy, state


def _log_set_up(strategy: Strategy, inputs: TrainingInputs, state: TrainingState) -> None:
    trained = sum(parameter.numel() for parameter in strategy.network.parameters() if parameter.requires_grad)
    settings, parts = inputs.settings, state.accumulation_steps
    LOGGER.debug("training on %s in %s: %s trained parameters", strategy.device, settings.precision, f"{trained:,}")
    LOGGER.debug("batches of %s rows, micro-batches: %d, epochs: %d", settings.batch_size, parts, settings.epochs or 1)


def _build_optimizer(
    network: Network, settings: TrainConfig, shards: Mapping[nn.Parameter, nn.Parameter] | None = None
) -> Optimizer:
    groups = parameter_groups(network, settings)
    if shards is not None:
        groups = [{**group, "params": [shards[parameter] for parameter in group["params"]]} for group in groups]
    return build_optimizer(settings.optimizer, groups, settings.learning_rate or 1e-3)


def _choose_accumulation_steps(strategy: Strategy, inputs: TrainingInputs) -> int:
    """Choose the number of micro-batches by the activations that a few of the largest rows save for the backward pass.

    On a CPU this is done beforehand: the system kills a process that is out of memory, there is no error to catch. The
    first measurement includes the weights; only if that does not fit, a second one separates weights and rows.
    """
    available, world_size = available_memory_bytes(), get_world_size()
    largest = largest_first(inputs.train)
    if available is None or len(largest) < MEASURED_ROWS * world_size:
        return 1
    num_rows = math.ceil(min(inputs.settings.batch_size or 1, len(inputs.train)) / world_size)
    saved = _activation_bytes(strategy, inputs, largest[: MEASURED_ROWS * world_size])
    steps = accumulation_steps_that_fit(saved / MEASURED_ROWS, num_rows, available / world_size)
    steps = broadcast_from_main(steps)
    if steps > 1:
        saved -= _activation_bytes(strategy, inputs, largest[: MEASURED_ROWS // 2 * world_size])
        steps = accumulation_steps_that_fit(saved / (MEASURED_ROWS / 2), num_rows, available / world_size)
        steps = broadcast_from_main(steps)
    return steps


def _activation_bytes(strategy: Strategy, inputs: TrainingInputs, indices: NDArray[np.int64]) -> int:
    with saved_activation_bytes() as sizes:
        compute_gradients(strategy, inputs, TrainingState(), indices)
    strategy.zero_grad()
    return sum(sizes)


def _pretrain(strategy: Strategy, inputs: TrainingInputs, state: TrainingState, progress: Progress) -> None:
    with strategy.gathered_weights(writeback=True) as network:
        state.pretraining = pretrain_images(network, inputs, strategy.device, progress)
    state.seconds += sum(result["seconds"] for result in state.pretraining.values())
    _save(strategy, inputs, state)


def _save(strategy: Strategy, inputs: TrainingInputs, state: TrainingState) -> None:
    if inputs.checkpoint_path is not None:
        save_checkpoint(inputs.checkpoint_path, strategy, state)


def time_validation(strategy: Strategy, inputs: TrainingInputs, planner: StepPlanner) -> None:
    """Measure the speed of validation on a few rows, twice, as the first run is slow.

    Args:
        strategy: The network.
        inputs: Data and options.
        planner: Records the durations; without a time limit nothing is measured.
    """
    if planner.budget is None:
        return
    few = inputs.validation.first(TIMED_VALIDATION_ROWS)
    for _ in range(2):
        started = planner.clock()
        with strategy.gathered_weights() as network:
            validate(network, few, inputs.targets, inputs.settings.precision)
        planner.record_validation(len(few), planner.clock() - started)


def _run_epochs(
    strategy: Strategy, inputs: TrainingInputs, state: TrainingState, planner: StepPlanner, reporter: EpochReporter
) -> None:
    train_sample = _train_sample(inputs)
    for epoch in range(len(state.history), inputs.settings.epochs or 1):
        if should_stop(inputs, state):
            return
        started = planner.clock()
        _run_epoch(strategy, inputs, state, planner, epoch, reporter)
        validation_started = planner.clock()
        with strategy.gathered_weights() as network:
            result = validate(network, inputs.validation, inputs.targets, inputs.settings.precision)
            train_loss = evaluated_loss(network, train_sample, inputs.targets, inputs.settings.precision)
            planner.record_validation(len(inputs.validation), planner.clock() - validation_started)
            _record_epoch(network, inputs, state, result, train_loss, planner.clock() - started, reporter.speed())
        _check_first_epoch(inputs, state)
        _save(strategy, inputs, state)
        if not state.diverged_epoch:
            reporter.epoch_done(state)


def _train_sample(inputs: TrainingInputs) -> Examples:
    """Return the training rows whose loss is compared with that of the validation rows, the same in every epoch."""
    labelled = inputs.labelled
    num_rows = min(len(labelled), len(inputs.validation), MAX_EVALUATED_TRAIN_ROWS)
    drawn = np.random.default_rng(inputs.seed).permutation(len(labelled))[:num_rows]
    return labelled.subset(np.sort(drawn))


def _check_first_epoch(inputs: TrainingInputs, state: TrainingState) -> None:
    if state.diverged_epoch and not state.best:
        if inputs.checkpoint_path is not None:
            inputs.checkpoint_path.unlink(missing_ok=True)  # resumed, it would diverge again
        raise ConfigError(
            f"Training diverged in its first epoch: the loss is no finite number. Lower train.learning_rate, which is "
            f"{inputs.settings.learning_rate:g}."
        )


def should_stop(inputs: TrainingInputs, state: TrainingState) -> bool:
    """Whether training ends: all planned steps are done, early stopping (patience), or the loss diverged.

    Args:
        inputs: Data and options.
        state: The training state.

    Returns:
        True where no further epoch is run.
    """
    if not state.best:
        return False
    if state.step >= state.planned_steps or state.diverged_epoch:
        return True
    return len(state.history) - 1 - state.best[0][1] >= (inputs.settings.patience or math.inf)


def _run_epoch(
    strategy: Strategy,
    inputs: TrainingInputs,
    state: TrainingState,
    planner: StepPlanner,
    epoch: int,
    reporter: EpochReporter,
) -> None:
    strategy.module.train()
    done = state.step - epoch * inputs.steps_per_epoch
    probabilities = (
        sampling_probabilities(inputs.train, inputs.targets) if inputs.settings.sampling == "balanced" else None
    )
    batches = list(
        epoch_batches(len(inputs.train), inputs.settings.batch_size or 1, inputs.seed, epoch, probabilities)
    )[done:]
    for indices, next_indices in zip_longest(batches, batches[1:]):
        if state.step >= state.planned_steps:
            break
        started = planner.clock()
        _set_lr(strategy.optimizer, _lr_factor(inputs.settings, state, state.step))
        training_step(strategy, inputs, state, indices, next_indices)
        seconds = planner.clock() - started
        state.seconds += seconds
        planner.record_step(state.step, seconds)
        if planner.budget is not None:
            planner.num_steps = broadcast_from_main(planner.num_steps)
        state.planned_steps = planner.num_steps
        reporter.step_done(state, len(indices), seconds)
        if state.step % inputs.settings.checkpoint_steps == 0:
            _save(strategy, inputs, state)
    strategy.prefetcher.discard()


def _lr_factor(settings: TrainConfig, state: TrainingState, step: int) -> float:
    return lr_factor(step, state.planned_steps, settings.warmup_fraction, settings.schedule)


def _set_lr(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def _record_epoch(
    network: Network,
    inputs: TrainingInputs,
    state: TrainingState,
    result: Validation,
    train_loss: float,
    seconds: float,
    rows_per_s: float,
) -> None:
    epoch = len(state.history)
    if not math.isfinite(result.loss):
        state.diverged_epoch = epoch + 1
        return
    state.sync_losses()
    steps = max(state.step - epoch * inputs.steps_per_epoch, 1)
    state.history.append(
        {
            "epoch": epoch,
            "step": state.step,
            "train_loss": state.loss_sum / steps,
            "evaluated_train_loss": train_loss,
            "validation_loss": result.loss,
            "part_losses": {
                "train": [total / steps for total in state.term_sums],
                "validation": result.term_losses,
            },
            "validation_score": result.scores,
            "stream_scores": result.stream_scores,
            "learning_rate": (inputs.settings.learning_rate or 1e-3)
            * _lr_factor(inputs.settings, state, state.step - 1),
            "seconds": seconds,
            "rows_per_s": rows_per_s,
        }
    )
    state.loss_sum, state.term_sums, state.running_sums = 0.0, [], None
    best = sorted([*state.best, (result.loss, epoch)])[: inputs.settings.average_checkpoints]
    if (result.loss, epoch) not in best:
        return
    weights = dict(zip(state.best, state.snapshots, strict=True)) | {(result.loss, epoch): snapshot(network)}
    state.best, state.snapshots = best, [weights[entry] for entry in best]


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Copy what training changes: trainable parameters and buffers.

    Args:
        network: The network.

    Returns:
        Name to tensor, on the CPU.
    """
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items() if name not in frozen}


def _load_best_weights(network: Network, inputs: TrainingInputs, state: TrainingState) -> None:
    """Load the average of the best epochs' weights (Izmailov et al. 2018), or the best epoch's if that is better."""
    if not state.snapshots:
        return
    network.load_state_dict(state.snapshots[0], strict=False)
    if len(state.snapshots) == 1:
        return
    network.load_state_dict(average_weights(state.snapshots), strict=False)
    if not validate(network, inputs.validation, inputs.targets, inputs.settings.precision).loss <= state.best[0][0]:
        network.load_state_dict(state.snapshots[0], strict=False)


def average_weights(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average snapshots of a network; integer buffers are taken from the first.

    Args:
        snapshots: Name to tensor, the same names in each.

    Returns:
        Name to mean.
    """
    return {
        name: torch.stack([other[name] for other in snapshots]).mean(dim=0) if value.is_floating_point() else value
        for name, value in snapshots[0].items()
    }
