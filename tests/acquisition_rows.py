"""A table whose class one stream decides, one hints at and one does not know; and models of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import polymodal

STREAMS = {"deciding": ["d*"], "hinting": ["h*"], "noise": ["n*"]}
SETTINGS = {"train.epochs": 20, "train.batch_size": 16, "width": 16, "baselines": False, "num_threads": 1}
Columns = dict[str, list[Any]]


def write_rows(rows: int, seed: int, *, number: bool = False) -> Columns:
    """Return rows with a class, or a number, that the columns ``d1`` and ``d2`` tell."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    hint = np.where(random.random(rows) < 0.8, labels, 1 - labels)
    columns = {
        "d1": labels * 4 - 2 + random.normal(0, 0.3, rows),
        "d2": random.normal(0, 1, rows),
        "h1": hint * 4 - 2 + random.normal(0, 0.3, rows),
        "h2": random.normal(0, 1, rows),
        "n1": random.normal(0, 1, rows),
        "n2": random.normal(0, 1, rows),
    }
    target = (labels * 10 + random.normal(0, 0.5, rows)).round(3).tolist() if number else [f"c{y}" for y in labels]
    return {name: values.round(3).tolist() for name, values in columns.items()} | {"y": target}


def without(columns: Mapping[str, list[Any]], *streams: str) -> Columns:
    """Return the columns with streams absent in every row."""
    gone = tuple(stream[0] for stream in streams)
    return {
        name: [None] * len(cells) if name.startswith(gone) and name != "y" else list(cells)
        for name, cells in columns.items()
    }


@dataclass(frozen=True)
class Asked:
    """A model, and rows like those it was trained on."""

    model: polymodal.Model
    training: Columns


def train(rows: int, *, number: bool = False, **settings: Any) -> Asked:
    """Train on rows of three streams."""
    training = write_rows(rows, 0, number=number)
    model = polymodal.fit(training, target="y", stream=STREAMS, settings=SETTINGS | settings)
    return Asked(model, training)
