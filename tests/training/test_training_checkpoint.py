"""Training checkpoints: runs that are killed, resumed, repeated or refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW
from typer.testing import CliRunner, Result

import polymodal
import polymodal.progress
import tiny
from polymodal.cli.main import app
from polymodal.errors import CheckpointError, ConfigError
from polymodal.runs.folder_lock import entries
from polymodal.runs.run_folder import STATE_FILE
from polymodal.training.state import TrainingState
from polymodal.training.strategy import Strategy
from polymodal.training.training_checkpoint import load_checkpoint, save_checkpoint

DEADLINE_S = 900
LONG = ["train.epochs=3", "train.batch_size=8", "train.checkpoint_steps=2", "width=16", "baselines=false"]
MANY_STEPS = [*LONG, "num_threads=1", "train.patience=6"]


def train_command(data: Path, output: Path, *more: str) -> list[str]:
    settings = [argument for setting in MANY_STEPS for argument in ("--set", setting)]
    command = [sys.executable, "-m", "polymodal.cli.main", "train", str(data), "--target", "kind", "--target", "weight"]
    return [*command, *settings, "--seed", "3", "--output", str(output), "--json", *more]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def run_here(command: list[str]) -> Result:
    """Run a command in this process, which needs no start."""
    return CliRunner().invoke(app, command[3:])


def scores(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {name: found[name] for name in ("rows", "targets", "fusion", "streams", "baselines", "missing", "decision")}


KILLED = """
import os
import signal
from polymodal.training import trainer
from polymodal.cli.main import main

save_checkpoint = trainer.save_checkpoint


def save_and_die(*given):
    save_checkpoint(*given)
    os.kill(os.getpid(), signal.SIGKILL)


trainer.save_checkpoint = save_and_die
main()
"""
"""A run that is killed, with no chance to clean up, once it has saved its first checkpoint."""


def run_killed(command: list[str]) -> None:
    python, _, _, *arguments = command
    found = run([python, "-c", KILLED, *arguments])
    assert found.returncode == -signal.SIGKILL, found.stderr


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Train once without interruption, and once killed in mid-epoch and resumed, in processes of their own."""
    folder = tmp_path_factory.mktemp("runs")
    with tiny.decode_cache(folder):
        table = tiny.only(tiny.write_table(folder, rows=90), "photo", "note", "size", "colour", "kind", "weight")
        data = tiny.write_csv(table, folder / "tiny.csv")
        whole = run_here(train_command(data, folder / "whole"))
        command = train_command(data, folder / "broken")
        state = folder / "broken" / STATE_FILE
        run_killed(command)
        step = _saved_step(state)
        left = sorted(entries(folder / "broken"))
        refused = run_here([*command, "--resume", "--set", "train.epochs=4"])
        again = run([*command, "--resume"])
        twice = run_here([*command, "--resume"])
    return {
        "folder": folder, "whole": whole, "step": step, "left": left, "refused": refused, "again": again, "twice": twice
    }  # fmt: skip


def _saved_step(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return int(json.loads(file.metadata()["state"])["step"])


@pytest.mark.slow
def test_a_killed_run_leaves_its_state_and_no_half_written_model(killed: dict[str, Any]) -> None:
    assert killed["left"] == ["asked.yaml", "log.txt", STATE_FILE]
    assert killed["step"] % 2 == 0


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(killed: dict[str, Any]) -> None:
    assert killed["whole"].exit_code == 0, killed["whole"].output
    assert killed["again"].returncode == 0, killed["again"].stderr
    assert scores(killed["again"].stdout) == scores(killed["whole"].stdout)
    first, second = (polymodal.load(killed["folder"] / name) for name in ("whole", "broken"))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(second))
    for entry, other in zip(first.report_data["history"], second.report_data["history"], strict=True):
        durations = {"seconds": 0, "rows_per_s": 0}
        assert entry | durations == other | durations


@pytest.mark.slow
def test_the_log_of_a_killed_run_goes_on(killed: dict[str, Any]) -> None:
    lines = (killed["folder"] / "broken" / "log.txt").read_text(encoding="utf-8").splitlines()
    starts = [word for line in lines for word in (" started: ", " resumed: ") if word in line]
    assert starts == [" started: ", " resumed: "]
    assert " finished in " in lines[-1]


@pytest.mark.slow
def test_a_finished_run_is_complete_and_has_no_temporary_files(killed: dict[str, Any]) -> None:
    for name in ("whole", "broken"):
        found = {path.name for path in (killed["folder"] / name).iterdir()}
        assert found == {"model", "report.html", "metrics.json", "run.yaml", "log.txt"}


@pytest.mark.slow
def test_resuming_with_other_options_is_refused_in_one_sentence(killed: dict[str, Any]) -> None:
    refused = killed["refused"]
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert "was started with another 'train': " in refused.stderr
    assert "Repeat its options to resume it, or choose another --output." in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_resuming_a_finished_run_gives_its_results_again(killed: dict[str, Any]) -> None:
    assert killed["twice"].exit_code == 0
    assert scores(killed["twice"].stdout) == scores(killed["whole"].stdout)


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_run_stopped_at_any_step_resumes_the_same(tmp_path: Path, steps: int) -> None:
    data = tiny.numbers_table()
    settings = {"train.epochs": 2, "train.checkpoint_steps": 1}
    whole = tiny.train(data, settings=settings, output=tmp_path / "whole")

    class Stop(Exception):  # noqa: N818
        pass

    class Stopper(polymodal.progress.SilentProgress):
        def phase(self, name: str, total: int | None) -> Any:
            return Phase() if name == "training" else super().phase(name, total)

    class Phase:
        done = 0

        def __enter__(self) -> Phase:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def advance(self, number: int, note: str | None = None) -> None:
            if self.done == steps:
                raise Stop
            self.done += number

    with pytest.raises(Stop):
        tiny.train(data, settings=settings, output=tmp_path / "broken", progress=Stopper())
    assert (tmp_path / "broken" / STATE_FILE).exists()
    resumed = tiny.train(data, settings=settings, output=tmp_path / "broken", resume=True)
    assert tiny.same(tiny.weights_of(resumed), tiny.weights_of(whole))
    assert tiny.scores_of(resumed) == tiny.scores_of(whole)


def test_resuming_without_a_checkpoint_starts_a_new_run(tmp_path: Path) -> None:
    first = tiny.train(tiny.numbers_table(), output=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model" / "model.json").exists()
    assert tiny.scores_of(first) == tiny.scores_of(tiny.train(tiny.numbers_table()))


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"^The folder .* is not empty\. Choose another --output or remove it\.$"):
        tiny.train(tiny.numbers_table(), output=tmp_path)
    with pytest.raises(ConfigError, match=r"^The folder .* holds no unfinished run to resume\. .*\.$"):
        tiny.train(tiny.numbers_table(), output=tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir() if path.name != "polymodal-cache"] == ["holiday.txt"]


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ConfigError, match=r"^The output .*run is a file\. Choose another --output\.$"):
        tiny.train(tiny.numbers_table(), output=tmp_path / "run")


def test_a_finished_run_is_never_overwritten(tmp_path: Path) -> None:
    tiny.train(tiny.numbers_table(), output=tmp_path / "run")
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    with pytest.raises(ConfigError, match="is not empty"):
        tiny.train(tiny.numbers_table(), output=tmp_path / "run", seed=1)
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before


def test_run_yaml_repeats_the_run(tmp_path: Path) -> None:
    data = tiny.write_csv(tiny.write_table(tmp_path, rows=60), tmp_path / "tiny.csv")
    first = tiny.train(
        data, fusion="gated", seed=7, drop=["note"], output=tmp_path / "run", encoder={"photo": "resnet"}
    )
    again = polymodal.fit(data, config=tmp_path / "run" / "run.yaml")
    assert tiny.scores_of(again) == tiny.scores_of(first)
    assert tiny.same(tiny.weights_of(again), tiny.weights_of(first))
    assert again.report_data["config"] == first.report_data["config"]


def strategy_of(network: Any) -> Strategy:
    optimizer = AdamW(network.parameters(), lr=0.1)
    return Strategy(network=network, optimizer=optimizer, device=torch.device("cpu"))


def trained_strategy() -> Strategy:
    torch.manual_seed(0)
    strategy = strategy_of(torch.nn.Linear(3, 2))
    strategy.network(torch.ones(1, 3)).sum().backward()
    strategy.optimizer.step()
    return strategy


def test_a_checkpoint_restores_every_bit(tmp_path: Path) -> None:
    strategy, other = trained_strategy(), trained_strategy()
    kept = {name: value.clone() for name, value in strategy.network.state_dict().items()}
    state = TrainingState(
        step=5, seconds=1.5, history=[{"epoch": 0}], best=[(0.25, 0)], snapshots=[kept], loss_sum=0.1 + 0.2
    )
    save_checkpoint(tmp_path / "state.safetensors", strategy, state)
    with torch.no_grad():
        other.network.weight.zero_()
    loaded = TrainingState()
    load_checkpoint(tmp_path / "state.safetensors", other, loaded)
    assert torch.equal(other.network.weight, strategy.network.weight)
    assert (loaded.step, loaded.history, loaded.best, loaded.loss_sum) == (5, [{"epoch": 0}], [(0.25, 0)], 0.1 + 0.2)
    assert torch.equal(loaded.snapshots[0]["weight"], kept["weight"])
    first, second = (each.optimizer.state_dict()["state"] for each in (strategy, other))
    assert all(torch.equal(first[i][name], second[i][name]) for i in first for name in first[i])
    assert [path.name for path in tmp_path.glob("state*")] == ["state.safetensors"]


def test_a_damaged_or_foreign_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    strategy = trained_strategy()
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, strategy, TrainingState())
    content = path.read_bytes()
    for damaged in (b"", content[:40], b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"does not fit this run \(.*\)\. Start again without --resume\."):
            load_checkpoint(path, strategy, TrainingState())
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not fit this run"):
        load_checkpoint(path, strategy_of(torch.nn.Linear(4, 2)), TrainingState())
