from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import polymodal.ensemble.stream_features
import polymodal.model.batches
import polymodal.model.fit_ensemble
import polymodal.runs.run
import tiny
from polymodal.arrays import Column
from polymodal.data.tables.table import Table
from polymodal.model.batches import Examples, bytes_of_row, inference_batch_size, shapes_of
from polymodal.model.predict import predict_examples


def column(*shape: int) -> Column:
    return Column(np.zeros((3, *shape), np.uint8), np.ones(3, dtype=np.bool_))


def test_fewer_rows_run_together_where_pictures_are_large() -> None:
    assert inference_batch_size({"number": column(4)}) == 256
    assert inference_batch_size({"picture": column(512, 512, 3), "number": column(4)}) == 42
    assert inference_batch_size({"picture": column(9000, 9000, 3)}) == 1
    assert inference_batch_size({"picture": column(16, 16, 3).take(slice(0, 0))}) == 256


def test_shapes_are_those_of_one_cell() -> None:
    assert shapes_of({"picture": column(8, 6, 3), "number": column(4)}) == {"picture": (8, 6, 3), "number": (4,)}


def examples(num_rows: int = 10) -> Examples:
    rows = np.arange(num_rows)[::-1].copy()
    values = np.arange(num_rows * 4, dtype=np.float32).reshape(num_rows, 4)
    outputs = Column(np.zeros((num_rows, 2, 8), np.float16), np.ones(num_rows, bool), np.full(num_rows, 2))
    columns = {"x": Column(values, np.ones(num_rows, bool), None, outputs)}
    return Examples(columns, rows, {"x": list(rows)}, {"y": rows.copy()}, {"y": rows > 2}, "t.csv")


def test_examples_are_cut_into_parts_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_of_row(examples().columns) == 4 * 4 + 2 * 8 * 2
    assert bytes_of_row(examples().without_outputs().columns) == 4 * 4
    for bound, value in (("IN_MEMORY_ROWS", 3), ("IN_MEMORY_BYTES", 3 * 48 + 1)):
        with monkeypatch.context() as patch:
            patch.setattr(polymodal.model.batches, bound, value)
            parts = examples().chunks()
        assert [len(part) for part in parts] == [3, 3, 3, 1]
        assert np.concatenate([part.truth["y"] for part in parts]).tolist() == list(range(9, -1, -1))
        assert parts[1].columns_in_use()["x"].values[:, 0].tolist() == [24, 20, 16]
    assert len(examples().chunks()) == 1
    assert [len(part) for part in examples(0).chunks()] == [0]


def test_a_sample_is_random_in_order_and_always_the_same() -> None:
    sample = examples().sample(4, 1, ["y"])
    assert len(sample) == 4
    assert sample.rows.tolist() == sorted(sample.rows.tolist(), reverse=True)
    assert sample.rows.tolist() == sample.truth["y"].tolist() == examples().sample(4, 1, ["y"]).rows.tolist()
    assert sample.rows.tolist() != examples().sample(4, 2, ["y"]).rows.tolist()
    assert len(examples().sample(10, 1, ["y"])) == 10


def test_a_sample_has_rows_for_every_target() -> None:
    known = {"often": np.ones(10, bool), "seldom": np.arange(10) == 7}
    both = replace(examples(), truth={name: np.arange(10) for name in known}, known=known)
    for seed in range(5):
        sample = both.sample(4, seed, list(known))
        assert sample.known["seldom"].sum() == 1
        assert 2 <= len(sample) <= 3


@pytest.fixture
def few(table: Table) -> Table:
    return tiny.only(table, "photo", "note", "size", *tiny.TARGETS)


@pytest.mark.exhaustive
def test_judging_part_by_part_changes_nothing(few: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny.train(few, list(tiny.TARGETS), settings={"baselines": True})
    monkeypatch.setattr(polymodal.model.batches, "IN_MEMORY_ROWS", 5)
    parted = tiny.train(few, list(tiny.TARGETS), settings={"baselines": True})
    assert tiny.same(tiny.weights_of(whole), tiny.weights_of(parted))
    for section in ("targets", "streams", "baselines", "missing"):
        for target, scores in whole.summary()[section].items():
            assert _flat(parted.summary()[section][target]) == pytest.approx(_flat(scores), abs=1e-4)


def _flat(scores: dict[str, object]) -> dict[str, float]:
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in scores.items()}
    return {f"{name} {metric}": float(value) for name, found in parts.items() for metric, value in found.items()}


@pytest.mark.exhaustive
def test_baselines_of_many_rows_are_fitted_on_some_and_the_report_says_so(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polymodal.runs.baseline_fitting, "TRAIN_ROWS", 40)
    monkeypatch.setattr(polymodal.runs.baseline_fitting, "FITTED_BYTES", 2**14)
    monkeypatch.setattr(polymodal.ensemble.stream_features, "MAX_DENSE_CELLS", 100 * table.num_rows)
    model = tiny.train(table, settings={"baselines": True})
    assert max(stream.side for stream in model.trained.features.streams) > 10  # as the rows that were fitted on allow
    rows = next(found["rows"] for found in model.report_data["tables"] if found["split"] == "train")
    assert f"The baselines were fitted on 40 of {rows} training rows." in model.report_data["notices"]
    assert model.summary()["baselines"]["kind"]["linear"]["accuracy"] > 0.5
    assert not any("baselines were" in notice for notice in tiny.train(table).report_data["notices"])


def test_many_validation_rows_weigh_the_members_by_a_sample(few: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def members(model: Any, examples: Examples, *others: Any) -> Any:
        asked.append(len(examples))
        return predict_examples(model, examples, *others)

    monkeypatch.setattr(polymodal.model.fit_ensemble, "VALIDATION_ROWS", 7)
    monkeypatch.setattr(polymodal.model.fit_ensemble, "predict_examples", members)
    assert tiny.train(few).report_data["evaluation"]["decision"]["kind"]["weights"]
    assert asked == [7]
