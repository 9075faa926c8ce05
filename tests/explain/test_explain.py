"""What a person asks and gets: rows, targets, changes, notices, and one sentence for what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError, TableError
from polymodal.explain.explain import OTHER_PASSES

Explain = Callable[..., polymodal.Explanation]
Make = Callable[[int, int], dict[str, list[Any]]]


def without_inputs(table: Table) -> Table:
    return tiny.with_cells(table, **{name: [None] * table.num_rows for name in ("note", "code", "size", "colour")})


def test_a_row_with_nothing_present_gets_the_prior(
    explain: Explain, mixed_model: polymodal.Model, mixed_table: Table
) -> None:
    found = explain(mixed_model, without_inputs(mixed_table), rows=[1], training=mixed_table, passes=10)
    for row in found.rows:
        assert row.value == row.prior
        assert set(row.streams.values()) == {0.0}
        assert row.changes == row.neighbours == row.cells == []
        assert sorted(row.absent) == sorted(row.streams)


def test_one_row_is_enough(explain: Explain, mixed_model: polymodal.Model, mixed_table: Table) -> None:
    found = explain(mixed_model, mixed_table.take([0]), target="kind")
    (summary,) = found.summaries
    assert (summary.rows, len(found.rows)) == (1, 1)
    assert all(entry["low"] == entry["mean"] == entry["high"] for entry in summary.importance.values())


def test_rows_are_named_from_one_and_told_when_left_out(
    explain: Explain, mixed_model: polymodal.Model, mixed_table: Table
) -> None:
    found = explain(mixed_model, mixed_table, target="kind", rows=[7, 3])
    assert [row.row for row in found.rows] == [3, 7]
    assert [row.truth for row in found.rows] == [mixed_table.columns["kind"][index] for index in (2, 6)]
    found = explain(mixed_model, mixed_table, target="kind")
    assert [row.row for row in found.rows] == list(range(1, 21))
    assert found.summaries[0].rows == 60
    assert found.notices[0].startswith("The first 20 of 60 rows of tiny are explained, and the first 60 are summarised")


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"rows": [0]}, ConfigError, r"tiny has no row 0: its rows are numbered from 1 to 60\. Choose other --rows\."),
        ({"rows": [61]}, ConfigError, "tiny has no row 61"),
        ({"rows": []}, ConfigError, "row numbers such as"),
        ({"rows": "1-3"}, ConfigError, r"row numbers such as \[1, 5\], at least one. Got '1-3' instead"),
        ({"stream": "notes"}, SchemaError, r"The model has no stream 'notes'\. Did you mean 'note'\?"),
        ({"target": "kinds"}, SchemaError, r"The model has no target 'kinds'\. Did you mean 'kind'\?"),
        ({"passes": 1}, ConfigError, "passes"),
        ({"training": "nowhere.csv"}, TableError, "There is no file"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    explain: Explain,
    mixed_model: polymodal.Model,
    mixed_table: Table,
    options: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    with pytest.raises(error, match=sentence):
        explain(mixed_model, mixed_table, **options)


def test_a_table_of_other_columns_is_refused(explain: Explain, mixed_model: polymodal.Model) -> None:
    with pytest.raises(SchemaError, match="no input column of the model"):
        explain(mixed_model, {"other": [1]})


def test_a_table_without_rows_is_refused(explain: Explain, mixed_model: polymodal.Model, mixed_table: Table) -> None:
    with pytest.raises(TableError, match="no rows to explain"):
        explain(mixed_model, mixed_table.take([]))


def test_a_model_without_target_is_refused(explain: Explain) -> None:
    table = tiny.numbers_table(40)
    model = tiny.train(table, None, drop=["kind"])
    with pytest.raises(ConfigError, match="no target to explain"):
        explain(model, table)


def test_constant_predictions_owe_nothing_to_any_stream(explain: Explain) -> None:
    table = {"noise": [float(i % 7) for i in range(40)], "word": ["a", "b"] * 20, "y": [5.0] * 39 + [5.0001]}
    model = tiny.train(table, "y", modality={"y": "number"}, settings={"train.epochs": 1})
    found = explain(model, table, rows=[1])
    assert all(abs(value) < 1e-3 for value in found.rows[0].streams.values())


def test_changes_are_what_the_model_answers(
    explain: Explain, exclusive_or_model: polymodal.Model, exclusive_or_table: Make
) -> None:
    table, training = exclusive_or_table(12, 1), exclusive_or_table(40, 2)
    found = explain(exclusive_or_model, table, rows=[1], training=training)
    (row,) = found.rows
    swaps = [change for change in row.changes if change.kind == "swap"]
    assert {change.stream for change in swaps} <= {"first", "second"}
    assert swaps
    for change in swaps:
        assert change.cells == {change.stream: training[change.stream][change.row - 1]}
        swapped = {name: [cells[0]] for name, cells in table.items()} | {change.stream: [change.cells[change.stream]]}
        assert change.answer == exclusive_or_model.predict(swapped)["label"][0] != row.answer
    near = [change for change in row.changes if change.kind == "nearest_row"]
    answers = exclusive_or_model.predict(training)["label"]
    assert [change.answer for change in near] == [answers[change.row - 1] for change in near]
    assert all(change.answer != row.answer for change in near)
    assert all(answers[number - 1] == row.answer for number in row.neighbours)


def test_the_row_itself_is_not_its_neighbour(
    explain: Explain, mixed_model: polymodal.Model, mixed_table: Table
) -> None:
    found = explain(mixed_model, mixed_table, target="kind", rows=[1, 2, 3], training=mixed_table)
    assert all(row.row not in row.neighbours for row in found.rows)


def test_without_training_rows_it_is_said_why(
    explain: Explain, mixed_model: polymodal.Model, mixed_table: Table
) -> None:
    found = explain(mixed_model, mixed_table, target="kind", rows=[1])
    assert any("trained on a table in memory. Name training rows with --training." in n for n in found.notices)
    assert {change.kind for change in found.rows[0].changes} <= {"absent"}


@pytest.mark.parametrize("kind", ["caption", "boxes"])
def test_items_of_structured_answers_add_up(explain: Explain, tmp_path: Path, kind: str) -> None:
    table = tiny.only(tiny.write_structured_table(tmp_path, kind, rows=24), "photo", "size", "answer")
    model = tiny.train(table, "answer", modality={"answer": kind})
    found = explain(model, table, rows=[3, 4])
    assert found.units == {"answer": "confidence"}
    for row in found.rows:
        assert 0 <= row.value <= 1
        assert sum(row.streams.values()) == pytest.approx(row.value - row.prior, abs=1e-6)
    assert "one class a row" in found.summaries[0].information_note


def test_a_row_takes_at_most_fifty_passes(explain: Explain, mixed_model: polymodal.Model, mixed_table: Table) -> None:
    found = explain(mixed_model, mixed_table, target="kind", rows=[1, 2], training=mixed_table, passes=50)
    of_row = [sum(cell.passes for cell in row.cells) for row in found.rows]
    assert max(of_row) + OTHER_PASSES <= 50
    assert min(of_row) > 0


def test_the_explanation_is_plain_json(explain: Explain, mixed_model: polymodal.Model, mixed_table: Table) -> None:
    from polymodal.cli.json_text import json_text

    found = explain(mixed_model, mixed_table, rows=[1, 2], training=mixed_table)
    assert json_text(found.to_json())
    assert found.units == {"kind": "probability", "tags": "probability", "weight": "value"}
    assert found.streams["tabular"] == ["size", "colour"]
