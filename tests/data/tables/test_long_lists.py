"""Cells of very many numbers: refused by their declared length, or read without Python's objects."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from polymodal.data.tables import arrow_lists
from polymodal.data.tables.cells import arrow_column
from polymodal.data.tables.table import read_table
from polymodal.errors import TableError


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.none() | st.lists(st.none() | st.lists(st.none() | st.integers(0, 9), max_size=4), max_size=4)),
    kind=st.sampled_from([pa.list_, pa.large_list]),
)
def test_lengths_and_values_are_those_of_the_lists(rows: list[Any], kind: Any) -> None:
    column = pa.chunked_array([pa.array(rows, kind(kind(pa.int64())))])
    limits = arrow_lists.LONG_LIST, arrow_lists.MAX_LIST_VALUES
    try:
        arrow_lists.LONG_LIST, arrow_lists.MAX_LIST_VALUES = 2, 5
        cells = arrow_column(column, "x")
    finally:
        arrow_lists.LONG_LIST, arrow_lists.MAX_LIST_VALUES = limits
    counts = [0 if row is None else sum(len(inner or ()) for inner in row) for row in rows]
    for row, cell, count in zip(rows, cells, counts, strict=True):
        if count > 5:
            assert str(cell).startswith(f"a list of {count} values, above the limit of 5")
        else:
            assert (cell.tolist() if isinstance(cell, np.ndarray) else cell) == row


@pytest.mark.parametrize("form", ["flat", "points"])
def test_a_cell_of_millions_is_refused_before_it_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    count = 2_000_000
    monkeypatch.setattr(arrow_lists, "MAX_LIST_VALUES", 1_500_000)
    values = pa.array(np.zeros(count, np.int8))
    if form == "points":
        values = pa.FixedSizeListArray.from_arrays(values, 4)
    lists = pa.ListArray.from_arrays(pa.array([0, len(values), len(values)], pa.int32()), values)
    parquet.write_table(pa.table({"cloud": lists, "y": [1, 2]}), tmp_path / "t.parquet")
    tracemalloc.start()
    table = read_table(tmp_path / "t.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.columns["cloud"][0] == "a list of 2,000,000 values, above the limit of 1,500,000: put it into a file"
    assert peak < count


def test_a_long_list_is_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_lists, "LONG_LIST", 1000)
    values = np.arange(3000.0)
    column = pa.array([values.reshape(-1, 3).tolist()[:10], values.reshape(-1, 3).tolist()])
    parquet.write_table(pa.table({"cloud": column}), tmp_path / "t.parquet")
    short, long = read_table(tmp_path / "t.parquet").columns["cloud"]
    assert isinstance(short, list)
    np.testing.assert_array_equal(long, values.reshape(-1, 3))


def test_a_line_of_json_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.data.tables.text_files.MAX_LINE", 100)
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": [1, 2]}\n{"a": [' + ", ".join("1" * 60) + "]}\n")
    with pytest.raises(
        TableError, match=r"t\.jsonl has a line 2 of more than 100 bytes\. .* put long lists into files"
    ):
        read_table(path)
