"""Calling the callbacks of a run: what they are told, and what happens when a tracker fails."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from polymodal.atomic_files import write_text
from polymodal.config import RunConfig
from polymodal.progress import Progress, SilentProgress
from polymodal.runs.callbacks import Callback, TrainingRun
from polymodal.runs.trackers import Tracker
from polymodal.targets import AnyTarget, primary_metric_of
from polymodal.training.epoch_reporter import TrainingHooks
from polymodal.training.state import TrainingState

RUN_IDS_FILE = "trackers.json"
"""Tracker to its name of an unfinished run, so that a resumed run goes on with the same curves."""
ENTRY_METRICS = (
    "step",
    "train_loss",
    "evaluated_train_loss",
    "validation_loss",
    "learning_rate",
    "seconds",
    "rows_per_s",
)
"""Numbers of an entry of the history that callbacks get."""
MAX_REASON_LENGTH = 200
"""Most characters of what a tracker's library says of its failure."""
FINAL_SECTIONS = {
    "targets": "final",
    "fusion": "final_fusion",
    "streams": "final_streams",
    "baselines": "final_baselines",
}
"""Sections of an evaluation to the first part of their metrics' names."""


class RunCallbacks:
    """The callbacks of one run; the trackers among them never end it.

    Attributes:
        notices: Sentences about trackers that failed.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback] = (),
        *,
        name: str = "polymodal",
        folder: Path | None = None,
        command: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Store what the callbacks are told of the run.

        Args:
            callbacks: The callbacks, trackers included; none in processes other than the main one.
            name: Name of the run.
            folder: Its folder.
            command: The command line.
            progress: Gets the notices.
        """
        self.notices: list[str] = []
        self._callbacks = list(callbacks)
        self._name, self._folder, self._command = name, folder, command
        self._progress = progress or SilentProgress()
        self._run_ids: dict[str, str] = {}
        self._is_started = False

    def hooks(self, config: RunConfig, targets: Mapping[str, AnyTarget]) -> TrainingHooks:
        """Return the hooks of the trainer.

        Args:
            config: The run's configuration, all options resolved.
            targets: The targets, for the names of their primary metrics.

        Returns:
            The hooks.
        """
        primary = {name: primary_metric_of(target) for name, target in targets.items()}
        return TrainingHooks(
            on_train_start=partial(self._train_start, config), on_epoch_end=partial(self._epoch_end, primary)
        )

    def train_end(self, report_data: Mapping[str, Any], report_path: Path | None) -> None:
        """Tell the callbacks the final metrics.

        Args:
            report_data: The report data of the finished run.
            report_path: Its report.
        """
        metrics = final_metrics(report_data["evaluation"])
        self._call_all(lambda callback: callback.on_train_end(metrics, report_path))
        if self._folder is not None and self._run_ids:
            (self._folder / RUN_IDS_FILE).unlink(missing_ok=True)

    @contextmanager
    def told_of_exceptions(self) -> Iterator[None]:
        """Tell the callbacks if the run ends early.

        Yields:
            Nothing; the run is trained, evaluated and written inside.
        """
        try:
            yield
        except BaseException as error:
            if self._is_started:
                self._exception(error)
            raise

    def _exception(self, error: BaseException) -> None:
        self._call_all(lambda callback: callback.on_exception(error))

    def _train_start(self, config: RunConfig, state: TrainingState) -> None:
        run = TrainingRun(
            name=self._name,
            folder=self._folder,
            options=flat_options(config.model_dump(mode="json")),
            command=self._command,
            epochs_done=len(state.history),
            steps_done=state.step,
        )
        self._run_ids = _read_run_ids(self._folder) if run.epochs_done else {}
        for tracker in self._trackers():
            tracker.run_id = self._run_ids.get(tracker.name)
        self._is_started = True
        self._call_all(lambda callback: callback.on_train_start(run))

    def _epoch_end(self, primary: Mapping[str, str], entry: Mapping[str, Any]) -> None:
        self._save_run_ids()
        metrics = epoch_metrics(entry, primary)
        self._call_all(lambda callback: callback.on_epoch_end(entry["epoch"] + 1, metrics))

    def _save_run_ids(self) -> None:
        """Write the trackers' names of the run, once there is a training state to resume."""
        run_ids = {tracker.name: tracker.run_id for tracker in self._trackers() if tracker.run_id is not None}
        if self._folder is None or run_ids == self._run_ids:
            return
        self._run_ids = run_ids
        with suppress(OSError):  # a resumed run starts new curves then
            write_text(self._folder / RUN_IDS_FILE, json.dumps(run_ids))

    def _trackers(self) -> list[Tracker]:
        return [callback for callback in self._callbacks if isinstance(callback, Tracker)]

    def _call_all(self, call: Callable[[Callback], None]) -> None:
        for callback in list(self._callbacks):
            if not isinstance(callback, Tracker):
                call(callback)
                continue
            try:
                with redirect_stdout(sys.stderr):  # standard output is for results
                    call(callback)
            except Exception as error:  # whatever a tracker's library raises: the run is worth more than its curves
                self._leave_out(callback, error)

    def _leave_out(self, tracker: Tracker, error: Exception) -> None:
        self._callbacks.remove(tracker)
        reason = shorten(str(error), MAX_REASON_LENGTH, placeholder=" ...") or type(error).__name__
        notice = f"The tracker {tracker.name} failed and was left out for the rest of the run: {reason}"
        self.notices.append(notice)
        self._progress.log(notice, logging.WARNING)


def _read_run_ids(folder: Path | None) -> dict[str, str]:
    try:
        found = json.loads(((folder or Path()) / RUN_IDS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def flat_options(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested options.

    Args:
        options: Plain JSON.
        prefix: Start of all names.

    Returns:
        Dotted name to number, text, bool or None; lists as JSON. Empty mappings are left out.

    Example:
        >>> flat_options({"train": {"epochs": 20}, "drop": ["a"], "encoder": {}})
        {'train.epochs': 20, 'drop': '["a"]'}
    """
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            flat |= flat_options(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
    return flat


def epoch_metrics(entry: Mapping[str, Any], primary: Mapping[str, str]) -> dict[str, float]:
    """Flatten an entry of the history.

    Args:
        entry: The entry.
        primary: Target to its primary metric.

    Returns:
        Name to number, as ``Callback.on_epoch_end`` describes; numbers that are not finite are left out.
    """
    metrics = {name: entry[name] for name in ENTRY_METRICS if name in entry}
    for target, value in entry["validation_score"].items():
        metrics[f"validation/{target}/{primary[target]}"] = value
    for target, streams in entry["stream_scores"].items():
        for stream, value in streams.items():
            metrics[f"validation_streams/{target}/{stream}/{primary[target]}"] = value
    return {name: value for name, value in metrics.items() if _is_number(value)}


def final_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the scores of an evaluation.

    Args:
        evaluation: The ``evaluation`` of the report data.

    Returns:
        Name to number, as ``Callback.on_train_end`` describes; numbers that are not finite are left out.
    """
    return {
        name: value
        for section, prefix in FINAL_SECTIONS.items()
        for name, value in _numbers(evaluation.get(section) or {}, prefix)
    }


def _numbers(scores: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in scores.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}/{name}")
        elif _is_number(value):
            yield f"{prefix}/{name}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
