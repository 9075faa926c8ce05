"""The inputs of a training run: data, targets and options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.config import TrainConfig
from polymodal.modalities import Modality
from polymodal.model.batches import Examples
from polymodal.targets import AnyTarget
from polymodal.training.distillation import TeacherAnswers
from polymodal.training.hardening import NoisyCopies
from polymodal.training.state import TrainingState
from polymodal.training.time_budget import StepPlanner, TimeBudget


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """Everything the trainer needs besides the network.

    Attributes:
        train: The training examples; the last ones may be learned from a teacher alone.
        validation: The validation examples, for early stopping and the choice of the best epochs.
        targets: Name to fitted target.
        modalities: Stream to fitted modality, for augmentation.
        settings: Resolved training options; only ``time_limit_s`` and ``accumulate`` may be None.
        seed: Random seed of the run.
        checkpoint_path: File of the training checkpoint, for resuming; None saves none.
        unlabelled: int64, rows of the training table without any target, for pretraining.
        budget: The time limit; None: there is none.
        noisy: Copies of training rows with noise in their cells, to learn from as well; None without hardening.
        teacher: A teacher's answers to the training rows, for knowledge distillation.
    """

    train: Examples
    validation: Examples
    targets: Mapping[str, AnyTarget]
    modalities: Mapping[str, Modality]
    settings: TrainConfig
    seed: int
    checkpoint_path: Path | None
    unlabelled: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    budget: TimeBudget | None = None
    noisy: NoisyCopies | None = None
    teacher: TeacherAnswers = field(default_factory=TeacherAnswers)

    @property
    def labelled(self) -> Examples:
        """The training examples with a truth of their own."""
        return self.train.first(len(self.train) - self.teacher.num_alone)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return math.ceil(len(self.train) / (self.settings.batch_size or 1))

    @property
    def total_steps(self) -> int:
        """Number of batches in all epochs."""
        return self.steps_per_epoch * (self.settings.epochs or 1)

    def step_planner(self, state: TrainingState) -> StepPlanner:
        """Build the planner of the number of steps, for a new or a resumed run.

        Args:
            state: The training state; the seconds it has spent and the steps it has planned are kept.

        Returns:
            The planner.
        """
        budget = self.budget
        if budget is not None:
            budget = replace(budget, deadline_s=budget.deadline_s - state.seconds)
        return StepPlanner(
            budget=budget,
            steps_per_epoch=self.steps_per_epoch,
            max_steps=self.total_steps,
            validation_rows=len(self.validation),
            num_steps=state.planned_steps or self.total_steps,
        )
