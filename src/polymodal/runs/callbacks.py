"""What user code can do while a run trains: one small interface (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A run that begins to train.

    Attributes:
        name: Name of the run: that of its folder.
        folder: The run's folder, or None where nothing is written.
        options: Dotted name of every resolved option to its value, such as ``{"train.epochs": 20}``; lists are JSON.
        command: The command line, if there is one.
        epochs_done: Number of epochs before this start; above 0 where a run is resumed.
        steps_done: Number of training steps before this start.
    """

    name: str
    folder: Path | None
    options: Mapping[str, Any]
    command: str | None
    epochs_done: int
    steps_done: int


class Callback:
    """Base class of callbacks: ``polymodal.fit(callbacks=[...])``; each method does nothing unless it is overridden.

    Of several processes that train together, the main one alone calls them. What a callback raises ends the run, which
    can be resumed.

    Example:
        >>> class Losses(Callback):
        ...     def on_epoch_end(self, epoch, metrics):
        ...         print(epoch, metrics["validation_loss"])
    """

    def on_train_start(self, run: TrainingRun) -> None:
        """Called before the first step, once tables are read and all options are resolved.

        Args:
            run: The run.
        """

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch, once its training state is saved.

        Args:
            epoch: Number of the epoch, from 1.
            metrics: ``step`` (steps done), ``train_loss``, ``validation_loss``, ``learning_rate``, ``seconds``,
                ``rows_per_s``, ``validation/TARGET/METRIC`` and ``validation_streams/TARGET/STREAM/METRIC``.
        """

    def on_train_end(self, metrics: Mapping[str, float], report_path: Path | None) -> None:
        """Called once the run is evaluated and written.

        Args:
            metrics: ``final/TARGET/METRIC`` of the whole model, ``final_fusion/...``, ``final_streams/...`` and
                ``final_baselines/TARGET/NAME/METRIC``, on test rows or else on validation rows.
            report_path: The report, or None where no folder is written.
        """

    def on_exception(self, error: BaseException) -> None:
        """Called when the run ends early, after ``on_train_start``.

        Args:
            error: Why: an error, or the keyboard interrupt.
        """
