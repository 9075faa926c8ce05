"""What commands show while they work, where standard error is no terminal."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from polymodal.cli.main import app
from polymodal.cli.progress_bar import StderrHandler, TerminalProgress, open_progress
from polymodal.progress import LOGGER, LoggingProgress, SilentProgress

runner = CliRunner()
QUICK = [word for name, value in tiny.QUICK.items() for word in ("--set", f"{name}={str(value).lower()}")]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tiny.write_csv(tiny.Table(tiny.numbers_table(), name="t"), tmp_path / "t.csv")


def test_train_predict_and_evaluate_write_lines(data: Path) -> None:
    trained = runner.invoke(app, ["train", "t.csv", "--target", "kind", "--output", "run", "--json", *QUICK])
    assert trained.exit_code == 0, trained.output
    lines = [line.split(" ", 2)[2] for line in trained.stderr.splitlines()]
    assert lines[0] == "loading"
    assert "train: 42 rows of t.csv" in lines
    assert any(line.startswith("epoch 1 of 1: step 3 of 3, train loss ") for line in lines)
    assert "judging" in lines
    predicted = runner.invoke(app, ["predict", "run", "t.csv", "-o", "out.csv"])
    assert "predicting" in predicted.stderr
    assert "predicting" in runner.invoke(app, ["predict", "run", "t.csv"]).stderr
    assert "judging" in runner.invoke(app, ["evaluate", "run", "t.csv"]).stderr
    assert runner.invoke(app, ["evaluate", "run", "t.csv", "-q"]).stderr == ""
    verbose = runner.invoke(app, ["train", "t.csv", "--target", "kind", "--output", "two", "-v", *QUICK])
    assert "a step took" in verbose.stderr
    assert "training on" in verbose.stderr


def test_the_first_line_comes_before_torch(data: Path) -> None:
    code = (
        "import builtins, sys\n"
        "from polymodal.cli.main import app\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'numpy'):\n"
        "            raise SystemExit(f'{name} is asked for')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "app(['train', 't.csv', '--target', 'kind'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    first, second = done.stderr.splitlines()
    assert first.endswith(" loading")
    assert second.endswith(" is asked for")


def test_loud_and_quiet_exclude_each_other(data: Path) -> None:
    result = runner.invoke(app, ["train", "t.csv", "-v", "-q"])
    assert result.exit_code == 2
    assert result.stderr == "The options --verbose and --quiet exclude each other. Leave one of them out.\n"


def test_a_tracker_is_checked_before_anything_is_done(data: Path) -> None:
    result = runner.invoke(app, ["train", "t.csv", "--target", "kind", "--log", "tensorbord"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "some of: tensorboard, mlflow, trackio, wandb" in result.stderr


def test_the_logger_is_left_as_it_was() -> None:
    before = (list(LOGGER.handlers), LOGGER.level)
    with open_progress(verbose=True) as progress:
        assert isinstance(progress, LoggingProgress)
        assert any(isinstance(handler, StderrHandler) for handler in LOGGER.handlers)
    assert (list(LOGGER.handlers), LOGGER.level) == before


def test_only_the_main_process_shows_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with open_progress(verbose=True) as progress:
        assert isinstance(progress, SilentProgress)


@pytest.mark.parametrize(("verbose", "shown"), [(True, True), (False, False)])
def test_a_terminal_shows_lines_of_logs_only_if_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verbose: bool, shown: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with open_progress(verbose) as progress:
        assert isinstance(progress, TerminalProgress)
        with progress.phase("training", 10) as phase:
            phase.advance(1, total=20)
            progress.log("epoch 1 of 3", logging.INFO)
            logging.getLogger("polymodal.training").debug("a step took 3 ms")
    captured = capsys.readouterr().err
    assert ("epoch 1 of 3" in captured) is shown
    assert ("a step took 3 ms" in captured) is shown


def test_a_closed_standard_error_does_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, text: str) -> None:
            raise OSError("no space left")

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stderr", Full())
    with open_progress() as progress, progress.phase("training", 3):
        progress.message("half way")
