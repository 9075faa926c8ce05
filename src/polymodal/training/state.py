"""The state of a training run: counters, history and the weights of the best epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class TrainingState:
    """Everything of a training run that changes, besides the network and the optimizer; saved in checkpoints.

    Attributes:
        step: Number of steps done.
        seconds: Seconds spent training, over all resumed runs.
        history: One entry for each epoch, as in the report.
        best: Validation loss and epoch of ``snapshots``, the best first.
        snapshots: Trainable weights and buffers of the best epochs, in the order of ``best``.
        loss_sum: Sum of the losses of the steps of this epoch.
        term_sums: The same for each loss term: the fused loss, then each stream's.
        running_sums: ``loss_sum`` and ``term_sums`` on the device, so that no step synchronises with it; None before
            the first step of an epoch.
        accumulation_steps: Number of micro-batches of a step.
        planned_steps: Number of steps of the learning-rate schedule; 0 before training starts.
        pretraining: Result of ``pretrain_images``; empty without pretraining.
        width: Width of the network's tokens.
        diverged_epoch: Epoch, from 1, whose validation loss is not finite; 0: training has not diverged.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: list[tuple[float, int]] = field(default_factory=list)
    snapshots: list[dict[str, Tensor]] = field(default_factory=list)
    loss_sum: float = 0.0
    term_sums: list[float] = field(default_factory=list)
    running_sums: Tensor | None = None
    accumulation_steps: int = 1
    planned_steps: int = 0
    pretraining: dict[str, Any] = field(default_factory=dict)
    width: int = 0
    diverged_epoch: int = 0

    def add_losses(self, losses: Tensor) -> None:
        """Add the losses of a step to the running sums, on the device.

        Args:
            losses: The minimised loss, the fused loss and each stream's ``[2 + S]``.
        """
        losses = losses.detach().to(torch.float32 if losses.device.type == "mps" else torch.float64)
        if self.running_sums is None:
            before = [self.loss_sum, *(self.term_sums or [0.0] * (len(losses) - 1))]
            self.running_sums = losses.new_tensor(before)
        self.running_sums = self.running_sums + losses

    def sync_losses(self) -> None:
        """Copy the running sums from the device to ``loss_sum`` and ``term_sums``."""
        if self.running_sums is not None:
            self.loss_sum, *self.term_sums = self.running_sums.tolist()
