"""Slices: the rows of each value of a column, scored by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.slices import NO_VALUE, read_slices
from polymodal.data.tables.table import Table
from polymodal.errors import SchemaError


@pytest.fixture(scope="module")
def evaluation(model: polymodal.Model, table: Table) -> dict[str, Any]:
    extra = {"site": ["north", "south", None, "south"] * (table.num_rows // 4)}
    more = Table(table.columns | extra, table.folder, table.name)
    return model.evaluation_report(more, slices=["site", "kind"])["evaluation"]


def test_every_value_is_scored_by_itself_the_worst_first(evaluation: dict[str, Any], table: Table) -> None:
    found = evaluation["slices"]["kind"]["site"]
    assert {entry["value"]: entry["rows"] for entry in found} == {
        "north": table.num_rows // 4,
        "south": table.num_rows // 2,
        NO_VALUE: table.num_rows // 4,
    }
    scores = [entry["scores"]["accuracy"] for entry in found]
    assert scores == sorted(scores)
    whole = sum(entry["rows"] * entry["scores"]["accuracy"] for entry in found) / table.num_rows
    assert whole == pytest.approx(evaluation["targets"]["kind"]["accuracy"])
    for entry in found:
        low, high = entry["intervals"]["accuracy"]
        assert low <= entry["scores"]["accuracy"] <= high
        assert low < high


def test_errors_of_numbers_are_worst_where_they_are_largest(evaluation: dict[str, Any]) -> None:
    scores = [entry["scores"]["rmse"] for entry in evaluation["slices"]["weight"]["kind"]]
    assert scores == sorted(scores, reverse=True)


def test_small_groups_are_marked(model: polymodal.Model, table: Table) -> None:
    few = Table(table.columns | {"site": ["a"] * 5 + ["b"] * (table.num_rows - 5)}, table.folder, table.name)
    found = model.evaluate(few, slices=["site"])["slices"]["kind"]["site"]
    assert {entry["value"]: entry["is_small"] for entry in found} == {"a": True, "b": False}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colur", "has no column 'colur' for --slice. Did you mean 'colour'?"),
        ("note", "--slice needs a column of at most 50 different values, this one has"),
    ],
)
def test_a_column_that_makes_no_slices_is_refused(table: Table, name: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message.replace("?", r"\?")):
        read_slices(table, [name])


def test_a_run_remembers_its_slices_and_takes_columns_that_are_no_inputs(tmp_path: Any) -> None:
    table = tiny.numbers_table(60)
    model = tiny.train(table, drop=["colour"], slices=["colour"], output=tmp_path / "run")
    assert {entry["value"] for entry in model.report_data["evaluation"]["slices"]["kind"]["colour"]} == {"red", "blue"}
    assert "By colour" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    again = polymodal.load(tmp_path / "run").evaluate(table)
    assert np.sum([entry["rows"] for entry in again["slices"]["kind"]["colour"]]) == 60
    with pytest.raises(SchemaError, match="has no column 'color' for --slice"):
        tiny.train(table, slices=["color"])
