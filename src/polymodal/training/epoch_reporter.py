"""What is told of training while it runs: every step to the progress, every epoch to logs and hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polymodal.progress import Phase, Progress, format_seconds
from polymodal.targets import primary_metric_of
from polymodal.training.inputs import TrainingInputs
from polymodal.training.state import TrainingState

LOGGER = logging.getLogger(__name__)


def ignore(_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class TrainingHooks:
    """Functions that the trainer calls in the main process's order of events.

    Attributes:
        on_train_start: Takes the state before the first step; of a resumed run it has the history so far.
        on_epoch_end: Takes the entry of the history, once it is saved.
    """

    on_train_start: Callable[[TrainingState], None] = ignore
    on_epoch_end: Callable[[Mapping[str, Any]], None] = ignore


@dataclass(kw_only=True)
class EpochReporter:
    """Tells of steps and epochs.

    Attributes:
        inputs: Data and options.
        progress: Gets a line for each epoch.
        phase: Counts the steps.
        hooks: Called with each epoch.
        planned_steps: Number of steps that the phase was told.
        step_seconds: Duration of each step of this epoch.
        num_rows: Number of rows trained on in this epoch.
    """

    inputs: TrainingInputs
    progress: Progress
    phase: Phase
    hooks: TrainingHooks
    planned_steps: int
    step_seconds: list[float] = field(default_factory=list)
    num_rows: int = 0

    def step_done(self, state: TrainingState, num_rows: int, seconds: float) -> None:
        """Tell of a step.

        Args:
            state: The state after it.
            num_rows: Number of rows of its batch.
            seconds: Its duration.
        """
        self.step_seconds.append(seconds)
        self.num_rows += num_rows
        if state.planned_steps == self.planned_steps:
            self.phase.advance(1)
        else:
            self.phase.advance(1, total=state.planned_steps)
            self.planned_steps = state.planned_steps

    def speed(self) -> float:
        """Return the rows per second of this epoch's steps."""
        return self.num_rows / max(sum(self.step_seconds), 1e-9)

    def epoch_done(self, state: TrainingState) -> None:
        """Tell of an epoch that was recorded and saved.

        Args:
            state: The state after it.
        """
        entry = state.history[-1]
        left_s = entry["seconds"] / max(len(self.step_seconds), 1) * (state.planned_steps - state.step)
        self.phase.advance(0, note=f"validation loss {entry['validation_loss']:.3f}")
        self.progress.log(f"{describe_epoch(entry, self.inputs, state.planned_steps)}, {_time_left(left_s)}")
        _log_durations(entry["epoch"] + 1, self.step_seconds)
        self.step_seconds, self.num_rows = [], 0
        self.hooks.on_epoch_end(entry)


def describe_epoch(entry: Mapping[str, Any], inputs: TrainingInputs, planned_steps: int) -> str:
    """Describe an epoch in one line.

    Args:
        entry: Its entry of the history.
        inputs: Data and options.
        planned_steps: Number of steps of the whole training.

    Returns:
        Epoch, from 1, step, losses, the primary metric of each target, and speed.
    """
    scores = [
        f"{name} {primary_metric_of(inputs.targets[name])} {value:.4g}"
        for name, value in entry["validation_score"].items()
    ]
    parts = [
        f"epoch {entry['epoch'] + 1} of {inputs.settings.epochs}: step {entry['step']:,} of {planned_steps:,}",
        f"train loss {entry.get('evaluated_train_loss', entry['train_loss']):.4g}",
        f"validation loss {entry['validation_loss']:.4g}",
        *scores,
        f"{entry['rows_per_s']:,.0f} rows/s",
    ]
    return ", ".join(parts)


def _time_left(seconds: float) -> str:
    return f"about {format_seconds(seconds)} left" if seconds > 0 else "last step done"


def _log_durations(epoch: int, seconds: Sequence[float]) -> None:
    if seconds and LOGGER.isEnabledFor(logging.DEBUG):
        median, slow = np.percentile(seconds, [50, 95]) * 1000
        LOGGER.debug("epoch %d: a step took %.3g ms (median), 95 %% at most %.3g ms", epoch, median, slow)
