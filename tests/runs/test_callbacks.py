"""What a run tells while it trains: callbacks, trackers, log.txt and log records; also of a run that is resumed."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import polymodal
import tiny
from polymodal.errors import ConfigError
from polymodal.runs.callbacks import Callback, TrainingRun
from polymodal.runs.run_callbacks import epoch_metrics, final_metrics, flat_options
from polymodal.runs.trackers import TRACKERS, Tracker, TrackerEntry, check_trackers

EPOCHS = 3
SETTINGS = {"train.epochs": EPOCHS, "train.average_checkpoints": 1}
EPOCH_LINE = (
    r"epoch 1 of 3: step 3 of 9, train loss [\d.]+, validation loss [\d.]+, kind accuracy [\d.]+, [\d,]+ rows/s, "
    r"about [^ ]+ s left$"
)


class Recorder(Callback):
    """Records what it is told, and what the log holds by then; may stop the run."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.told: list[Any] = []
        self.logged: list[str] = []
        self.run: TrainingRun | None = None
        self.error: BaseException | None = None

    def on_train_start(self, run: TrainingRun) -> None:
        self.run = run
        self.told.append("start")

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.told.append((epoch, metrics["step"]))
        assert self.run is not None
        if self.run.folder is not None:
            self.logged.append((self.run.folder / "log.txt").read_text(encoding="utf-8"))
        if epoch == self.stop_after:
            raise KeyboardInterrupt

    def on_train_end(self, metrics: Mapping[str, float], report_path: Path | None) -> None:
        assert report_path is None or report_path.is_file()
        self.told.append(sorted(name for name in metrics if name.endswith("/accuracy")))

    def on_exception(self, error: BaseException) -> None:
        self.error = error


def train(folder: Path | None, *callbacks: Callback, **arguments: Any) -> polymodal.Model:
    return tiny.train(tiny.numbers_table(), settings=SETTINGS, output=folder, callbacks=callbacks, **arguments)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Recorder, Recorder]]:
    """Stop a run after its second epoch and resume it, with TensorBoard."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    first, second = Recorder(stop_after=2), Recorder()
    with tiny.decode_cache(folder.parent), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TensorBoard's own imports
        with pytest.raises(KeyboardInterrupt):
            train(folder, first, log=["tensorboard"])
        train(folder, second, log=["tensorboard"], resume=True)
        yield folder, first, second


def test_callbacks_are_told_of_start_epochs_and_end(resumed: tuple[Path, Recorder, Recorder]) -> None:
    _, first, second = resumed
    assert first.told == ["start", (1, 3), (2, 6)]
    assert isinstance(first.error, KeyboardInterrupt)
    assert second.told[:2] == ["start", (3, 9)]
    names = second.told[2]
    assert "final/kind/accuracy" in names
    assert "final_streams/kind/tabular/accuracy" in names
    assert "final_baselines/kind/prior/accuracy" in names
    assert second.error is None


def test_callbacks_know_the_run(resumed: tuple[Path, Recorder, Recorder]) -> None:
    folder, first, second = resumed
    assert first.run is not None
    assert second.run is not None
    assert (first.run.name, first.run.folder, first.run.epochs_done, first.run.steps_done) == ("run", folder, 0, 0)
    assert (second.run.epochs_done, second.run.steps_done) == (2, 6)
    assert first.run.options["train.epochs"] == EPOCHS
    assert first.run.options["target"] == '["kind"]'


def test_the_log_grows_as_the_run_goes(resumed: tuple[Path, Recorder, Recorder]) -> None:
    folder, first, second = resumed
    assert "epoch 2" not in first.logged[0]
    assert re.search(EPOCH_LINE, first.logged[0], re.MULTILINE)
    assert second.logged[0].startswith(first.logged[1])  # a resumed run adds to it
    text = (folder / "log.txt").read_text(encoding="utf-8")
    assert [len(re.findall(f"epoch {number} of", text)) for number in (1, 2, 3)] == [1, 1, 1]
    for words in ("started: polymodal.fit", "stopped: KeyboardInterrupt", "resumed: polymodal.fit", "finished in"):
        assert words in text


def test_tensorboard_has_one_curve_of_a_resumed_run(resumed: tuple[Path, Recorder, Recorder]) -> None:
    folder, _, _ = resumed
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("epoch")] == [(3, 1), (6, 2), (9, 3)]
    assert [event.step for event in events.Scalars("validation_loss")] == [3, 6, 9]
    assert len(events.Scalars("validation/kind/accuracy")) == EPOCHS
    assert len(events.Scalars("final/kind/accuracy")) == 1
    assert "options/text_summary" in events.Tags()["tensors"]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_a_finished_run_leaves_no_names_of_trackers(resumed: tuple[Path, Recorder, Recorder]) -> None:
    folder, _, _ = resumed
    found = {path.name for path in folder.iterdir()}
    assert found == {"model", "report.html", "metrics.json", "run.yaml", "log.txt", "tensorboard"}


def test_python_logs_through_logging_and_prints_nothing(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="polymodal"):
        model = train(None)
        model.predict(tiny.numbers_table())
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
    infos = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert any(re.match(EPOCH_LINE, line) for line in infos)
    assert "training: 0 of 9" in infos
    assert any(line.startswith("predicting") for line in infos)
    noticed = [record.message.removeprefix("- ") for record in caplog.records if record.levelno == logging.WARNING]
    assert noticed == model.report_data["notices"]


def test_details_are_debug_records(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="polymodal"):
        train(None)
    details = "\n".join(record.message for record in caplog.records if record.levelno == logging.DEBUG)
    assert re.search(r"training on \w+(:\d+)? in \w+: [\d,]+ trained parameters", details)
    assert "epoch 3: a step took " in details


class FailingTracker(Tracker):
    name = "failing"
    calls = 0

    def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
        print("a tracker that prints")
        type(self).calls += 1
        raise RuntimeError("the server is gone")


def test_a_tracker_that_fails_never_loses_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TRACKERS, "failing", TrackerEntry("Failing", "polymodal", FailingTracker))
    model = train(None, log=["failing"])
    assert FailingTracker.calls == 1
    notice = "The tracker failing failed and was left out for the rest of the run: the server is gone"
    assert notice in model.report_data["notices"]
    assert capsys.readouterr().out == ""


class Raising(Callback):
    """Raises at one of the events."""

    def __init__(self, event: str) -> None:
        setattr(self, event, self._raise)

    def _raise(self, *_: object) -> None:
        raise RuntimeError("wrong")


def test_a_finished_run_keeps_its_log_whatever_is_raised_then(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="wrong"):
        train(tmp_path / "run", Raising("on_train_end"))
    text = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert "finished in" in text
    assert "stopped: wrong" in text
    polymodal.load(tmp_path / "run")


def test_a_run_that_ends_before_its_first_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="wrong"):
        train(tmp_path / "run", Raising("on_train_start"), log=["tensorboard"])
    assert not (tmp_path / "run").exists()


def test_what_a_callback_raises_ends_the_run() -> None:
    class Wrong(Callback):
        def on_epoch_end(self, epoch: int, metrics: Mapping[str, float]) -> None:
            raise ZeroDivisionError

    told = Recorder()
    with pytest.raises(ZeroDivisionError):
        train(None, told, Wrong())
    assert isinstance(told.error, ZeroDivisionError)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"is not installed\. Install it: pip install 'polymodal\[{name}\]'\.$"):
        polymodal.fit("nowhere.csv", log=[name])


def test_trackers_that_cannot_work_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"some of: tensorboard, mlflow, trackio, wandb\. Got 'tensorbord' instead"):
        check_trackers(["tensorbord"])
    with pytest.raises(ConfigError, match=r"TensorBoard writes to the run folder\. Name one with output\."):
        polymodal.fit("nowhere.csv", log=["tensorboard"])


def test_a_comparison_logs_each_run(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        polymodal.compare(
            tiny.numbers_table(),
            target="kind",
            fusions=["concat", "sum"],
            settings=tiny.QUICK,
            output=tmp_path / "both",
            log=["tensorboard"],
        )
    found = {path.parent.parent.name for path in (tmp_path / "both").glob("results/*/tensorboard/events*")}
    assert {name.rpartition("-")[0] for name in found} == {"concat-0", "sum-0"}


def test_metrics_are_numbers_with_one_name_each() -> None:
    entry = {
        "epoch": 0, "step": 4, "train_loss": 1.0, "validation_loss": float("nan"), "learning_rate": 0.1, "seconds": 2.0,
        "rows_per_s": 8.0, "validation_score": {"kind": 0.5}, "stream_scores": {"kind": {"photo": 0.25}},
    }  # fmt: skip
    found = epoch_metrics(entry, {"kind": "accuracy"})
    assert "validation_loss" not in found
    assert found["validation/kind/accuracy"] == 0.5
    assert found["validation_streams/kind/photo/accuracy"] == 0.25
    evaluation = {"targets": {"kind": {"accuracy": 0.5, "map": None}}, "baselines": {"kind": {"prior": {"ece": 0.1}}}}
    assert final_metrics(evaluation) == {"final/kind/accuracy": 0.5, "final_baselines/kind/prior/ece": 0.1}
    assert flat_options({"a": {"b": None, "c": {}}, "d": [1]}) == {"a.b": None, "d": "[1]"}


def test_mlflow_has_curves_options_and_report_of_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no local store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    from mlflow import MlflowClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", Recorder(stop_after=1), log=["mlflow"])
        train(tmp_path / "run", log=["mlflow"], resume=True)
        client = MlflowClient()
        experiment = client.get_experiment_by_name("polymodal")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
        assert run.data.params["train.epochs"] == str(EPOCHS)
        assert "final/kind/accuracy" in run.data.metrics
        assert [point.step for point in client.get_metric_history(run.info.run_id, "train_loss")] == [3, 6, 9]
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["report.html"]


@pytest.mark.parametrize(("name", "kept"), [("wandb", "wandb/offline-run-*/*.wandb"), ("trackio", "trackio/*.db")])
def test_other_trackers_work_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kept: str) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when trackio is imported
    pytest.importorskip(name, reason=f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = train(tmp_path / "run", log=[name])
    assert [notice for notice in model.report_data["notices"] if "tracker" in notice] == []
    assert list(tmp_path.glob(kept))
