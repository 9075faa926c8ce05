"""The training loop: small functions over plain PyTorch modules, on Accelerate.

Every step draws its randomness from the seed and the step's number, so that a run that was
killed and resumed takes the very steps it would have taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from polymodal.augment import augment
from polymodal.augment_speech import vary_speech
from polymodal.batches import Examples, epoch_batches, truth_batch
from polymodal.config import TrainConfig
from polymodal.encoders import PretrainedText
from polymodal.losses import draw_hidden, stream_presence, total_loss
from polymodal.modalities import Modality
from polymodal.network import Network
from polymodal.progress import Phase, Progress
from polymodal.resume import load_state, save_state
from polymodal.targets import AnyTarget, TranscriptTarget
from polymodal.tokens import ColumnBatch
from polymodal.validate import Validation, validate

STEP_SEED_STRIDE = 1_000_003
FINAL_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything the loop needs besides the network.

    Attributes:
        train: Rows to learn from.
        validation: Rows to choose the best epoch by.
        targets: Name to fitted target.
        modalities: Stream to fitted modality, for augmentation.
        settings: Resolved training options: no None left but in ``time_limit_s``.
        seed: The run's seed.
        state_path: File for resuming; None saves nothing.
    """

    train: Examples
    validation: Examples
    targets: Mapping[str, AnyTarget]
    modalities: Mapping[str, Modality]
    settings: TrainConfig
    seed: int
    state_path: Path | None

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.train) / (self.settings.batch_size or 1))

    @property
    def total_steps(self) -> int:
        """Number of batches in all epochs."""
        return self.steps_per_epoch * (self.settings.epochs or 1)


@dataclass
class State:
    """Where training stands; saved to resume from.

    Attributes:
        step: Steps done.
        seconds: Time spent training, over all resumed runs.
        history: One entry an epoch, as in the report.
        best: Validation loss and epoch of the kept snapshots, the best first.
        snapshots: Their trainable weights, in the same order.
        loss_sum: Sum of the losses of this epoch's steps so far.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: list[tuple[float, int]] = field(default_factory=list)
    snapshots: list[dict[str, Tensor]] = field(default_factory=list)
    loss_sum: float = 0.0


def train_network(network: Network, job: Job, progress: Progress, resume: bool = False) -> State:
    """Train to the end and leave the averaged best weights in the network.

    Args:
        network: The network, freshly built.
        job: Data and options.
        progress: Told of every step.
        resume: Whether to go on from ``job.state_path`` if it is there.

    Returns:
        The final state, with the history.
    """
    accelerator = Accelerator()
    optimizer = AdamW(parameter_groups(network, job.settings), lr=job.settings.learning_rate or 1e-3, fused=True)
    prepared, optimizer = accelerator.prepare(network, optimizer)
    state = State()
    if resume and job.state_path is not None and job.state_path.exists():
        load_state(job.state_path, network, optimizer, state)
    with progress.phase("training", job.total_steps) as phase:
        phase.advance(state.step)
        _run_epochs(accelerator, prepared, optimizer, job, state, phase)
    _keep_best(network, job, state)
    return state


def _run_epochs(
    accelerator: Accelerator, network: Network, optimizer: AdamW, job: Job, state: State, phase: Phase
) -> None:
    for epoch in range(len(state.history), job.settings.epochs or 1):
        if is_finished(job, state):
            return
        started = time.perf_counter()
        _run_epoch(accelerator, network, optimizer, job, state, epoch, phase)
        result = validate(accelerator.unwrap_model(network), job.validation, job.targets)
        _note_epoch(accelerator.unwrap_model(network), job, state, epoch, result, time.perf_counter() - started)
        if job.state_path is not None:
            save_state(job.state_path, accelerator.unwrap_model(network), optimizer, state)
        phase.advance(0, note=f"validation loss {result.loss:.3f}")


def is_finished(job: Job, state: State) -> bool:
    """Whether training ends before its last epoch: out of patience or out of time.

    Args:
        job: Data and options.
        state: Where training stands.

    Returns:
        True where no further epoch is to run.
    """
    if job.settings.time_limit_s is not None and state.seconds >= job.settings.time_limit_s:
        return True
    if not state.best:
        return False
    return len(state.history) - 1 - state.best[0][1] >= (job.settings.patience or math.inf)


def _run_epoch(
    accelerator: Accelerator,
    network: Network,
    optimizer: AdamW,
    job: Job,
    state: State,
    epoch: int,
    phase: Phase,
) -> None:
    network.train()
    done = state.step - epoch * job.steps_per_epoch
    batches = epoch_batches(len(job.train), job.settings.batch_size or 1, job.seed, epoch)
    for number, places in enumerate(batches):
        if number < done:
            continue
        started = time.perf_counter()
        state.loss_sum += _step(accelerator, network, optimizer, job, state.step, places)
        state.step += 1
        state.seconds += time.perf_counter() - started
        phase.advance(1)
        if job.state_path is not None and state.step % job.settings.checkpoint_steps == 0:
            save_state(job.state_path, accelerator.unwrap_model(network), optimizer, state)


def _step(accelerator: Accelerator, network: Network, optimizer: AdamW, job: Job, step: int, places: Any) -> float:
    torch.manual_seed(job.seed * STEP_SEED_STRIDE + step)
    settings = job.settings
    batch = job.train.batch(places)
    if settings.augment:
        batch = {stream: _vary(job, job.modalities[stream], column) for stream, column in batch.items()}
    plain: Network = accelerator.unwrap_model(network)
    present = stream_presence(batch, plain.streams)
    hidden = draw_hidden(present, settings.modality_dropout if len(plain.streams) > 1 else 0.0)
    device = accelerator.device
    on_device = {stream: column.to(device) for stream, column in batch.items()}
    truth = {name: (a.to(device), b.to(device)) for name, (a, b) in truth_batch(job.train, places).items()}
    outputs = network(on_device, hidden.to(device), truth, settings.label_smoothing)
    loss = total_loss(
        plain, outputs, truth, present.to(device), job.targets, settings.auxiliary_weight, settings.label_smoothing
    )
    _set_rate(optimizer, rate_factor(step, job.total_steps, settings.warmup_fraction))
    optimizer.zero_grad()
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(network.parameters(), settings.clip_norm)
    optimizer.step()
    return float(loss.detach())


def _vary(job: Job, modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Vary a stream's cells; where a transcript is read from them, by what leaves every word audible."""
    is_spelt = any(isinstance(target, TranscriptTarget) for target in job.targets.values())
    if is_spelt and modality.name in TranscriptTarget.details:
        return vary_speech(modality, column)
    return augment(modality, column)


def rate_factor(step: int, total_steps: int, warmup_fraction: float) -> float:
    """Compute the learning rate's factor: linear warm-up, then cosine (Loshchilov and Hutter 2017).

    Args:
        step: Steps done.
        total_steps: Steps in all.
        warmup_fraction: Share of steps spent warming up.

    Returns:
        The share of the peak rate.
    """
    warmup = max(int(total_steps * warmup_fraction), 1)
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(total_steps - warmup, 1)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share))


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
    for encoder in network.encoders:
        if isinstance(encoder, PretrainedText):
            groups += encoder.parameter_groups(rate, settings.layer_decay)
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in grouped]
    matrices = {"params": [p for p in rest if p.ndim >= 2], "weight_decay": settings.weight_decay, "lr": rate}
    vectors = {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": rate}
    return [{**group, "peak_rate": group.get("lr", rate)} for group in [*groups, matrices, vectors] if group["params"]]


def _note_epoch(network: Network, job: Job, state: State, epoch: int, result: Validation, seconds: float) -> None:
    state.history.append(
        {
            "epoch": epoch,
            "train_loss": state.loss_sum / job.steps_per_epoch,
            "validation_loss": result.loss,
            "validation_score": result.scores,
            "stream_scores": result.stream_scores,
            "learning_rate": (job.settings.learning_rate or 1e-3)
            * rate_factor(state.step - 1, job.total_steps, job.settings.warmup_fraction),
            "seconds": seconds,
        }
    )
    state.loss_sum = 0.0
    places = sorted([*state.best, (result.loss, epoch)])[: job.settings.average_checkpoints]
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


def _keep_best(network: Network, job: Job, state: State) -> None:
    """Average the best epochs' weights (Izmailov et al. 2018) unless the single best validates better."""
    if not state.snapshots:
        return
    network.load_state_dict(state.snapshots[0], strict=False)
    if len(state.snapshots) == 1:
        return
    network.load_state_dict(average(state.snapshots), strict=False)
    if not validate(network, job.validation, job.targets).loss <= state.best[0][0]:
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
