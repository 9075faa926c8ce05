"""Small models to explain, trained once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import polymodal
import tiny


def exclusive_or_table(rows: int, seed: int) -> dict[str, list[Any]]:
    """Return a table whose label is the exclusive or of two columns; a third one is noise."""
    random = np.random.default_rng(seed)
    first, second = np.arange(rows) % 2, np.arange(rows) // 2 % 2
    noise, order = random.normal(size=rows), random.permutation(rows)
    return {
        "first": [("x", "y")[bit] for bit in first[order]],
        "second": [("u", "v")[bit] for bit in second[order]],
        "noise": noise.tolist(),
        "label": [("no", "yes")[bit] for bit in (first ^ second)[order]],
    }


@pytest.fixture(scope="session")
def exclusive_or_model() -> polymodal.Model:
    """Train a model whose answer needs two streams together."""
    settings = {"train.epochs": 25, "train.batch_size": 12, "train.learning_rate": 3e-3, "train.patience": None}
    streams = {name: [name] for name in ("first", "second", "noise")}
    return tiny.train(exclusive_or_table(120, 0), "label", stream=streams, fusion="match", settings=settings)


@pytest.fixture(scope="session")
def numbers_model() -> polymodal.Model:
    """Train a model of two streams with baselines and a number to predict besides a class."""
    table = tiny.numbers_table(80)
    table["weight"] = [3.0 * size + 1 for size in table["size"]]
    streams = {"measured": ["size", "age"], "seen": ["colour"]}
    return tiny.train(table, ("kind", "weight"), stream=streams, settings={"baselines": True, "train.epochs": 3})
