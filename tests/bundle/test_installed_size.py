"""A fresh environment of base dependencies: how large it is, and that it predicts with a bundle."""

from __future__ import annotations

import csv
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from shipped import Shipped

REPOSITORY = Path(__file__).parents[2]
MOST_BYTES = 350 * 2**20


def _pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ("--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "20")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *quiet, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _size(folder: Path) -> int:
    """Return what the files of a folder take on the disk, the links among them once."""
    files = {(status.st_ino, status.st_blocks * 512) for status in (path.lstat() for path in folder.rglob("*"))}
    return sum(size for _, size in files)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it alone, as the pins say."""
    folder = tmp_path_factory.mktemp("fresh")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    binaries = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    (wheel,) = folder.glob("*.whl")
    pins = ("-c", str(REPOSITORY / "constraints.txt"))
    offline = _pip(binaries / "python", *pins, "numpy")
    if offline.returncode:
        pytest.skip(f"pip reaches no package index: {offline.stderr.strip().splitlines()[-1]}")
    installed = _pip(binaries / "python", *pins, str(wheel))
    assert installed.returncode == 0, installed.stderr
    return binaries


@pytest.mark.exhaustive
def test_a_fresh_environment_is_small(environment: Path) -> None:
    (packages,) = environment.parent.rglob("site-packages")
    assert not (packages / "torch").exists()
    assert _size(packages) <= MOST_BYTES


@pytest.mark.exhaustive
def test_a_fresh_environment_predicts(environment: Path, shipped: Shipped, tmp_path: Path) -> None:
    command = [str(environment / "polymodal"), "predict", str(shipped.bundle), str(shipped.path), "-o", "found.csv"]
    clean = {"PATH": str(environment), "POLYMODAL_CACHE": str(tmp_path / "cache")}
    subprocess.run(command, check=True, cwd=tmp_path, env=clean, capture_output=True)
    with (tmp_path / "found.csv").open(encoding="utf-8") as file:
        labels = [row["kind"] for row in csv.DictReader(file)]
    assert labels == shipped.model.predictions(shipped.table).labels["kind"]
