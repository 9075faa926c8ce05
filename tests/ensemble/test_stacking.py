"""The model over the streams' own predictions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.ensemble.stacking import Stacker, fit_stacker

CLASSES = 3


def opinions(rows: int = 300, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return a stream that knows, one that knows nothing, and one that is sure of another class than it should be."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, rows)

    def said(labels: Any, strength: float) -> Any:
        logits = strength * np.eye(CLASSES)[labels] + random.normal(0, 1, (rows, CLASSES))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    members = {"good": said(truth, 2.0), "noise": said(random.integers(0, CLASSES, rows), 4.0)}
    present = {name: random.random(rows) < 0.8 for name in members}
    return members, present, truth


def loss(prediction: Any, truth: Any) -> float:
    return float(-np.log(prediction[np.arange(len(truth)), truth]).mean())


def test_a_useless_stream_is_ignored() -> None:
    members, present, truth = opinions()
    stacked = fit_stacker("category", members, present, truth, np.arange(len(truth)), 0)
    members, present, truth = opinions(seed=1)
    is_present = present["good"] & present["noise"]
    found = stacked.full.predict(members, present)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    mean = (members["good"] + members["noise"]) / 2
    assert loss(found[is_present], truth[is_present]) < loss(members["good"][is_present], truth[is_present])
    assert loss(found[is_present], truth[is_present]) < 0.6 * loss(mean[is_present], truth[is_present])


def test_what_stands_in_absent_rows_is_never_read() -> None:
    members, present, truth = opinions()
    garbage = {name: np.where(present[name][:, None], values, np.nan) for name, values in members.items()}
    first, second = (fit_stacker("category", m, present, truth, np.arange(len(truth)), 0) for m in (members, garbage))
    assert first.full == second.full
    np.testing.assert_array_equal(first.full.predict(members, present), first.full.predict(garbage, present))


def test_held_out_predictions_come_from_models_without_the_row(monkeypatch) -> None:
    monkeypatch.setattr("polymodal.ensemble.stacking.PENALTIES", (10.0,))
    members, present, truth = opinions(60)
    rows = np.arange(len(truth))
    stacked = fit_stacker("category", members, present, truth, rows, 0)
    fold, part = stacked.folds[0]
    other = truth.copy()
    other[fold] = (truth[fold] + 1) % CLASSES
    again = fit_stacker("category", members, present, other, rows, 0)
    assert again.folds[0][1] == part
    assert again.full != stacked.full
    held_out = stacked.predict_out_of_fold(members, present)
    np.testing.assert_array_equal(held_out[fold], part.predict(members, present)[fold])
    assert sorted(np.concatenate([fold for fold, _ in stacked.folds])) == rows.tolist()


@pytest.mark.parametrize("kind", ["categories", "number"])
def test_other_kinds(kind: str) -> None:
    random = np.random.default_rng(0)
    truth: Any = random.normal(5, 2, 200)
    members = {"good": truth + random.normal(0, 0.5, 200), "off": 3 * truth + random.normal(0, 3, 200)}
    if kind == "categories":
        truth = random.integers(0, 2, (200, 4))
        members = {"good": 0.2 + 0.6 * truth, "off": random.random((200, 4))}
    present = {"good": random.random(200) < 0.7, "off": np.ones(200, dtype=bool)}
    stacked = fit_stacker(kind, members, present, truth, np.arange(200), 0)
    held_out = stacked.predict_out_of_fold(members, present)
    error = (np.abs(held_out - truth)).mean() if kind == "number" else ((held_out > 0.5) != truth).mean()
    rival = 2.0 if kind == "number" else 0.5
    assert error < rival / 2
    assert Stacker.from_state(json.loads(json.dumps(stacked.full.state()))) == stacked.full


def test_few_rows_give_the_mean_of_what_is_there() -> None:
    members = {"a": np.array([1.0, 3.0, 8.0]), "b": np.array([3.0, 5.0, 0.0])}
    present = {"a": np.array([True, True, True]), "b": np.array([True, True, False])}
    stacked = fit_stacker("number", members, present, np.array([2.0, 4.0, 7.0]), np.arange(3), 0)
    np.testing.assert_allclose(stacked.full.predict(members, present), [2.0, 4.0, 8.0])


def test_a_run_reports_the_stacked_score_and_loads_it_again(tmp_path) -> None:
    streams = {"measures": ["size", "age"], "look": ["colour"]}
    settings = {"train.epochs": 12, "train.learning_rate": 0.01}
    table = tiny.numbers_table(200)
    model = tiny.train(table, fusion="stacking", stream=streams, settings=settings)
    assert model.summary()["fusion"]["kind"]["accuracy"] > 0.85
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert loaded.trained.stackers == model.trained.stackers
    assert tiny.same(loaded.predictions(table).values, model.predictions(table).values)
