"""Small tables of every modality with something to learn in each stream, and quick ways to train on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import films
import polymodal
from polymodal.data.tables.table import Table
from polymodal.modalities import MODALITIES
from target_examples import ANIMALS, TARGET_EXAMPLES

TARGETS = ("kind", "tags", "weight")
MODALITY_OF = {
    "photo": "image",
    "sound": "audio",
    "note": "text",
    "code": "vector",
    "size": "number",
    "colour": "category",
    "day": "datetime",
    "clip": "video",
    "trace": "series",
    "cloud": "points",
}
"""Columns of features to what they hold."""
FEATURES = tuple(MODALITY_OF)
MEDIA_STREAMS = tuple(name for name, held in MODALITY_OF.items() if MODALITIES[held].is_stream)
STREAMS = (*MEDIA_STREAMS, "tabular")
KINDS = ANIMALS
WORDS = ("purrs on the sofa", "barks at the gate", "hoots in the night")
RATE_HZ = 4000
TREES_BUDGET_S = 0.1
"""Bounds the boosted trees of the baselines, most of what a small run costs; a clock is not asked."""
QUICK: dict[str, Any] = {"train.epochs": 1, "train.batch_size": 16, "width": 16, "baselines": False, "num_threads": 1}


def write_table(folder: Path, rows: int = 80, seed: int = 0, missing: float = 0.15) -> Table:
    """Write cells of every modality and return the table that holds or names them; some cells are absent."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % len(KINDS))
    columns: dict[str, list[Any]] = {
        "photo": [_write_photo(folder, f"{seed}-{row}", label, random) for row, label in enumerate(labels)],
        "sound": [_write_sound(folder, f"{seed}-{row}", label, random) for row, label in enumerate(labels)],
        "note": [f"it {WORDS[label]} on day {random.integers(9)} of week {random.integers(50)}" for label in labels],
        "code": [json.dumps((np.eye(4)[label] + random.normal(0, 0.3, 4)).round(3).tolist()) for label in labels],
        "size": [f"{label * 2 + random.normal(0, 0.5):.3f}" for label in labels],
        "colour": [("red", "green", "blue")[label if random.random() < 0.8 else 0] for label in labels],
        "day": [f"20{20 + label}-0{random.integers(1, 9)}-1{random.integers(9)}" for label in labels],
    }
    holes = {name: [None if random.random() < missing else cell for cell in cells] for name, cells in columns.items()}
    random = np.random.default_rng([seed, 1])
    clips = [_write_clip(folder, f"{seed}-{row}", label, random) for row, label in enumerate(labels)]
    holes["clip"] = [None if random.random() < missing else clip for clip in clips]
    holes |= _sensor_cells(labels, seed, missing)
    targets: dict[str, list[Any]] = {
        "kind": [KINDS[label] for label in labels],
        "tags": [("furry|tame", "furry|loud", "feathered|loud")[label] for label in labels],
        "weight": [f"{10 + label * 5 + random.normal(0, 0.5):.3f}" for label in labels],
    }
    return Table(holes | targets, folder=folder, name="tiny")


def write_structured_table(folder: Path, kind: str, rows: int = 60) -> Table:
    """Return the table with one more column, ``answer``, a structured target of the kind that can be learnt."""
    table = write_table(folder, rows)
    answer = TARGET_EXAMPLES[kind].answer
    assert answer is not None
    answers = [answer(KINDS.index(label), row) for row, label in enumerate(table.columns["kind"])]
    answers[1] = None
    features = {name: table.columns[name] for name in FEATURES}
    return Table(features | {"answer": answers}, folder=folder, name="tiny")


def _write_photo(folder: Path, name: str, label: int, random: np.random.Generator) -> str:
    pixels = random.integers(0, 60, (12, 12, 3), dtype=np.uint8)
    pixels[label * 4 : label * 4 + 4, :, label] += 180
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / "photos" / f"{name}.png")
    return f"photos/{name}.png"


def _write_sound(folder: Path, name: str, label: int, random: np.random.Generator) -> str:
    time_s = np.arange(int(RATE_HZ * random.uniform(0.1, 0.2))) / RATE_HZ
    samples = 0.5 * np.sin(2 * np.pi * (300, 700, 1500)[label] * time_s) + random.normal(0, 0.05, len(time_s))
    (folder / "sounds").mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "sounds" / f"{name}.wav", samples, RATE_HZ)
    return f"sounds/{name}.wav"


def _write_clip(folder: Path, name: str, label: int, random: np.random.Generator) -> str:
    pixels = random.integers(0, 60, (int(random.integers(3, 6)), 12, 12, 3), dtype=np.uint8)
    for number, frame in enumerate(pixels):
        frame[:, (number * (label - 1) + 6) % 12] = 200  # a bar that moves to the left, rests, or moves to the right
    return f"clips/{films.write(folder / 'clips', f'{name}.mp4', pixels)}"


def _sensor_cells(labels: np.ndarray, seed: int, missing: float) -> dict[str, list[Any]]:
    """Return series with gaps and point clouds as JSON text, some absent."""
    random = np.random.default_rng(seed + 1000)
    columns: dict[str, list[Any]] = {"trace": [], "cloud": []}
    for label in labels:
        steps = random.normal(0, 0.2, (random.integers(8, 13), 2)) + np.sin(np.arange(2) + label * 2)
        trace = steps.round(2).tolist()
        trace[3][1] = None
        points = random.normal(0, 1, (random.integers(5, 9), 3)) * np.eye(3)[label]
        for name, cell in (("trace", trace), ("cloud", points.round(2).tolist())):
            columns[name].append(None if random.random() < missing else json.dumps(cell))
    return columns


def write_csv(table: Table, path: Path) -> Path:
    """Write a table as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(zip(*table.columns.values(), strict=True))
    return path


def with_cells(table: Table, **columns: Sequence[Any]) -> Table:
    """Return the table with some columns replaced."""
    return Table(table.columns | {name: list(cells) for name, cells in columns.items()}, table.folder, table.name)


def with_cell(table: Table, column: str, row: int, cell: Any) -> Table:
    """Return the table with one cell replaced; rows count from 0."""
    cells = list(table.columns[column])
    cells[row] = cell
    return with_cells(table, **{column: cells})


def only(table: Table, *names: str) -> Table:
    """Return the table with the named columns alone."""
    return Table({name: table.columns[name] for name in names}, table.folder, table.name)


def all_absent(table: Table) -> Table:
    """Return the table with every feature cell absent."""
    return with_cells(table, **{name: [None] * table.num_rows for name in FEATURES if name in table.columns})


def numbers_table(rows: int = 60, seed: int = 0) -> dict[str, list[Any]]:
    """Return a table in memory that trains in a moment: two numbers, a category and a class to predict."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % 2)
    return {
        "size": (labels * 2 + random.normal(0, 0.5, rows)).round(3).tolist(),
        "age": random.normal(0, 1, rows).round(3).tolist(),
        "colour": [("red", "blue")[label if random.random() < 0.9 else 0] for label in labels],
        "kind": [KINDS[label] for label in labels],
    }


def train(table: Any, target: str | Sequence[str] = "kind", **arguments: Any) -> polymodal.Model:
    """Train a small network for one epoch, and few trees where baselines are asked for.

    ``settings`` and other arguments win.
    """
    settings = QUICK | dict(arguments.pop("settings", {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymodal.ensemble.boosting.BUDGET_S", TREES_BUDGET_S)
        return polymodal.fit(table, target=target, settings=settings, **arguments)


@contextmanager
def decode_cache(folder: Path) -> Iterator[None]:
    """Give a fixture that lives longer than a test a decode cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_CACHE", str(folder / "cache"))
        yield


def weights_of(model: polymodal.Model) -> dict[str, Any]:
    """Return the network's weights as arrays."""
    return {name: value.numpy() for name, value in model.trained.network.state_dict().items()}


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Tell whether two sets of arrays are bit-identical."""
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name], equal_nan=True) for name in first
    )


def scores_of(model: polymodal.Model) -> dict[str, Any]:
    """Return everything a run says about its quality."""
    summary = model.summary()
    return {name: summary[name] for name in ("targets", "fusion", "streams", "baselines", "missing", "decision")}
