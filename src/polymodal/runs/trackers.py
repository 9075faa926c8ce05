"""Experiment trackers that a run can be logged to: TensorBoard, MLflow, trackio and Weights & Biases.

Each is a callback and imports its library when training starts (no torch here). Server, project and login are those of
the library's own environment variables; what a variable does not name is called ``polymodal``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from polymodal.errors import ConfigError, parameter_error
from polymodal.runs.callbacks import Callback, TrainingRun

PROJECT = "polymodal"
MLFLOW_MAX_PARAMS = 100
"""Most parameters of a request to MLflow."""
MLFLOW_MAX_LENGTH = 6000
"""Most characters of a parameter in MLflow."""


class Tracker(Callback):
    """Base class of trackers.

    Attributes:
        name: Name of the tracker, as in ``--log``.
        run_id: What the tracker calls the run; set before ``on_train_start`` where a run is resumed.
    """

    name = ""
    run_id: str | None = None


class TensorBoardTracker(Tracker):
    """Writes an event file to ``tensorboard/`` in the run folder; the training step is the x-axis."""

    name = "tensorboard"

    def on_train_start(self, run: TrainingRun) -> None:
        """Keep the run; the folder is made with the first epoch, when there is something to resume.

        Args:
            run: The run.
        """
        self._run = run
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            metrics: Its metrics.
        """
        writer, step = self._opened(), int(metrics["step"])
        for name, value in (_curves(metrics) | {"epoch": epoch}).items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def on_train_end(self, metrics: Mapping[str, float], report_path: Path | None) -> None:
        """Write the final metrics with the options as hyperparameters, and where the report is.

        Args:
            metrics: The final metrics.
            report_path: The report.
        """
        writer = self._opened()
        options = {name: "" if value is None else value for name, value in self._run.options.items()}
        writer.add_hparams(options, dict(metrics), run_name=".")
        writer.add_text("report", str(report_path))
        writer.close()

    def on_exception(self, error: BaseException) -> None:  # noqa: ARG002
        """Close the event file.

        Args:
            error: Why the run ends.
        """
        if self._writer is not None:
            self._writer.close()

    def _opened(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = SummaryWriter(str((self._run.folder or Path()) / "tensorboard"))
            self._writer.add_text("options", _markdown(self._run.options))
            self._writer.add_text("command", self._run.command or "polymodal.fit")
        return self._writer


class MlflowTracker(Tracker):
    """Logs to MLflow: ``MLFLOW_TRACKING_URI`` names the server, ``MLFLOW_EXPERIMENT_NAME`` the experiment."""

    name = "mlflow"

    def on_train_start(self, run: TrainingRun) -> None:
        """Start the run with the options as parameters, or go on with it.

        Args:
            run: The run.
        """
        from mlflow import MlflowClient

        self._client, self._step = MlflowClient(), run.steps_done
        if self.run_id is not None:
            self._client.update_run(self.run_id, status="RUNNING")
            return
        tags = {} if run.command is None else {"mlflow.source.name": run.command}
        self.run_id = self._client.create_run(self._experiment_id(), run_name=run.name, tags=tags).info.run_id
        self._log_params(run.options)

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            metrics: Its metrics.
        """
        self._step = int(metrics["step"])
        self._log_metrics(_curves(metrics) | {"epoch": epoch})

    def on_train_end(self, metrics: Mapping[str, float], report_path: Path | None) -> None:
        """Log the final metrics, and the report as an artefact.

        Args:
            metrics: The final metrics.
            report_path: The report.
        """
        self._log_metrics(metrics)
        if report_path is not None:
            self._client.log_artifact(self.run_id, str(report_path))
        self._client.set_terminated(self.run_id)

    def on_exception(self, error: BaseException) -> None:
        """End the run as failed or killed.

        Args:
            error: Why the run ends.
        """
        self._client.set_terminated(self.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")

    def _experiment_id(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)

    def _log_params(self, options: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(_mlflow_name(name), str(value)[:MLFLOW_MAX_LENGTH]) for name, value in options.items()]
        for start in range(0, len(params), MLFLOW_MAX_PARAMS):
            self._client.log_batch(self.run_id, params=params[start : start + MLFLOW_MAX_PARAMS])

    def _log_metrics(self, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        logged = [Metric(_mlflow_name(name), float(value), now, self._step) for name, value in metrics.items()]
        self._client.log_batch(self.run_id, metrics=logged)


class TrackioTracker(Tracker):
    """Logs to trackio, on this machine unless its own variables name a Space; ``TRACKIO_PROJECT`` names the project."""

    name = "trackio"

    def on_train_start(self, run: TrainingRun) -> None:
        """Start the run with the options as its configuration, or go on with it.

        Args:
            run: The run.
        """
        import trackio

        self._step = run.steps_done
        resume = "never" if self.run_id is None else "must"
        self.run_id = self.run_id or f"{run.name}-{uuid4().hex[:8]}"
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._run = trackio.init(project, self.run_id, config=dict(run.options), resume=resume, embed=False)

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            metrics: Its metrics.
        """
        self._step = int(metrics["step"])
        self._run.log(_curves(metrics) | {"epoch": epoch}, step=self._step)

    def on_train_end(self, metrics: Mapping[str, float], report_path: Path | None) -> None:
        """Log the final metrics, and the report as an artefact.

        Args:
            metrics: The final metrics.
            report_path: The report.
        """
        self._run.log(dict(metrics), step=self._step)
        if report_path is not None:
            self._run.log_artifact(report_path, name=_artifact_name(self.run_id), type="report")
        self._run.finish()

    def on_exception(self, error: BaseException) -> None:  # noqa: ARG002
        """End the run.

        Args:
            error: Why the run ends.
        """
        self._run.finish()


class WandbTracker(Tracker):
    """Logs to Weights & Biases: ``WANDB_PROJECT`` names the project, ``WANDB_MODE=offline`` needs no login."""

    name = "wandb"

    def on_train_start(self, run: TrainingRun) -> None:
        """Start the run with the options as its configuration, or go on with it.

        Args:
            run: The run.
        """
        import wandb

        self.run_id = self.run_id or uuid4().hex[:8]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=self.run_id,
            resume="allow",
            config=dict(run.options),
            settings=wandb.Settings(console="off"),
        )

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            metrics: Its metrics.
        """
        self._run.log(_curves(metrics) | {"epoch": epoch}, step=int(metrics["step"]))

    def on_train_end(self, metrics: Mapping[str, float], report_path: Path | None) -> None:
        """Log the final metrics as the summary, and the report as an artefact.

        Args:
            metrics: The final metrics.
            report_path: The report.
        """
        self._run.summary.update(dict(metrics))
        if report_path is not None:
            self._run.log_artifact(str(report_path), name=_artifact_name(self.run_id), type="report")
        self._run.finish()

    def on_exception(self, error: BaseException) -> None:  # noqa: ARG002
        """End the run as failed.

        Args:
            error: Why the run ends.
        """
        self._run.finish(exit_code=1)


@dataclass(frozen=True)
class TrackerEntry:
    """A row of the table of trackers.

    Attributes:
        title: Its name as people write it.
        package: What is imported; the extra of polymodal has the tracker's name.
        build: Makes the tracker.
        needs_folder: Whether it writes to the run folder.
    """

    title: str
    package: str
    build: Callable[[], Tracker]
    needs_folder: bool = False


TRACKERS: dict[str, TrackerEntry] = {
    "tensorboard": TrackerEntry("TensorBoard", "tensorboard", TensorBoardTracker, needs_folder=True),
    "mlflow": TrackerEntry("MLflow", "mlflow", MlflowTracker),
    "trackio": TrackerEntry("trackio", "trackio", TrackioTracker),
    "wandb": TrackerEntry("Weights & Biases", "wandb", WandbTracker),
}


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers can be used; their libraries are looked for, not imported.

    Args:
        names: Names of trackers.

    Raises:
        ConfigError: If there is no such tracker, or its library is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise parameter_error("log", "a run", f"some of: {', '.join(TRACKERS)}", name)
        entry = TRACKERS[name]
        if importlib.util.find_spec(entry.package) is None:
            raise ConfigError(
                f"Logging to {entry.title} needs the package {entry.package}, which is not installed. "
                f"Install it: pip install 'polymodal[{name}]'."
            )


def build_trackers(names: Sequence[str], folder: Path | None) -> list[Tracker]:
    """Build trackers.

    Args:
        names: Names of trackers.
        folder: The run's folder, if it has one.

    Returns:
        The trackers.

    Raises:
        ConfigError: If there is no such tracker, its library is not installed, or it needs a folder.
    """
    check_trackers(names)
    chosen = dict.fromkeys(names)
    for name in chosen:
        if TRACKERS[name].needs_folder and folder is None:
            raise ConfigError(f"Logging to {TRACKERS[name].title} writes to the run folder. Name one with output.")
    return [TRACKERS[name].build() for name in chosen]


def _curves(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name != "step"}


def _markdown(options: Mapping[str, Any]) -> str:
    return "\n".join(["| option | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in options.items())])


def _mlflow_name(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)


def _artifact_name(run_id: str | None) -> str:
    return re.sub(r"[^\w\-.]", "-", f"report-{run_id}", flags=re.ASCII)
