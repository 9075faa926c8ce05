"""Run folders: what a failed, killed or running run leaves, and who may write there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import polymodal
import polymodal.progress
import tiny
from polymodal.config import RunConfig
from polymodal.errors import ConfigError
from polymodal.runs.folder_lock import LOCK_FILE, locked_folder
from polymodal.runs.run_folder import STARTED_CONFIG, STATE_FILE, open_run_folder

RUN = {"model", "report.html", "metrics.json", "run.yaml", "log.txt"}
TEMPORARY = ".asked.yaml.0123456789ab.tmp"
UNFINISHED_MODEL = ".model.0123456789ab.tmp"

ENTER = """
import sys
from pathlib import Path
from polymodal.runs.folder_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    pass
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refuse(folder: Path, reason: str, resume: bool) -> None:
    with pytest.raises(ConfigError, match=reason), open_run_folder(folder, RunConfig(), resume):
        pass


def fail(folder: Path, **options: Any) -> None:
    with pytest.raises(ConfigError):
        tiny.train(tiny.numbers_table(), output=folder, settings={"train.loss": "logit_adjusted"}, target="size")


def test_a_run_that_fails_before_training_leaves_nothing(tmp_path: Path) -> None:
    fail(tmp_path / "runs" / "run")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "mine").mkdir()
    fail(tmp_path / "mine")
    assert names(tmp_path / "mine") == set()
    tiny.train(tiny.numbers_table(), output=tmp_path / "mine", resume=True)
    assert names(tmp_path / "mine") == RUN


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "left",
    [
        [],
        [LOCK_FILE],
        [LOCK_FILE, TEMPORARY],
        [LOCK_FILE, STARTED_CONFIG, ".training.safetensors.0123456789ab.tmp"],
        [STARTED_CONFIG, "log.txt"],
        ["asked.tmp"],
        [STARTED_CONFIG, "training.tmp"],
    ],
)
def test_what_a_kill_before_the_first_checkpoint_leaves_is_no_obstacle(
    left: list[str], resume: bool, tmp_path: Path
) -> None:
    """Nor are other options: no training is lost."""
    for name in left:
        (tmp_path / name).write_text("seed: 7" if name == STARTED_CONFIG else "")
    with open_run_folder(tmp_path, RunConfig(), resume):
        assert names(tmp_path) - {"asked.tmp", "training.tmp", "log.txt"} == {LOCK_FILE, STARTED_CONFIG}
    assert LOCK_FILE not in names(tmp_path)


@pytest.mark.parametrize("name", ["log.txt", "holiday.txt", "training.yaml", STATE_FILE, ".hidden", "a.tmp"])
def test_anything_else_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    for resume in (False, True):
        refuse(tmp_path, "hoose another --output", resume)
    assert names(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "precious"


def test_a_run_that_fails_after_a_checkpoint_can_be_resumed(tmp_path: Path) -> None:
    run = open_run_folder(tmp_path, RunConfig(), False)
    run.__enter__()
    (tmp_path / STATE_FILE).write_text("")
    (tmp_path / UNFINISHED_MODEL).mkdir()
    assert not run.__exit__(OSError, OSError("the disk is full"), None)
    assert names(tmp_path) == {STARTED_CONFIG, STATE_FILE, UNFINISHED_MODEL}
    refuse(tmp_path, "add --resume", resume=False)
    with open_run_folder(tmp_path, RunConfig(), True):
        assert names(tmp_path) == {STARTED_CONFIG, STATE_FILE, LOCK_FILE}


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Of the same process or of another one, resumed or not, while the first one trains."""
    refused: list[str] = []
    child = [sys.executable, "-c", ENTER, str(tmp_path / "run")]

    class Second(polymodal.progress.SilentProgress):
        def phase(self, name: str, total: int | None) -> Any:
            if name == "training":
                for resume in (False, True):
                    with pytest.raises(ConfigError) as found:
                        tiny.train(tiny.numbers_table(), output=tmp_path / "run", resume=resume)
                    refused.append(str(found.value))
                done = subprocess.run(child, capture_output=True, text=True, check=False)
                refused.append(done.stderr.strip().splitlines()[-1].partition(": ")[2])
            return super().phase(name, total)

    tiny.train(tiny.numbers_table(), output=tmp_path / "run", progress=Second())
    sentence = f"Another run is writing to {tmp_path / 'run'}. Wait until it ends, or choose another --output."
    assert refused == [sentence] * 3
    assert names(tmp_path / "run") == RUN


def test_a_second_comparison_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "both"), pytest.raises(ConfigError, match="Another run is writing to"):
        polymodal.compare(
            tiny.numbers_table(), target="kind", fusions=["sum"], settings=tiny.QUICK, output=tmp_path / "both"
        )
    assert not (tmp_path / "both").exists()


def test_a_killed_process_leaves_no_lock_even_with_a_child_that_lives_on(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from polymodal.runs.folder_lock import locked_folder
reading, writing = os.pipe()
with locked_folder(Path({str(tmp_path)!r})):
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    print(os.getpid(), flush=True)
    os.close(1)
    os.read(0, 1)
    os._exit(0)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert process.wait() == -signal.SIGKILL
    os.kill(child, 0)  # it lives
    assert LOCK_FILE in names(tmp_path)
    with locked_folder(tmp_path):
        pass
    process.stdin.close()
    process.stdout.close()
