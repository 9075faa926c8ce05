"""Absent cells of numbers and categories that are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polymodal
import tiny
from polymodal.modalities import Tabular, TabularSettings
from polymodal.modalities.imputation import Imputation

CELLS: dict[str, list[Any]] = {
    "age": [10, 20, 90, None, 30],
    "colour": ["red", "blue", "red", None, None],
    "size": [1.0, 2.0, 9.0, None, 3.0],
}
KINDS: dict[str, Any] = {"age": "number", "colour": "category", "size": "number"}
METHODS = ("mean", "median", "most_frequent", "nearest")


def fitted(method: str) -> Tabular:
    return Tabular.fit(CELLS, TabularSettings(kinds=KINDS, impute=method), None)


@pytest.mark.parametrize("method", METHODS)
def test_rows_with_a_cell_are_filled_and_empty_ones_stay_absent(method: str) -> None:
    column, _ = fitted(method).transform(CELLS, None)
    assert column.present.tolist() == [[True] * 3, [True] * 3, [True] * 3, [False] * 3, [True] * 3]
    assert column.values[4, 1] == 1  # red


@pytest.mark.parametrize(("method", "expected"), [("mean", 37.5), ("median", 25.0), ("most_frequent", 10.0)])
def test_numbers_are_typical_ones_of_the_training_cells(method: str, expected: float) -> None:
    row = {"age": [None], "colour": ["red"], "size": [2.0]}
    column, _ = fitted(method).transform(row, None)
    number = fitted(method).members["age"]
    assert column.values[0, 0] == pytest.approx(number.scale(np.array([expected]))[0], abs=1e-5)


def test_the_nearest_rows_know_better_than_the_mean() -> None:
    random = np.random.default_rng(0)
    size = random.normal(0, 1, 400)
    cells = {"age": (3 * size + 50).tolist(), "size": size.tolist()}
    kinds: dict[str, Any] = {"age": "number", "size": "number"}
    row = {"age": [None, None], "size": [2.0, -2.0]}
    values = {}
    for method in ("mean", "nearest"):
        column, _ = Tabular.fit(cells, TabularSettings(kinds=kinds, impute=method), None).transform(row, None)
        values[method] = column.values[:, 0]
    assert values["mean"].tolist() == pytest.approx([0, 0], abs=1e-5)
    assert values["nearest"] == pytest.approx([2, -2], abs=0.3)


@given(st.data())
def test_what_is_there_is_kept_and_nothing_is_infinite(data: st.DataObject) -> None:
    rows, fields = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 4))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    values, present = random.normal(size=(rows, fields)).astype(np.float32), random.random((rows, fields)) < 0.6
    method = data.draw(st.sampled_from(METHODS))
    found, mask = Imputation.fit(method, values, present, [False] * fields).apply(values, present)
    assert np.array_equal(found[present], values[present])
    assert np.isfinite(found).all()
    assert np.array_equal(mask.all(axis=1), present.any(axis=1))


def test_a_run_fills_in_says_so_and_is_loaded_with_it(tmp_path: Path) -> None:
    table = tiny.numbers_table()
    table["age"][::3] = [None] * len(table["age"][::3])
    settings = {"settings.tabular.impute": "nearest"}
    model = tiny.train(table, settings=settings, output=tmp_path / "run")
    assert any("settings.tabular.impute=nearest" in notice for notice in model.report_data["notices"])
    again = polymodal.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict_proba(table)["kind"][1], model.predict_proba(table)["kind"][1])
