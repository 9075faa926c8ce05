"""Numbers, categories and dates side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.arrays import BrokenCell
from polymodal.errors import ConfigError
from polymodal.modalities import Tabular, TabularSettings

CELLS: dict[str, list[Any]] = {
    "age": [10, None, "30"],
    "colour": ["red", "blue", "red"],
    "seen": ["2024-01-01", None, "2024-01-03"],
}
SETTINGS = TabularSettings(kinds={"age": "number", "colour": "category", "seen": "datetime"})


def test_fields_say_what_stands_where() -> None:
    fields = Tabular.fit(CELLS, SETTINGS, None).fields
    assert [field.name for field in fields][:4] == ["age", "colour", "seen.time", "seen.year_sin"]
    assert [field.kind for field in fields] == ["number", "category", *["number"] * 8]
    assert [field.cardinality for field in fields] == [0, 3, *[0] * 8]
    assert fields[1].quantiles is None
    assert all(field.quantiles for field in fields if field.kind == "number")


def test_values_and_presence_by_cell() -> None:
    column, broken = Tabular.fit(CELLS, SETTINGS, None).transform(CELLS, None)
    assert broken == []
    assert column.values.shape == column.present.shape == (3, 10)
    assert column.values.dtype == np.float32
    assert column.values[:, 0].tolist() == [-1, 0, 1]
    assert column.values[:, 1].tolist() == [1, 2, 1]
    assert column.present[1].tolist() == [False, True, *[False] * 8]
    assert not column.values[1, 2:].any()


def test_broken_cells_carry_row_and_column() -> None:
    cells: dict[str, list[Any]] = {"age": [1, "x", 2], "colour": ["red", ["a"], "red"], "seen": ["soon", None, None]}
    _, broken = Tabular.fit(CELLS, SETTINGS, None).transform(cells, None)
    assert [(cell.row, cell.column) for cell in broken] == [(1, "seen"), (2, "age"), (2, "colour")]
    assert all(isinstance(cell, BrokenCell) and cell.reason for cell in broken)


def test_columns_may_come_in_any_order() -> None:
    fitted = Tabular.fit(CELLS, SETTINGS, None)
    turned = dict(reversed(CELLS.items()))
    np.testing.assert_array_equal(fitted.transform(CELLS, None)[0].values, fitted.transform(turned, None)[0].values)


def test_state_shows_the_fields_to_readers() -> None:
    fields = Tabular.fit(CELLS, SETTINGS, None).state()["fields"]
    assert fields[1] == {"column": "colour", "name": "colour", "kind": "category", "cardinality": 3, "quantiles": None}


def test_every_column_needs_a_kind() -> None:
    with pytest.raises(ConfigError, match="'kinds' parameter of TabularSettings must be a mapping that names 'age'"):
        Tabular.fit({"age": [1]}, TabularSettings(), None)
