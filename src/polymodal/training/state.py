"""What a training run works on, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polymodal.config import TrainConfig
from polymodal.modalities import Modality
from polymodal.model.batches import Examples
from polymodal.targets import AnyTarget
from polymodal.training.time_budget import Budget, Plan


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """Everything the loop needs besides the network.

    Attributes:
        train: Rows to learn from.
        validation: Rows to choose the best epoch by.
        targets: Name to fitted target.
        modalities: Stream to fitted modality, for augmentation.
        settings: Resolved training options: no None left but in ``time_limit_s``.
        seed: The run's seed.
        state_path: File for resuming; None saves nothing.
        unlabelled: int64, rows of the training table without any target; pretraining uses them.
        budget: When the run has to be over; None: there is no limit.
        soft: Flat target to a teacher's predictions of the training rows, where there is a teacher.
    """

    train: Examples
    validation: Examples
    targets: Mapping[str, AnyTarget]
    modalities: Mapping[str, Modality]
    settings: TrainConfig
    seed: int
    state_path: Path | None
    unlabelled: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    budget: Budget | None = None
    soft: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.train) / (self.settings.batch_size or 1))

    @property
    def total_steps(self) -> int:
        """Number of batches in all epochs."""
        return self.steps_per_epoch * (self.settings.epochs or 1)

    def plan(self, state: TrainingState) -> Plan:
        """Return the plan of a training that begins, or goes on.

        Args:
            state: Where training stands; time that it has taken already counts.

        Returns:
            The plan, as it was made before where there was one.
        """
        budget = self.budget
        if budget is not None:
            budget = replace(budget, ends_s=budget.ends_s - state.seconds)
        return Plan(
            budget=budget,
            steps_per_epoch=self.steps_per_epoch,
            most_steps=self.total_steps,
            validation_rows=len(self.validation),
            steps=state.planned_steps or self.total_steps,
        )


@dataclass
class TrainingState:
    """Where training stands; saved to resume from.

    Attributes:
        step: Steps done.
        seconds: Time spent training, over all resumed runs.
        history: One entry an epoch, as in the report.
        best: Validation loss and epoch of the kept snapshots, the best first.
        snapshots: Their trainable weights, in the same order.
        loss_sum: Sum of the losses of this epoch's steps so far.
        part_sums: The same of the fused part and of each stream's.
        running: All these sums as they grow on the device, where no step waits for them; None before a first step.
        num_parts: In how many parts the steps are computed.
        planned_steps: Steps over which the learning rate is laid; 0 before training begins.
        pretraining: What ``pretrain_images`` said; empty without pretraining.
        width: Of the network.
        diverged_in: Epoch, from 1, at whose end the validation loss was no finite number; 0 if none was.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: list[tuple[float, int]] = field(default_factory=list)
    snapshots: list[dict[str, Tensor]] = field(default_factory=list)
    loss_sum: float = 0.0
    part_sums: list[float] = field(default_factory=list)
    running: Tensor | None = None
    num_parts: int = 1
    planned_steps: int = 0
    pretraining: dict[str, Any] = field(default_factory=dict)
    width: int = 0
    diverged_in: int = 0

    def add_losses(self, losses: Tensor) -> None:
        """Count a step's losses.

        Args:
            losses: The loss that was followed, its fused part and each stream's ``[2 + S]``.
        """
        exact = losses.detach().to(torch.float32 if losses.device.type == "mps" else torch.float64)
        if self.running is None:
            before = [self.loss_sum, *(self.part_sums or [0.0] * (len(losses) - 1))]
            self.running = exact.new_tensor(before)
        self.running = self.running + exact

    def read_losses(self) -> None:
        """Bring the sums up to date: once before they are shown or saved."""
        if self.running is not None:
            self.loss_sum, *self.part_sums = self.running.tolist()
