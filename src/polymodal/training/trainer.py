"""The training loop: small functions over plain PyTorch modules.

Every step draws its randomness from the seed and the step's number, so that a run that was
killed and resumed takes the very steps it would have taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from polymodal.config import TrainConfig
from polymodal.encoders import Pretrained
from polymodal.errors import ConfigError
from polymodal.model.batches import epoch_batches, largest_first, sampling_probabilities
from polymodal.model.network import Network
from polymodal.nn.allocator import memory_reused
from polymodal.nn.distributed import main_says, num_processes, own_device
from polymodal.progress import Phase, Progress
from polymodal.training.gradient_accumulation import free_bytes, kept_bytes, parts_that_fit
from polymodal.training.losses import check_loss
from polymodal.training.lr_schedule import rate_factor
from polymodal.training.modality_balance import check_balance
from polymodal.training.prefetch import Prefetcher, has_free_core
from polymodal.training.pretraining import pretrain_images
from polymodal.training.sharding import is_sharding_enabled, shard_module
from polymodal.training.state import TrainingInputs, TrainingState
from polymodal.training.strategy import Strategy
from polymodal.training.time_budget import Plan
from polymodal.training.training_checkpoint import load_state, save_state
from polymodal.training.training_step import batch_gradients, take_step
from polymodal.training.validation import Validation, validate

FEW_ROWS = 4
"""Rows by which the memory of a batch is measured before training."""
TRIED_ROWS = 128
"""Validation rows by which the pace of looking at rows is measured before training."""


@memory_reused()
def train_network(network: Network, inputs: TrainingInputs, progress: Progress, resume: bool = False) -> TrainingState:
    """Train to the end and leave the averaged best weights in the network.

    Args:
        network: The network, freshly built.
        inputs: Data and options.
        progress: Reports every step.
        resume: Whether to go on from ``inputs.state_path`` if it is there.

    Returns:
        The final state, with the history.
    """
    check_balance(inputs.settings.balance, network, inputs.targets, (inputs.settings.accumulate or 1) * num_processes())
    check_loss(inputs.settings, inputs.targets)
    strategy, state = begin(network, inputs)
    if resume and inputs.state_path is not None and inputs.state_path.exists():
        load_state(inputs.state_path, strategy, state)
    plan = inputs.plan(state)
    if inputs.settings.pretrain_epochs and not state.pretraining:
        _pretrain(strategy, inputs, state, progress)
    measure_validation(strategy, inputs, plan)
    state.planned_steps = plan.steps
    with progress.phase("training", inputs.total_steps) as phase:
        phase.advance(state.step)
        _run_epochs(strategy, inputs, state, plan, phase)
    _keep_best(strategy.fill(), inputs, state)
    return state


def begin(network: Network, inputs: TrainingInputs) -> tuple[Strategy, TrainingState]:
    """Bring a network to its device, settle in how many parts its batches are computed, and share its weights out.

    Args:
        network: The network.
        inputs: Data and options.

    Returns:
        What learns, and a state at the beginning.
    """
    device = own_device()
    network.to(device)
    prefetcher = Prefetcher[Any](has_free_core(device))
    strategy = Strategy(
        network=network, optimizer=_optimizer(network, inputs.settings), device=device, prefetcher=prefetcher
    )
    state = TrainingState(width=network.width, num_parts=inputs.settings.accumulate or 1)
    if inputs.settings.accumulate is None and device.type == "cpu":
        state.num_parts = _parts_in_memory(strategy, inputs)
        check_balance(inputs.settings.balance, network, inputs.targets, state.num_parts * num_processes())
    if num_processes() > 1 and is_sharding_enabled(inputs.settings):
        shares = shard_module(network, device)
        optimizer = _optimizer(shares.module, inputs.settings, {share: rows for rows, share in shares.rows.items()})
        strategy = Strategy(network=network, optimizer=optimizer, device=device, shares=shares, prefetcher=prefetcher)
    return strategy, state


def _optimizer(
    network: Network, settings: TrainConfig, rows: Mapping[nn.Parameter, nn.Parameter] | None = None
) -> AdamW:
    groups = parameter_groups(network, settings)
    if rows is not None:
        groups = [{**group, "params": [rows[share] for share in group["params"]]} for group in groups]
    return AdamW(groups, lr=settings.learning_rate or 1e-3, fused=True)


def _parts_in_memory(strategy: Strategy, inputs: TrainingInputs) -> int:
    """Return in how many parts a batch fits into memory, by what a few of the largest rows keep for the way back.

    A CPU's memory, unlike a GPU's, does not say that it is full: the system ends the process. Only where weights and
    rows together might not fit are fewer rows looked at besides, to tell the two apart.
    """
    free, count = free_bytes(), num_processes()
    largest = largest_first(inputs.train)
    if free is None or len(largest) < FEW_ROWS * count:
        return 1
    num_rows = math.ceil(min(inputs.settings.batch_size or 1, len(inputs.train)) / count)
    kept = _kept_bytes(strategy, inputs, largest[: FEW_ROWS * count])
    parts = main_says(parts_that_fit(kept / FEW_ROWS, num_rows, free / count))
    if parts > 1:
        kept -= _kept_bytes(strategy, inputs, largest[: FEW_ROWS // 2 * count])
        parts = main_says(parts_that_fit(kept / (FEW_ROWS / 2), num_rows, free / count))
    return parts


def _kept_bytes(strategy: Strategy, inputs: TrainingInputs, places: NDArray[np.int64]) -> int:
    with kept_bytes() as found:
        batch_gradients(strategy, inputs, TrainingState(), places)
    strategy.forget_gradients()
    return sum(found)


def _pretrain(strategy: Strategy, inputs: TrainingInputs, state: TrainingState, progress: Progress) -> None:
    with strategy.changed() as network:
        state.pretraining = pretrain_images(network, inputs, strategy.device, progress)
    state.seconds += sum(found["seconds"] for found in state.pretraining.values())
    _save(strategy, inputs, state)


def _save(strategy: Strategy, inputs: TrainingInputs, state: TrainingState) -> None:
    if inputs.state_path is not None:
        save_state(inputs.state_path, strategy, state)


def measure_validation(strategy: Strategy, inputs: TrainingInputs, plan: Plan) -> None:
    """Look at a few validation rows, twice, for the pace: the first look is slow.

    Args:
        strategy: The network.
        inputs: Data and options.
        plan: Takes note; without a budget, nothing is done.
    """
    if plan.budget is None:
        return
    few = inputs.validation.first(TRIED_ROWS)
    for _ in range(2):
        started = plan.clock()
        with strategy.whole() as network:
            validate(network, few, inputs.targets, inputs.settings.precision)
        plan.note_validation(len(few), plan.clock() - started)


def _run_epochs(strategy: Strategy, inputs: TrainingInputs, state: TrainingState, plan: Plan, phase: Phase) -> None:
    for epoch in range(len(state.history), inputs.settings.epochs or 1):
        if is_finished(inputs, state):
            return
        started = plan.clock()
        _run_epoch(strategy, inputs, state, plan, epoch, phase)
        looked = plan.clock()
        with strategy.whole() as network:
            result = validate(network, inputs.validation, inputs.targets, inputs.settings.precision)
            plan.note_validation(len(inputs.validation), plan.clock() - looked)
            _note_epoch(network, inputs, state, epoch, result, plan.clock() - started)
        _check_learned(inputs, state)
        _save(strategy, inputs, state)
        phase.advance(0, note=f"validation loss {result.loss:.3f}")


def _check_learned(inputs: TrainingInputs, state: TrainingState) -> None:
    if state.diverged_in and not state.best:
        raise ConfigError(
            f"Training diverged in its first epoch: the loss is no finite number. Lower train.learning_rate, which is "
            f"{inputs.settings.learning_rate:g}."
        )


def is_finished(inputs: TrainingInputs, state: TrainingState) -> bool:
    """Whether training ends: all planned steps done, out of patience, or diverged.

    Args:
        inputs: Data and options.
        state: Where training stands.

    Returns:
        True where no further epoch is to run.
    """
    if not state.best:
        return False
    if state.step >= state.planned_steps or state.diverged_in:
        return True
    return len(state.history) - 1 - state.best[0][1] >= (inputs.settings.patience or math.inf)


def _run_epoch(
    strategy: Strategy, inputs: TrainingInputs, state: TrainingState, plan: Plan, epoch: int, phase: Phase
) -> None:
    strategy.module.train()
    done = state.step - epoch * inputs.steps_per_epoch
    chances = sampling_probabilities(inputs.train, inputs.targets) if inputs.settings.sampling == "balanced" else None
    batches = list(epoch_batches(len(inputs.train), inputs.settings.batch_size or 1, inputs.seed, epoch, chances))[
        done:
    ]
    for places, following in zip_longest(batches, batches[1:]):
        if state.step >= state.planned_steps:
            break
        started = plan.clock()
        _set_rate(strategy.optimizer, rate_factor(state.step, state.planned_steps, inputs.settings.warmup_fraction))
        take_step(strategy, inputs, state, places, following)
        seconds = plan.clock() - started
        state.seconds += seconds
        plan.note_step(state.step, seconds)
        if plan.budget is not None:
            plan.steps = main_says(plan.steps)
        state.planned_steps = plan.steps
        phase.advance(1)
        if state.step % inputs.settings.checkpoint_steps == 0:
            _save(strategy, inputs, state)
    strategy.prefetcher.drop()


def _set_rate(optimizer: AdamW, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak_rate"] * factor


def parameter_groups(network: Network, settings: TrainConfig) -> list[dict[str, Any]]:
    """Sort trainable parameters: weight decay for matrices only, own rates for fine-tuned encoders.

    Args:
        network: The network.
        settings: Resolved training options.

    Returns:
        Groups for AdamW, each with its ``peak_rate``.
    """
    rate = settings.learning_rate or 1e-3
    groups: list[dict[str, Any]] = []
    for encoder in network.own_encoders:
        if isinstance(encoder, Pretrained):
            groups += encoder.parameter_groups(rate, settings.layer_decay)
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in grouped]
    matrices = {"params": [p for p in rest if p.ndim >= 2], "weight_decay": settings.weight_decay, "lr": rate}
    vectors = {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": rate}
    return [{**group, "peak_rate": group.get("lr", rate)} for group in [*groups, matrices, vectors] if group["params"]]


def _note_epoch(
    network: Network, inputs: TrainingInputs, state: TrainingState, epoch: int, result: Validation, seconds: float
) -> None:
    if not math.isfinite(result.loss):
        state.diverged_in = epoch + 1
        return
    state.read_losses()
    steps = max(state.step - epoch * inputs.steps_per_epoch, 1)
    state.history.append(
        {
            "epoch": epoch,
            "train_loss": state.loss_sum / steps,
            "validation_loss": result.loss,
            "part_losses": {
                "train": [total / steps for total in state.part_sums],
                "validation": result.part_losses,
            },
            "validation_score": result.scores,
            "stream_scores": result.stream_scores,
            "learning_rate": (inputs.settings.learning_rate or 1e-3)
            * rate_factor(state.step - 1, state.planned_steps, inputs.settings.warmup_fraction),
            "seconds": seconds,
        }
    )
    state.loss_sum, state.part_sums, state.running = 0.0, [], None
    places = sorted([*state.best, (result.loss, epoch)])[: inputs.settings.average_checkpoints]
    if (result.loss, epoch) not in places:
        return
    kept = dict(zip(state.best, state.snapshots, strict=True)) | {(result.loss, epoch): snapshot(network)}
    state.best, state.snapshots = places, [kept[place] for place in places]


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Copy what training changes: trainable parameters and buffers.

    Args:
        network: The network.

    Returns:
        Name to tensor, on the CPU.
    """
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items() if name not in frozen}


def _keep_best(network: Network, inputs: TrainingInputs, state: TrainingState) -> None:
    """Average the best epochs' weights (Izmailov et al. 2018) unless the single best validates better."""
    if not state.snapshots:
        return
    network.load_state_dict(state.snapshots[0], strict=False)
    if len(state.snapshots) == 1:
        return
    network.load_state_dict(average(state.snapshots), strict=False)
    if not validate(network, inputs.validation, inputs.targets, inputs.settings.precision).loss <= state.best[0][0]:
        network.load_state_dict(state.snapshots[0], strict=False)


def average(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average weights; whole-number buffers are taken from the first.

    Args:
        snapshots: Name to tensor, the same names in each.

    Returns:
        Name to mean.
    """
    return {
        name: torch.stack([other[name] for other in snapshots]).mean(dim=0) if value.is_floating_point() else value
        for name, value in snapshots[0].items()
    }
