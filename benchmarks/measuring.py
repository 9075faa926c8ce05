"""Processes and what they took: the one way in which ``speed.py`` measures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data")) / "avdigits"
THREADS = 2
OPTIONS = ("--target", "digit", "--group", "speaker", "--drop", "speaker", "--set", "train.patience=1000")
"""Training on avdigits, every epoch of it."""


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes:
        wall_s: From start to end.
        cpu_s: User and system time, its own processes included.
        found: What it said of itself: accuracy, epochs_s and, of polymodal, phases.
    """

    wall_s: float
    cpu_s: float
    found: dict[str, Any]

    def state(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def measure(command: list[str], environment: dict[str, str] | None = None) -> Measured:
    """Run a process with two threads.

    Args:
        command: The process.
        environment: Further variables.

    Returns:
        Its time and the JSON object it printed.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": str(THREADS), **(environment or {})}
    with tempfile.TemporaryFile("w+") as errors:
        started, before = time.perf_counter(), os.times()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables)
        wall_s, after = time.perf_counter() - started, os.times()
        errors.seek(0)
        if done.returncode:
            stop(f"{' '.join(command)} failed:\n{errors.read()}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(wall_s, cpu_s, json.loads(done.stdout) if done.stdout.startswith("{") else {})


def measure_polymodal(
    scratch: Path,
    options: list[str],
    data: Path = DATA,
    cache: str = "cache",
    program: tuple[str, ...] = (),
) -> Measured:
    """Train with polymodal.

    Args:
        scratch: Folder of the run, ``run``, and of what it decodes.
        options: Target, seed and so on.
        data: Folder with train.csv, validation.csv and test.csv.
        cache: Folder in ``scratch`` for decoded arrays; an empty one decodes everything anew.
        program: What stands in place of ``polymodal``, such as a launcher of several processes.

    Returns:
        The measurement; ``found`` holds accuracy, epochs_s and phases.
    """
    files = [str(data / "train.csv"), "--validation", str(data / "validation.csv"), "--test", str(data / "test.csv")]
    given = [*files, *options, "--output", str(scratch / "run"), "--json"]
    command = [*(program or [polymodal_command()]), "train", *given]
    measured = measure(command, {"POLYMODAL_CACHE": str(scratch / cache)})
    record = json.loads((scratch / "run" / "metrics.json").read_text(encoding="utf-8"))["record"]
    (scores,) = measured.found["targets"].values()
    found = {
        "accuracy": scores["accuracy"],
        "epochs_s": [epoch["seconds"] for epoch in record["history"]],
        "phases": record["seconds"],
    }
    return Measured(measured.wall_s, measured.cpu_s, found)


def measure_start(command: list[str], times: int) -> float:
    """Return the median wall time of a short process, after one run that warms the disk.

    Args:
        command: The process.
        times: How often it is run.

    Returns:
        Seconds.
    """
    return statistics.median([measure(command).wall_s for _ in range(times + 1)][1:])


def polymodal_command() -> str:
    """Return the command line's path beside this Python."""
    return str(Path(sys.executable).with_name("polymodal"))


def stop(sentence: str) -> NoReturn:
    """End the benchmark with a sentence.

    Args:
        sentence: What is wrong.
    """
    sys.exit(sentence)


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes.

    Args:
        work: What to do.

    Returns:
        Seconds.
    """
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
