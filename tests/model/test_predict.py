"""Predictions: every row answered, in order, whatever stands in its cells."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import polymodal
import tiny
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, SchemaError
from polymodal.model.inference_network import NO_MASK
from polymodal.model.predict import predict_members
from polymodal.targets import RowContext


def features_of(table: Table) -> Table:
    return tiny.only(table, *tiny.FEATURES)


def agree(first: Any, second: Any, rows: Any = slice(None)) -> bool:
    return all(np.allclose(second.values[name], values[rows], atol=1e-5) for name, values in first.values.items())


def test_every_row_is_answered_with_plain_values(model: polymodal.Model, table: Table) -> None:
    said = model.predict(features_of(table))
    assert list(said) == list(tiny.TARGETS)
    assert all(len(cells) == table.num_rows for cells in said.values())
    assert set(said["kind"]) <= set(tiny.KINDS)
    assert all(isinstance(labels, list) for labels in said["tags"])
    assert all(isinstance(value, float) for value in said["weight"])
    assert json.loads(json.dumps(said)) == said


def test_the_order_of_rows_is_kept(model: polymodal.Model, table: Table) -> None:
    order = np.random.default_rng(0).permutation(table.num_rows)
    assert agree(model.predictions(table), model.predictions(table.take(order)), order)


def test_more_rows_than_a_batch_are_answered_in_order(model: polymodal.Model, table: Table) -> None:
    rows = np.arange(600) % table.num_rows
    assert agree(model.predictions(table), model.predictions(table.take(rows)), rows)


def test_asking_twice_gives_the_same_bits(model: polymodal.Model, table: Table) -> None:
    first, second = (model.predictions(table).values for _ in range(2))
    assert tiny.same(first, second)


def test_predictions_do_not_depend_on_the_order_or_number_of_columns(model: polymodal.Model, table: Table) -> None:
    turned = {name: table.columns[name] for name in reversed(tiny.FEATURES)} | {"mood": ["good"] * table.num_rows}
    assert tiny.same(model.predictions(table).values, model.predictions(Table(turned, table.folder, "turned")).values)


def test_probabilities_are_calibrated_shares(model: polymodal.Model, table: Table) -> None:
    found = model.predict_proba(table)
    assert set(found) == {"kind", "tags"}
    names, values = found["kind"]
    assert names == list(tiny.KINDS)
    assert np.allclose(values.sum(axis=1), 1)
    assert ((found["tags"][1] >= 0) & (found["tags"][1] <= 1)).all()
    assert [names[index] for index in values.argmax(axis=1)] == model.predict(table)["kind"]


@pytest.mark.parametrize("gone", [*tiny.FEATURES, ("photo", "sound"), ("size", "colour", "day"), tiny.FEATURES[1:]])
def test_a_missing_column_is_the_same_as_empty_cells(model: polymodal.Model, table: Table, gone: Any) -> None:
    table = table.take(np.arange(24))
    names = {gone} if isinstance(gone, str) else set(gone)
    without = tiny.only(table, *(name for name in tiny.FEATURES if name not in names))
    empty = tiny.with_cells(table, **{name: [None] * table.num_rows for name in names})
    first, second = model.predictions(without), model.predictions(empty)
    assert tiny.same(first.values, second.values)
    assert first.broken_cells == []
    assert not tiny.same(first.values, model.predictions(table).values)


def test_a_row_without_any_cell_gets_the_prior(model: polymodal.Model) -> None:
    found = model.predictions({"size": [None, None], "mood": ["good", "bad"]})
    for name, target in model.trained.targets.items():
        assert (found.values[name] == target.prior).all()
        assert len(found.labels[name]) == 2


def test_a_table_without_any_input_column_is_refused(model: polymodal.Model) -> None:
    for ask in (model.predict, model.predict_proba, model.embed, model.index):
        with pytest.raises(SchemaError, match=r"^table has no input column of the model\. .*'Photo' for 'photo'"):
            ask({"Photo": ["x.png"], "kind": ["cat"]})


def test_what_is_lacking_is_told_where_the_caller_stands(model: polymodal.Model, table: Table) -> None:
    rows = tiny.only(table, "size", "kind").take(range(20))
    for ask in (model.predict, model.predict_proba, model.predictions, model.evaluate, model.embed, model.index):
        with pytest.warns(polymodal.PolymodalWarning, match=r"^tiny lacks 9 of the 10 input columns") as told:
            ask(rows)
        assert [warning.filename for warning in told] == [__file__]
        with pytest.raises(SchemaError, match="strict"):
            ask(rows, strict=True)


def test_a_fusion_without_weights_says_so(model: polymodal.Model, table: Table) -> None:
    with pytest.warns(polymodal.PolymodalWarning, match="The fusion 'transformer' has no weights of the streams"):
        model.predict(table, weights=True)


def test_broken_cells_are_named_from_row_1_and_count_as_absent(model: polymodal.Model, table: Table) -> None:
    broken, empty = features_of(table), features_of(table)
    cells = {"photo": (0, b"no picture"), "sound": (5, "sounds/none.wav"), "code": (5, "[1, 2]"), "size": (79, "big")}
    for column, (row, cell) in cells.items():
        broken = tiny.with_cell(broken, column, row, cell)
        empty = tiny.with_cell(empty, column, row, None)
    found = model.predictions(broken)
    assert [(cell.row, cell.column) for cell in found.broken_cells] == [
        (1, "photo"),
        (6, "code"),
        (6, "sound"),
        (80, "size"),
    ]
    assert all(cell.reason for cell in found.broken_cells)
    assert len(found) == table.num_rows
    assert tiny.same(found.values, model.predictions(empty).values)


def test_strict_stops_at_a_broken_cell(model: polymodal.Model, table: Table) -> None:
    broken = tiny.with_cell(table, "photo", 2, "photos/none.png")
    for ask in (model.predictions, model.evaluate):
        with pytest.raises(CellError, match=r"^tiny, row 3, column 'photo': .*\.$"):
            ask(broken, strict=True)


def test_every_cell_of_a_column_broken_is_answered_all_the_same(model: polymodal.Model, table: Table) -> None:
    broken = tiny.with_cells(table, photo=["photos/none.png"] * table.num_rows)
    found = model.predictions(broken)
    assert len(found.broken_cells) == table.num_rows
    empty = tiny.with_cells(table, photo=[None] * table.num_rows)
    assert tiny.same(found.values, model.predictions(empty).values)


def test_unseen_categories_are_answered(model: polymodal.Model, table: Table) -> None:
    found = model.predictions(tiny.with_cells(table, colour=["violet"] * table.num_rows))
    assert found.broken_cells == []
    assert all(np.isfinite(values).all() for values in found.values.values())


def test_text_in_a_number_column_is_counted(model: polymodal.Model, table: Table) -> None:
    found = model.predictions(tiny.with_cells(table, size=["large"] * table.num_rows))
    assert len(found.broken_cells) == table.num_rows
    assert {cell.column for cell in found.broken_cells} == {"size"}
    empty = tiny.with_cells(table, size=[None] * table.num_rows)
    assert tiny.same(found.values, model.predictions(empty).values)


def test_extreme_numbers_stay_finite(model: polymodal.Model, table: Table) -> None:
    found = model.predictions(
        tiny.with_cells(table, size=["1e300", "-1e300"] * 40, day=["0001-01-01", "9999-12-31"] * 40)
    )
    assert all(np.isfinite(values).all() for values in found.values.values())


def test_every_kind_of_table_gets_the_same_answers(table: Table) -> None:
    data = tiny.numbers_table()
    model = tiny.train(data)
    expected = model.predictions(data).values
    rows = [dict(zip(data, cells, strict=True)) for cells in zip(*data.values(), strict=True)]
    for source in (pd.DataFrame(data), pl.DataFrame(data), pa.table(data), rows):
        assert tiny.same(model.predictions(source).values, expected)
    as_text = {name: [str(cell) for cell in cells] for name, cells in data.items()}
    assert tiny.same(model.predictions(as_text).values, expected)


def test_media_in_memory_get_the_answers_of_their_files(model: polymodal.Model, table: Table) -> None:
    assert table.folder is not None
    names = table.columns["photo"]
    as_bytes = [None if name is None else (table.folder / name).read_bytes() for name in names]
    absolute = [None if name is None else str(table.folder / name) for name in names]
    records = [None if data is None else {"bytes": data, "path": None} for data in as_bytes]
    expected = model.predictions(table).values
    for cells in (as_bytes, absolute, records):
        assert tiny.same(model.predictions(tiny.with_cells(table, photo=cells)).values, expected)


def test_columns_of_the_answer(model: polymodal.Model, table: Table) -> None:
    few = table.take(np.arange(3))
    found = model.predictions(few, weights=True)
    assert list(found.to_columns()) == [
        "kind", "kind_probability", "kind:cat", "kind:dog", "kind:owl",
        "tags", "tags:feathered", "tags:furry", "tags:loud", "tags:tame", "weight",
    ]  # fmt: skip
    assert list(found.to_columns(all_classes=False)) == ["kind", "kind_probability", "tags", "weight"]
    rows = found.to_rows()
    assert len(rows) == 3
    assert rows[1]["kind_probability"] == max(rows[1][f"kind:{kind}"] for kind in tiny.KINDS)


@pytest.mark.parametrize("stream", tiny.STREAMS)
def test_a_hidden_stream_is_the_same_as_an_absent_one(model: polymodal.Model, table: Table, stream: str) -> None:
    trained, table = model.trained, table.take(np.arange(24))
    names = ("size", "colour", "day") if stream == "tabular" else (stream,)
    gone = tiny.with_cells(table, **{name: [None] * table.num_rows for name in names})
    (columns, cells), (fewer, fewer_cells) = (
        (trained.preprocessor.transform(rows, ArrayCache(None))[0], features_of(rows).columns) for rows in (table, gone)
    )
    views = [frozenset({stream}), frozenset(tiny.STREAMS)]
    hidden, nothing = predict_members(trained, columns, RowContext(cells), views)
    (absent,) = predict_members(trained, fewer, RowContext(fewer_cells), [NO_MASK])
    for name in tiny.TARGETS:
        for member, values in absent.predictions[name].items():
            if member != f"stream:{stream}":
                assert np.allclose(hidden.predictions[name][member], values, atol=1e-5), member
    assert not hidden.present[f"stream:{stream}"].any()
    assert not any(present.any() for present in nothing.present.values())


def test_the_network_is_asked_in_evaluation_mode(model: polymodal.Model, table: Table) -> None:
    columns, _ = model.trained.preprocessor.transform(table, ArrayCache(None))
    model.trained.network.train()
    model.trained.network.run(columns, [NO_MASK])
    assert not model.trained.network.training
