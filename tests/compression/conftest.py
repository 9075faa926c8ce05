"""A tiny run that is compressed once, and what it was trained on."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import polymodal
from polymodal.compression import candidate, measure
from polymodal.compression.points import Compression

WORDS = ("purrs on the sofa", "barks at the gate", "hoots in the night")
KINDS = ("cat", "dog", "owl")
SETTINGS = {"train.epochs": 6, "train.batch_size": 16, "width": 64, "num_threads": 1}


def write_rows(path: Path, rows: int = 160) -> Path:
    """Write a table whose text and number both tell the kind."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(rows) % 3)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["note", "size", "colour", "kind"])
        for label in labels:
            note = f"it {WORDS[label]} on day {random.integers(9)}" if random.random() > 0.1 else ""
            size = f"{3 * label + random.normal(0, 0.4):.3f}"
            writer.writerow([note, size, ("red", "green", "blue")[random.integers(3)], KINDS[label]])
    return path


@pytest.fixture(scope="session", autouse=True)
def few_repeats() -> Iterator[None]:
    """Fit few ensembles and time few calls: the figures are not looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidate, "FOLDS", 2)
        patch.setattr(measure, "REPEATS", 4)
        yield


@pytest.fixture(scope="session")
def rows_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.csv")


@pytest.fixture(scope="session")
def run(rows_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "kinds"
    polymodal.fit(str(rows_path), target="kind", output=folder, settings=SETTINGS)
    return folder


@pytest.fixture(scope="session")
def found(run: Path) -> Compression:
    """Compress the run by students and fewer members."""
    return polymodal.compress(run, max_drop="10%", methods=["members", "distilled"])
