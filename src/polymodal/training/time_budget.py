"""Number of training steps that fit into a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

POST_TRAINING_S = 2.0
"""Seconds reserved for evaluation, gallery and report besides running the network."""
EVALUATION_PASSES = 3
"""Forward passes over all evaluation rows, in time: complete, with hidden streams, and for the report."""
SMOOTHING = 0.8
"""Weight of earlier steps in the exponential moving average of a step's duration."""
REVISIONS = 20
"""Number of times the number of steps is planned again in a training run."""


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """The time limit of a run.

    Attributes:
        deadline_s: When the run has to end, in seconds of ``clock``.
        evaluation_rows: Number of rows the network is run on after training, validation rows included.
        clock: Returns seconds since any fixed moment.
    """

    deadline_s: float
    evaluation_rows: int
    clock: Callable[[], float] = time.perf_counter

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline_s - self.clock()


@dataclass(kw_only=True)
class StepPlanner:
    """Plans the number of training steps from the measured durations of steps and validation.

    Attributes:
        budget: The time limit; None: there is none.
        steps_per_epoch: Number of batches in an epoch.
        max_steps: Number of steps of all epochs that were asked for.
        validation_rows: Number of validation rows.
        num_steps: Planned number of steps of the whole training run.
        step_s: Seconds of a step; None before two steps were measured (the first one, which is slow, does not count).
        row_s: Seconds of validation of one row.
        is_warm: Whether a first step was done.
    """

    budget: TimeBudget | None
    steps_per_epoch: int
    max_steps: int
    validation_rows: int
    num_steps: int
    step_s: float | None = None
    row_s: float = 0.0
    is_warm: bool = False

    @property
    def clock(self) -> Callable[[], float]:
        """Returns seconds since any fixed moment."""
        return time.perf_counter if self.budget is None else self.budget.clock

    @property
    def validation_s(self) -> float:
        """Seconds of validation after an epoch."""
        return self.row_s * self.validation_rows

    @property
    def post_training_s(self) -> float:
        """Seconds of everything that follows training."""
        rows = 0 if self.budget is None else self.budget.evaluation_rows
        return POST_TRAINING_S + self.row_s * (EVALUATION_PASSES * rows + self.validation_rows)

    def record_validation(self, num_rows: int, seconds: float) -> None:
        """Record the duration of validation.

        Args:
            num_rows: Number of rows.
            seconds: The duration.
        """
        self.row_s = seconds / max(num_rows, 1)

    def record_step(self, step: int, seconds: float) -> None:
        """Record the duration of a step, and plan again if it is time to.

        Args:
            step: Number of steps done, this one included.
            seconds: The duration.
        """
        if self.budget is None:
            return
        if self.is_warm:
            self.step_s = seconds if self.step_s is None else SMOOTHING * self.step_s + (1 - SMOOTHING) * seconds
        self.is_warm = True
        if self.budget.remaining_s < self.post_training_s + self.validation_s + seconds:
            self.num_steps = step
        elif self.step_s is not None and (step < 10 or step % max(self.num_steps // REVISIONS, 1) == 0):
            remaining_s = self.budget.remaining_s - self.post_training_s
            self.num_steps = plan_num_steps(
                step, remaining_s, self.step_s, self.validation_s, self.steps_per_epoch, self.max_steps
            )


def plan_num_steps(
    done: int, remaining_s: float, step_s: float, validation_s: float, steps_per_epoch: int, max_steps: int
) -> int:
    """Compute the number of steps after which training ends on time.

    Every epoch ends with validation, the last one too, however short it is.

    Args:
        done: Number of steps done.
        remaining_s: Seconds left for training.
        step_s: Seconds of a step.
        validation_s: Seconds of validation after an epoch.
        steps_per_epoch: Number of batches in an epoch.
        max_steps: Number of steps of all epochs that were asked for.

    Returns:
        Total number of steps, from ``done`` to ``max_steps``.

    Example:
        >>> plan_num_steps(0, 27.0, 1.0, 2.0, 10, 100)
        21
    """
    epoch_s = steps_per_epoch * step_s + validation_s
    in_epoch = done % steps_per_epoch
    from_epoch_start_s = remaining_s + in_epoch * step_s
    num_epochs = max(int(from_epoch_start_s // epoch_s), 0) if epoch_s > 0 else max_steps
    rest_s = from_epoch_start_s - num_epochs * epoch_s - validation_s
    rest = max(int(rest_s / step_s), 0) if step_s > 0 else 0
    planned = done - in_epoch + num_epochs * steps_per_epoch + min(rest, steps_per_epoch)
    return min(max(planned, done), max_steps)
