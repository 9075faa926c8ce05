"""Boosted trees: the same ones whatever the threads do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polymodal.ensemble import boosting
from polymodal.ensemble.boosting import fit_trees
from polymodal.ensemble.features import FeatureBlocks

NUM_ROWS, NUM_CLASSES = 400, 3


def truth_of(kind: str, random: np.random.Generator) -> NDArray[Any]:
    if kind == "category":
        return random.integers(0, NUM_CLASSES, NUM_ROWS)
    return random.integers(0, 2, (NUM_ROWS, NUM_CLASSES)) if kind == "categories" else random.normal(size=NUM_ROWS)


def fit(kind: str, num_threads: int) -> tuple[list[str], list[str]]:
    """Return the trees, and what LightGBM says of its threads."""
    random = np.random.default_rng(0)
    truth, values = truth_of(kind, random), random.normal(size=(NUM_ROWS, 20)).astype(np.float32)
    values[:, 0] += truth.reshape(NUM_ROWS, -1)[:, 0]
    held_out = [np.arange(300, 400), np.arange(200, 300)]
    blocks, options = FeatureBlocks(values, None, values), {"num_threads": num_threads, "budget_s": 0.05}
    texts, folds = fit_trees(kind, NUM_CLASSES, blocks, truth, held_out, seed=0, **options)
    assert [len(fold) for fold in folds] == [len(texts)] * 2
    found = [text.partition("parameters:") for text in [*texts, *folds[0], *folds[1]]]
    threads = [line for _, _, options in found for line in options.splitlines() if "num_threads" in line]
    return [trees for trees, _, _ in found], threads


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take any data for large."""
    monkeypatch.setattr(boosting, "CELLS_PER_THREAD", 1)
    monkeypatch.setattr(boosting, "GRACE_PERIOD_S", 60.0)


@pytest.mark.parametrize("kind", ["category", "categories", "number"])
def test_threads_that_wait_for_each_other_give_way_to_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = fit(kind, 1)
    two, threads = fit(kind, 2)
    assert set(threads) == {"[num_threads: 2]"}
    monkeypatch.setattr(boosting, "GRACE_PERIOD_S", 0.0)
    monkeypatch.setattr(boosting, "MAX_SLOWDOWN", 0.0)
    waiting, threads = fit(kind, 2)
    assert set(threads) == {"[num_threads: 1]"}
    assert one == two == waiting
