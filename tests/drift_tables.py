"""Tables whose columns are all there is to drift: a number, a label, a text, a picture; cells are missing at random."""

from __future__ import annotations

from typing import Any

import numpy as np

import polymodal
import tiny
from polymodal.data.tables.table import Table

WORDS = ("purrs", "barks", "hoots", "sleeps", "runs", "waits", "eats", "looks")
COLOURS = ("red", "green", "blue")
KINDS = ("cat", "dog")


def make_table(rows: int, seed: int, name: str = "new", missing: float = 0.1) -> Table:
    """Make a table; every seed gives rows of the same distribution."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    photos: list[Any] = []
    for label in labels:
        pixels = random.integers(40, 90, (8, 8, 3), dtype=np.uint8)
        pixels[4 * label : 4 * label + 4] += np.uint8(100)
        photos.append(pixels)
    columns: dict[str, list[Any]] = {
        "size": [float(label + random.normal()) for label in labels],
        "colour": [COLOURS[random.integers(3)] for _ in range(rows)],
        "note": [" ".join(random.choice(WORDS, random.integers(3, 9))) for _ in range(rows)],
        "photo": photos,
    }
    holes = {n: [None if random.random() < missing else cell for cell in cells] for n, cells in columns.items()}
    return Table({**holes, "kind": [KINDS[label] for label in labels]}, None, name)


def train_model() -> polymodal.Model:
    """Train a quick model on 360 rows, 60 of them held out."""
    settings = {"train.epochs": 2, "train.batch_size": 64, "validation_share": 0.25, "test_share": 0.0}
    return tiny.train(make_table(360, seed=0, name="train"), "kind", settings=settings, modality={"note": "text"})
