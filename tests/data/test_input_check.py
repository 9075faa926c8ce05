"""What a model lacks in a table it is given is told once, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tiny
from polymodal.arrays import BrokenCell
from polymodal.data.input_check import InputCheck
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, PolymodalWarning, SchemaError

ROWS = 40


@pytest.fixture(scope="module")
def given() -> Table:
    columns: dict[str, list[Any]] = tiny.numbers_table(ROWS)
    columns["latitude"] = np.linspace(40, 50, ROWS).tolist()
    columns["longitude"] = np.linspace(2, 9, ROWS).tolist()
    return Table(columns, name="new.csv")


@pytest.fixture(scope="module")
def preprocessor(given: Table) -> Preprocessor:
    schema = infer_schema(given, targets=["kind"])
    assert [entry.parts for entry in schema.columns if entry.parts] == [("latitude", "longitude")]
    return Preprocessor.fit(given, np.arange(ROWS), schema)


def told(preprocessor: Preprocessor, parts: Sequence[Table], *, json_lines: bool = False) -> list[str]:
    """Return what is told of a table that comes in parts."""
    check = InputCheck(preprocessor, "new.csv")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for part in parts:
            check.see_columns(part.columns, more_may_come=json_lines)
            check.transform(part)
        check.finish()
    assert all(warning.category is PolymodalWarning for warning in found)
    return [str(warning.message) for warning in found]


def halves(table: Table) -> list[Table]:
    return [table.take(range(20)), table.take(range(20, ROWS))]


def without(table: Table, *names: str) -> Table:
    return tiny.only(table, *(name for name in table.columns if name not in names))


def renamed(table: Table, change: Any) -> Table:
    return Table({change(name): cells for name, cells in table.columns.items()}, name=table.name)


def test_nothing_is_told_of_a_table_like_the_training_rows(preprocessor: Preprocessor, given: Table) -> None:
    assert told(preprocessor, halves(given)) == []
    assert told(preprocessor, [without(given, "kind")]) == []
    assert told(preprocessor, [tiny.all_absent(given)]) == []
    some = ["violet" if row < 30 else "red" for row in range(ROWS)]
    assert told(preprocessor, [tiny.with_cells(given, colour=some)]) == []


def test_absent_columns_are_told_once_with_near_matches(preprocessor: Preprocessor, given: Table) -> None:
    parts = halves(renamed(without(given, "longitude"), lambda name: "Size " if name == "size" else name))
    (sentence,) = told(preprocessor, parts)
    assert sentence == (
        "new.csv lacks 2 of the 5 input columns of the model: 'size', 'longitude'. Their cells count as missing. "
        "Near matches: 'Size ' for 'size'."
    )


def test_a_column_of_several_parts_may_be_given_as_one(preprocessor: Preprocessor, given: Table) -> None:
    places = list(zip(given.columns["latitude"], given.columns["longitude"], strict=True))
    (name,) = (entry.name for entry in preprocessor.schema.columns if entry.parts)
    joined = without(given, "latitude", "longitude").columns | {name: places}
    assert told(preprocessor, [Table(joined)]) == []


@pytest.mark.parametrize("change", [str.upper, lambda name: f" {name} "])
def test_a_table_without_any_input_column_is_refused(preprocessor: Preprocessor, given: Table, change: Any) -> None:
    expected = "Expected 'size', 'age', 'colour', 'latitude', 'longitude'; got"
    with pytest.raises(
        SchemaError, match=rf"^new\.csv has no input column.* {expected}.*'{change('size')}' for 'size'"
    ):
        told(preprocessor, [renamed(given, change)])


def test_a_wrong_separator_is_guessed(preprocessor: Preprocessor) -> None:
    one = Table({"size|age|colour": ["1|2|red"]})
    with pytest.raises(SchemaError, match=r"One column is called 'size\|age\|colour': is the separator right\?"):
        told(preprocessor, [one])


def test_later_lines_of_json_may_have_more_columns(preprocessor: Preprocessor, given: Table) -> None:
    first, second = halves(given)
    assert told(preprocessor, [tiny.only(first, "size"), second], json_lines=True) == []
    (sentence,) = told(preprocessor, [tiny.only(first, "size"), without(second, "age")], json_lines=True)
    assert "lacks 1 of the 5 input columns of the model: 'age'" in sentence
    with pytest.raises(SchemaError, match="has no input column of the model"):
        InputCheck(preprocessor, "new.jsonl").see_columns(["kind"], more_may_come=True)


def test_unseen_categories_are_counted_over_the_whole_table(preprocessor: Preprocessor, given: Table) -> None:
    colours = [None if row % 4 == 0 else ("VIOLET", "PINK")[row % 2] for row in range(ROWS)]
    (sentence,) = told(preprocessor, halves(tiny.with_cells(given, colour=colours)))
    assert sentence.startswith("new.csv, column 'colour': 30 of 30 values were not seen in training, such as 'PINK'")


def test_a_number_column_that_is_now_text_is_told_once(preprocessor: Preprocessor, given: Table) -> None:
    prices = [f"${size}" for size in given.columns["size"]]
    (sentence,) = told(preprocessor, halves(tiny.with_cells(given, size=prices)))
    assert sentence.startswith(
        "new.csv, column 'size': 40 of 40 cells cannot be read and count as missing, as in row 1"
    )


def test_broken_cells_are_listed_by_their_rows_in_the_whole_table(preprocessor: Preprocessor, given: Table) -> None:
    broken = tiny.with_cell(tiny.with_cell(given, "size", 3, "large"), "age", 30, "old")
    (sentence,) = told(preprocessor, halves(broken))
    lines = sentence.splitlines()
    assert lines[0] == "2 cells of new.csv could not be read and counted as absent:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  row 4, column 'size'", "  row 31, column 'age'"]


def test_broken_targets_are_listed_as_cells(preprocessor: Preprocessor, given: Table) -> None:
    check = InputCheck(preprocessor, "new.csv")
    check.transform(given, more_broken=[BrokenCell(1, "weight", "it is no number")])
    check.see_columns(given.columns)
    with pytest.warns(PolymodalWarning, match="1 cell of new.csv could not be read"):
        check.finish()


def test_many_broken_cells_are_cut(preprocessor: Preprocessor, given: Table) -> None:
    sizes = ["large" if row < 15 else 1.0 for row in range(ROWS)]
    (sentence,) = told(preprocessor, [tiny.with_cells(given, size=sizes)])
    assert len(sentence.splitlines()) == 12
    assert sentence.endswith("and 5 more")


def test_strict_refuses_what_would_be_told(preprocessor: Preprocessor, given: Table) -> None:
    check = InputCheck(preprocessor, "new.csv", strict=True)
    with pytest.raises(SchemaError, match=r"lacks 1 of the 5 input columns.*A strict run stops here"):
        check.see_columns(without(given, "size").columns)
    with pytest.raises(CellError, match=r"^new\.csv, row 4, column 'size': .*\.$"):
        InputCheck(preprocessor, "new.csv", strict=True).transform(tiny.with_cell(given, "size", 3, "large"))
    check = InputCheck(preprocessor, "new.csv", strict=True)
    check.see_columns(given.columns)
    check.transform(tiny.with_cells(given, colour=["violet"] * ROWS))
    with pytest.raises(SchemaError, match=r"40 of 40 values were not seen.*A strict run stops here"):
        check.finish()
