from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import polymodal
from acquisition_rows import SETTINGS, STREAMS, Asked, without, write_rows
from polymodal.acquisition.acquire import ESTIMATORS
from polymodal.errors import ConfigError
from polymodal.runs.known_rows import known_rows


def gains_of(found: object, stream: str) -> list[float]:
    return [entry.gain for entry in found.entries if entry.stream == stream]  # type: ignore[attr-defined]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_deciding_stream_is_asked_first_and_noise_is_worth_nothing(asked: Asked, estimator: str) -> None:
    rows = without(write_rows(12, 1), "deciding", "noise")
    found = asked.model.acquire(rows, training=asked.training, estimator=estimator)
    assert {entry.stream for entry in found.entries[:8]} == {"deciding"}
    assert np.mean(gains_of(found, "deciding")) > 10 * np.mean(gains_of(found, "noise"))
    assert np.mean(gains_of(found, "noise")) < 0.05
    assert found.absent == {"deciding": 12, "noise": 12}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_number_is_asked_by_the_fall_of_its_squared_error(asked_number: Asked, estimator: str) -> None:
    rows = without(write_rows(10, 2, number=True), "deciding", "noise")
    found = asked_number.model.acquire(rows, training=asked_number.training, estimator=estimator)
    assert found.unit == "variances of the target"
    assert {entry.stream for entry in found.entries[:10]} == {"deciding"}
    assert np.mean(gains_of(found, "deciding")) > 10 * np.mean(gains_of(found, "noise"))


def test_costs_change_the_order(asked: Asked) -> None:
    rows = without(write_rows(6, 1), "deciding", "hinting")
    cheap = asked.model.acquire(rows, training=asked.training)
    dear = asked.model.acquire(rows, training=asked.training, costs={"deciding": 1000, "hinting": 0.1})
    assert cheap.entries[0].stream == "deciding"
    assert dear.entries[0].stream == "hinting"
    assert dear.entries[-1].spent == pytest.approx(dear.cost) == pytest.approx(6 * 1000.1)


def test_a_budget_is_kept_and_what_does_not_fit_is_counted(asked: Asked) -> None:
    rows = without(write_rows(8, 1), "deciding", "noise")
    found = asked.model.acquire(rows, training=asked.training, costs={"deciding": 3}, budget=10)
    assert found.cost <= 10
    assert len(found.entries) + found.over_budget == 16
    assert [entry.order for entry in found.entries] == list(range(1, len(found.entries) + 1))


def test_a_price_leaves_out_what_is_not_worth_its_cost(asked: Asked) -> None:
    rows = without(write_rows(8, 1), "deciding", "noise")
    found = asked.model.acquire(rows, training=asked.training, price=0.1)
    assert {entry.stream for entry in found.entries} == {"deciding"}
    assert found.not_worth == 8
    assert found.to_columns()["net"][0] == pytest.approx(found.entries[0].gain - 0.1)


def test_a_row_with_nothing_is_asked_from_the_prior(asked: Asked) -> None:
    rows = without(write_rows(3, 1), "deciding", "hinting", "noise")
    found = asked.model.acquire(rows, training=asked.training, estimator="neighbours")
    assert found.entries[0].stream == "deciding"
    assert len(found.entries) == 9


def test_rows_without_truth_and_whole_rows_are_no_trouble(asked: Asked) -> None:
    rows = without(write_rows(5, 1), "deciding")
    del rows["y"]
    assert len(asked.model.acquire(rows, training=asked.training).entries) == 5
    whole = asked.model.acquire(write_rows(5, 1))
    assert (whole.entries, whole.rows_lacking, whole.cost) == ([], 0, 0.0)


def test_the_same_question_has_the_same_answer(asked: Asked) -> None:
    rows = without(write_rows(6, 1), "deciding", "hinting")
    first, second = (asked.model.acquire(rows, training=asked.training).state() for _ in range(2))
    assert json.loads(json.dumps(first)) == second


def test_sampling_and_missing_truth_are_told(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.acquisition.acquire.TRAINING_ROWS", 30)
    rows = without(write_rows(4, 1), "deciding")
    notices = " ".join(asked.model.acquire(rows, training=asked.training, estimator="neighbours").notices)
    assert "30 of 120 rows" in notices
    unlabelled = {name: cells for name, cells in asked.training.items() if name != "y"}
    found = asked.model.acquire(rows, training=unlabelled, estimator="neighbours")
    assert any("No held-out row has a known target" in notice for notice in found.notices)
    with pytest.raises(ConfigError, match="learns on held-out rows"):
        asked.model.acquire(rows, training=unlabelled, estimator="value")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"costs": {"decidng": 1}}, "which is no stream of the model. Did you mean 'deciding'"),
        ({"costs": {"noise": -1}}, "The cost of 'noise' must be a number of at least 0"),
        ({"costs": {"noise": float("nan")}}, "must be a number of at least 0"),
        ({"budget": -1.0}, "'budget' parameter of acquire"),
        ({"price": float("inf")}, "'price' parameter of acquire"),
        ({"estimator": "valu"}, "Did you mean 'value'"),
        ({}, "trained on a table in memory, which it does not keep. Name a table"),
    ],
)
def test_what_cannot_be_is_one_sentence(asked: Asked, options: dict[str, object], sentence: str) -> None:
    training = {"training": asked.training} if options else {}
    with pytest.raises(ConfigError, match=sentence.replace("(", r"\(")):
        asked.model.acquire(without(write_rows(2, 1), "noise"), **options, **training)  # type: ignore[arg-type]


def test_one_stream_alone_leaves_no_choice() -> None:
    columns = {name: cells for name, cells in write_rows(40, 0).items() if name in ("d1", "d2", "y")}
    model = polymodal.fit(columns, target="y", settings={"train.epochs": 1, "width": 8, "baselines": False})
    with pytest.raises(ConfigError, match="one stream alone, 'tabular'"):
        model.acquire(columns, training=columns)


def test_targets_without_an_expected_loss_are_told_or_refused() -> None:
    columns = write_rows(60, 0)
    columns["v"] = [[1.0 * (y == "c1"), 2.0] for y in columns["y"]]
    settings = {"train.epochs": 1, "width": 8, "baselines": False, "num_threads": 1}
    streams = {"deciding": ["d*"], "others": ["h*", "n*"]}
    both = polymodal.fit(columns, target=("y", "v"), stream=streams, settings=settings)
    rows = {name: cells for name, cells in without(columns, "deciding").items() if name not in ("y", "v")}
    found = both.acquire(rows, training=columns, budget=2)
    assert found.targets == ["y"]
    assert "The target 'v' (vector) does not count: it has no expected loss." in found.notices
    del columns["y"]
    vector = polymodal.fit(columns, target="v", stream=streams, settings=settings)
    with pytest.raises(ConfigError, match=r"This model has none: v \(vector\)"):
        vector.acquire(rows, training=columns)
    with pytest.raises(ConfigError, match="this model has none"):
        vector.choose_labels(rows)


def test_few_held_out_rows_are_not_learned_from(asked: Asked) -> None:
    few = {name: cells[:60] for name, cells in asked.training.items()}
    found = asked.model.acquire(without(write_rows(3, 1), "deciding"), training=few)
    assert found.estimator == "neighbours"
    assert any("Fewer than 40 held-out rows" in notice for notice in found.notices)


def test_the_rows_of_the_run_are_found_and_missed(tmp_path: Path) -> None:
    columns = write_rows(60, 0)
    table = tmp_path / "train.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    model = polymodal.fit(str(table), target="y", stream=STREAMS, settings=SETTINGS | {"train.epochs": 1})
    rows = without(write_rows(3, 1), "deciding")
    assert len(model.acquire(rows, estimator="neighbours").entries) == 3
    known, splits = known_rows(model.trained, None), {entry["split"]: entry for entry in model.report_data["tables"]}
    assert known.held_out is not None
    assert known.training.num_rows == splits["train"]["rows"]
    assert known.held_out.num_rows == splits["validation"]["rows"]
    table.unlink()
    with pytest.raises(ConfigError, match=r"is no longer at .*train\.csv\. Name a table"):
        model.acquire(rows)
