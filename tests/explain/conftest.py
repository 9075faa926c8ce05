"""Small models to explain, trained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.progress import SilentProgress

MIXED = ("note", "code", "size", "colour")
"""Columns of streams that decode quickly."""
Explain = Callable[..., polymodal.Explanation]


@pytest.fixture(scope="session")
def explain() -> Explain:
    """Return what explains the streams of rows; cells are explained only where a test asks."""

    def call(model: polymodal.Model, table: Any, **options: Any) -> polymodal.Explanation:
        return model.explain(table, **{"passes": 0, "progress": SilentProgress(), **options})

    return call


@pytest.fixture(scope="session")
def exclusive_or_table() -> Callable[[int, int], dict[str, list[Any]]]:
    """Return what makes a table whose label is the exclusive or of two columns; a third one is noise."""

    def make(rows: int, seed: int) -> dict[str, list[Any]]:
        random = np.random.default_rng(seed)
        first, second = np.arange(rows) % 2, np.arange(rows) // 2 % 2
        noise, order = random.normal(size=rows), random.permutation(rows)
        return {
            "first": [("x", "y")[bit] for bit in first[order]],
            "second": [("u", "v")[bit] for bit in second[order]],
            "noise": noise.tolist(),
            "label": [("no", "yes")[bit] for bit in (first ^ second)[order]],
        }

    return make


@pytest.fixture(scope="session")
def exclusive_or_model(exclusive_or_table: Callable[[int, int], dict[str, list[Any]]]) -> polymodal.Model:
    """Train a model whose answer needs two streams together."""
    settings = {"train.epochs": 25, "train.batch_size": 12, "train.learning_rate": 3e-3, "train.patience": None}
    streams = {name: [name] for name in ("first", "second", "noise")}
    return tiny.train(exclusive_or_table(120, 0), "label", stream=streams, fusion="match", settings=settings)


@pytest.fixture(scope="session")
def mixed_table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Return a table of texts, vectors, numbers and categories, some absent, with flat targets of every kind."""
    return tiny.only(tiny.write_table(tmp_path_factory.mktemp("mixed"), rows=60), *MIXED, *tiny.TARGETS)


@pytest.fixture(scope="session")
def mixed_model(mixed_table: Table) -> polymodal.Model:
    """Train a model with baselines on all of it."""
    kinds = {"tags": "categories"}
    return tiny.train(mixed_table, tiny.TARGETS, modality=kinds, settings={"baselines": True, "train.epochs": 2})
