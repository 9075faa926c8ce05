"""How many steps fit into the time there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

AFTER_S = 2.0
"""Seconds that judging, the gallery and the report take beside running the network."""
JUDGING_PASSES = 3
"""How often, in time, judging runs the network over its rows: whole, with streams hidden, and for the report."""
SMOOTHING = 0.8
"""Weight of earlier steps in the pace."""
REVISIONS = 20
"""How often in a training the plan is made anew."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a run has to be over.

    Attributes:
        ends_s: The moment, as the clock tells it.
        judged_rows: Rows the network is run over after training, validation rows included.
        clock: Seconds since some moment.
    """

    ends_s: float
    judged_rows: int
    clock: Callable[[], float] = time.perf_counter

    @property
    def left_s(self) -> float:
        """Seconds that are left, negative when none are."""
        return self.ends_s - self.clock()


@dataclass(kw_only=True)
class Plan:
    """Lays a training over the steps that fit into its budget, by the pace of those that were taken.

    Attributes:
        budget: When the run has to be over; None: there is no limit.
        steps_per_epoch: Number of batches in an epoch.
        most_steps: Steps in all epochs that were asked for.
        validation_rows: Rows that are looked at after each epoch.
        steps: Steps of the whole training, as planned.
        step_s: Seconds a step; None before two were taken, as the first one is slow.
        row_s: Seconds a row of validation.
        is_warm: Whether a step was taken.
    """

    budget: Budget | None
    steps_per_epoch: int
    most_steps: int
    validation_rows: int
    steps: int
    step_s: float | None = None
    row_s: float = 0.0
    is_warm: bool = False

    @property
    def clock(self) -> Callable[[], float]:
        """Tells the seconds since some moment."""
        return time.perf_counter if self.budget is None else self.budget.clock

    @property
    def validation_s(self) -> float:
        """Seconds that the look at validation takes."""
        return self.row_s * self.validation_rows

    @property
    def after_s(self) -> float:
        """Seconds that all takes that comes after training."""
        rows = 0 if self.budget is None else self.budget.judged_rows
        return AFTER_S + self.row_s * (JUDGING_PASSES * rows + self.validation_rows)

    def note_validation(self, num_rows: int, seconds: float) -> None:
        """Take note of how long a look at rows took.

        Args:
            num_rows: How many.
            seconds: The time.
        """
        self.row_s = seconds / max(num_rows, 1)

    def note_step(self, step: int, seconds: float) -> None:
        """Take note of a step, and plan anew where it is time to.

        Args:
            step: Steps done, this one included.
            seconds: Its time.
        """
        if self.budget is None:
            return
        if self.is_warm:
            self.step_s = seconds if self.step_s is None else SMOOTHING * self.step_s + (1 - SMOOTHING) * seconds
        self.is_warm = True
        if self.budget.left_s < self.after_s + self.validation_s + seconds:
            self.steps = step
        elif self.step_s is not None and (step < 10 or step % max(self.steps // REVISIONS, 1) == 0):
            left_s = self.budget.left_s - self.after_s
            self.steps = fitting_steps(
                step, left_s, self.step_s, self.validation_s, self.steps_per_epoch, self.most_steps
            )


def fitting_steps(
    done: int, left_s: float, step_s: float, validation_s: float, steps_per_epoch: int, most_steps: int
) -> int:
    """Compute after how many steps training ends on time.

    Every epoch ends with a look at validation, the last one too, however short it is.

    Args:
        done: Steps done.
        left_s: Seconds left for training.
        step_s: Seconds a step.
        validation_s: Seconds of a look at validation.
        steps_per_epoch: Number of batches in an epoch.
        most_steps: Steps in all epochs that were asked for.

    Returns:
        Steps in all: those done at least, ``most_steps`` at most.

    Example:
        >>> fitting_steps(0, 27.0, 1.0, 2.0, 10, 100)
        21
    """
    epoch_s = steps_per_epoch * step_s + validation_s
    begun = done % steps_per_epoch
    whole_s = left_s + begun * step_s  # as if this epoch had begun with all its time
    num_epochs = max(int(whole_s // epoch_s), 0) if epoch_s > 0 else most_steps
    rest_s = whole_s - num_epochs * epoch_s - validation_s
    rest = max(int(rest_s / step_s), 0) if step_s > 0 else 0
    planned = done - begun + num_epochs * steps_per_epoch + min(rest, steps_per_epoch)
    return min(max(planned, done), most_steps)
