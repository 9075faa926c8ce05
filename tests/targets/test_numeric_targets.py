"""Vectors and images are plain numbers for baselines and the ensemble, and come back from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
from polymodal.data.tables.table import Table
from polymodal.ensemble.ensemble import Ensemble, MemberWeights
from polymodal.model import numeric_members
from polymodal.model.checkpoint import save_model
from polymodal.model.inference_network import NO_MASK
from polymodal.model.numeric_members import SampledNumbers
from polymodal.model.predict import predict_members
from polymodal.targets import RowContext, fit_target
from polymodal.targets.numeric import NumericTarget

PICTURES = list(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("kind", "cells", "num_numbers"),
    [("vector", [[1.0, 2.0], [3.0, 5.0]], 2), ("vector", [[1.0], [2.5]], 1), ("image", PICTURES, 8 * 8 * 3)],
)
def test_numbers_come_back_as_predictions(kind: str, cells: list[Any], num_numbers: int) -> None:
    target = fit_target(kind, cells, RowContext(), {})
    assert isinstance(target, NumericTarget)
    truth, known = target.encode(cells, RowContext())
    numbers = target.truth_numbers(truth)
    assert known.all()
    assert (numbers.dtype, numbers.shape) == (np.float64, (len(cells), num_numbers))
    predictions = target.from_numbers(numbers)
    assert target.prediction_numbers(predictions) == pytest.approx(numbers, abs=1e-6)
    values = [prediction.value for prediction in predictions]
    assert max(abs(target.row_scores(target.references(cells, RowContext()), values) - 1)) < 1e-6


@pytest.fixture(scope="module")
def table() -> dict[str, list[Any]]:
    """Return vectors that are linear in one stream; the other says nothing, and both have gaps."""
    random = np.random.default_rng(0)
    size = random.normal(size=120)
    return {
        "size": [None if row % 11 == 1 else float(value) for row, value in enumerate(size)],
        "noise": [None if row % 7 == 1 else list(map(float, random.normal(size=3))) for row in range(120)],
        "group": [f"g{row % 9}" for row in range(120)],
        "place": [[float(value), float(-3 * value)] for value in size],
    }


@pytest.fixture(scope="module")
def model(table: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    """Return a model whose network has hardly learned, so that the linear baseline is far better."""
    settings = {"train.epochs": 1, "width": 16, "num_threads": 1, "modality": {"place": "vector", "noise": "vector"}}
    output = tmp_path_factory.mktemp("vector") / "run"
    return polymodal.fit(table, target="place", group="group", settings=settings, output=output)


def test_a_vector_gets_baselines_and_groups_stay_together(model: polymodal.Model) -> None:
    prior, linear, boosting = model.trained.baselines["place"]
    assert [prior.name, linear.name, boosting.name] == ["prior", "linear", "boosting"]
    assert linear.kind == "numbers"


def test_the_answer_is_as_good_as_the_best_member(model: polymodal.Model) -> None:
    found = model.report_data["evaluation"]
    members = found["streams"]["place"] | found["baselines"]["place"] | {"fusion": found["fusion"]["place"]}
    assert set(members) == {"tabular", "noise", "prior", "linear", "boosting", "fusion"}
    errors = {member: scores["rmse"] for member, scores in members.items()}
    assert errors["linear"] < 0.5 * errors["fusion"]
    assert found["targets"]["place"]["rmse"] < 1.02 * min(errors.values())
    weights = found["decision"]["place"]["weights"]
    assert set(weights) == {f"baseline:{name}" for name in ("prior", "linear", "boosting")} | {
        "fusion",
        "stream:tabular",
        "stream:noise",
    }
    assert max(weights, key=weights.__getitem__) == "baseline:linear"


def test_a_stream_alone_is_the_network_without_the_others(model: polymodal.Model, table: dict[str, list[Any]]) -> None:
    trained, names = model.trained, ("size", "noise", "group")
    columns, _ = trained.preprocessor.transform(Table({name: table[name][:20] for name in names}))
    context = RowContext({name: table[name][:20] for name in names})
    whole, alone = predict_members(trained, columns, context, [NO_MASK, frozenset({"noise"})])
    for row in np.flatnonzero(whole.present["stream:tabular"]):
        expected = alone.predictions["place"]["fusion"][row].value
        assert whole.predictions["place"]["stream:tabular"][row].value == pytest.approx(expected, abs=1e-5)
    assert (alone.present["stream:noise"] == False).all()  # noqa: E712 - an array


@pytest.mark.parametrize(
    ("member", "num_masks"), [("fusion", 1), ("stream:tabular", 2), ("baseline:linear", 0)], ids=str
)
def test_only_members_with_a_weight_are_computed(
    model: polymodal.Model, table: dict[str, list[Any]], member: str, num_masks: int, monkeypatch: Any
) -> None:
    weights = MemberWeights("number", {member: 1.0}, {member: 1.0}, {member: 1.0})
    trained = dataclasses.replace(model.trained, ensembles={"place": Ensemble(pooled=weights)})
    asked: list[int] = []
    run = trained.network.run

    def counted(columns: Any, masks: Any) -> Any:
        asked.append(len(masks))
        return run(columns, masks)

    monkeypatch.setattr(trained.network, "run", counted)
    answers = polymodal.Model(trained, None).predict(table)["place"]
    assert asked == ([num_masks] if num_masks else [])
    assert answers[1] == trained.targets["place"].prior.value  # no stream is present


def test_saved_and_loaded_answers_are_the_same(
    model: polymodal.Model, table: dict[str, list[Any]], tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    assert polymodal.load(tmp_path / "model").predict(table) == model.predict(table)


def test_a_model_that_was_saved_without_an_ensemble_answers_by_its_network(
    model: polymodal.Model, table: dict[str, list[Any]], tmp_path: Path
) -> None:
    old = dataclasses.replace(model.trained, ensembles={}, baselines={}, features=None)
    save_model(old, tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    found = loaded.evaluate(table)
    assert found["targets"]["place"] == found["fusion"]["place"]
    assert set(found["streams"]["place"]) == {"tabular", "noise"}
    assert found["decision"] == {}


def test_a_sample_of_many_numbers_is_bounded() -> None:
    target = fit_target("vector", np.random.default_rng(0).normal(size=(4, 900)).tolist(), RowContext(), {})
    assert isinstance(target, NumericTarget)
    assert len(SampledNumbers.draw(target, 100, seed=0).indices) == numeric_members.SAMPLED_NUMBERS
    assert len(SampledNumbers.draw(target, 10**6, seed=0).indices) == numeric_members.FITTED_NUMBERS // 10**6
    drawn, predictions = SampledNumbers.draw(target, 100, seed=0), target.from_numbers(np.ones((3, 1)) * np.arange(900))
    assert (drawn.of_predictions(predictions) == drawn.indices).all()
