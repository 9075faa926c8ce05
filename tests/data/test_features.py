"""Feature functions: Python that adds columns to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from polymodal.data.features import add_features, feature_name, functions_by_name, only_features
from polymodal.data.tables.table import Table, concatenate
from polymodal.errors import ConfigError, SchemaError

Columns = Mapping[str, Sequence[Any]]
TABLE = Table({"w": ["2", "3", None], "h": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"]}, name="rooms.csv")


def area(columns: Columns) -> dict[str, Any]:
    pairs = zip(columns["w"], columns["h"], strict=True)
    return {"area": [None if w is None else float(w) * h for w, h in pairs]}


def double(columns: Columns) -> dict[str, Any]:
    return {"double": np.array([np.nan if cell is None else 2 * cell for cell in columns["area"]])}


def added(function: Any, table: Table = TABLE, is_checked: bool = True) -> Table:
    given = {feature_name(function): function}
    return add_features(table, list(given), given, ["kind"], is_checked=is_checked)


def test_functions_add_columns_one_after_the_other_and_only_once() -> None:
    functions = functions_by_name([area, double])
    found = add_features(TABLE, list(functions), functions, ["kind"])
    assert found.column_names == ["w", "h", "kind", "area", "double"]
    assert found.columns["area"] == [2, 6, None]
    assert found.columns["double"] == [4, 12, None]
    assert add_features(found.take([0]), list(functions), functions, ["kind"]).column_names == found.column_names
    assert concatenate([found, found]).added == found.added


def test_the_target_is_hidden_and_the_table_cannot_be_changed() -> None:
    def seen(columns: Columns) -> dict[str, Any]:
        columns["h"].clear()  # type: ignore[attr-defined]
        return {"names": [", ".join(columns)] * len(columns["h"])}

    assert added(seen).columns["names"] == ["w, h"] * 3
    assert TABLE.columns["h"] == [1, 2, 3]


def test_columns_can_be_left_out_again() -> None:
    functions = functions_by_name([area, double])
    found = add_features(TABLE, list(functions), functions, [])
    assert only_features(found, ["area"]).column_names == ["w", "h", "kind", "area"]
    with pytest.raises(ConfigError, match="no feature function 'are' for all variants"):
        only_features(found, ["are"])


def returning(value: Any) -> Any:
    def made(_: Columns) -> Any:
        return value

    return made


def mean(columns: Columns) -> dict[str, Any]:
    return {"above": [cell > np.mean(columns["h"]) for cell in columns["h"]]}


def leak(columns: Columns) -> dict[str, Any]:
    return {"copy": columns["kind"]}


def typo(columns: Columns) -> dict[str, Any]:
    return {"copy": columns["width"]}


def failing(columns: Columns) -> dict[str, Any]:
    return {"copy": [float(cell) for cell in columns["w"]]}


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (failing, r"'failing', rooms.csv: it failed with TypeError: float\(\) argument"),
        (typo, "'typo', rooms.csv: it reads 'width', which the table lacks. Its columns: w, h, kind"),
        (leak, "'leak', rooms.csv: it reads 'kind', which is to be predicted"),
        (returning({}), "mapping of new columns, name to cells. Got an empty one"),
        (returning([1, 2, 3]), "Got list instead"),
        (returning({1: [1, 2, 3]}), "mapping of new columns"),
        (returning({"w": [1, 2, 3]}), "it adds 'w', which the table has"),
        (returning({"x": [1, 2]}), "'x' must have a cell for each of 3 rows. Got 2"),
        (returning({"x": "abc"}), "'x' must be a list or an array"),
    ],
)
def test_what_a_function_does_wrong_is_said_with_its_name(function: Any, sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        added(function)


def test_each_row_is_computed_by_itself() -> None:
    table = Table({"h": [float(row) for row in range(200)]}, name="rooms.csv")
    with pytest.raises(SchemaError, match="'mean' computes another 'above' for row 101"):
        added(mean, table)
    assert sum(added(mean, table, is_checked=False).columns["above"]) == 100
    with pytest.raises(SchemaError, match="must always add the same columns"):
        added(named_by_rows, table)


def named_by_rows(columns: Columns) -> dict[str, Any]:
    return {f"h{len(columns['h'])}": columns["h"]}


class Scaled:
    """A function that keeps a number."""

    def __call__(self, columns: Columns) -> dict[str, Any]:
        return {"scaled": [cell / 3 for cell in columns["h"]]}


def test_objects_are_called_after_their_class() -> None:
    assert added(Scaled()).columns["scaled"] == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([lambda columns: columns], "needs a name"),
        ([3], "must be a function or a name. Got int"),
        ([area, partial(area), area], "called 'area'"),
    ],
)
def test_functions_need_different_names(given: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        functions_by_name(given)


def test_a_function_that_is_not_here_is_asked_for() -> None:
    with pytest.raises(
        ConfigError, match=r"The options ask for the feature function 'area', .* --features MODULE:area"
    ):
        add_features(TABLE, ["area"], {}, [])
