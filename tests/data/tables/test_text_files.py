"""Tables read piece by piece: the same cells, names and sentences however large a piece is."""

from __future__ import annotations

import csv
import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polymodal.data.tables.table import iterate_table, read_table
from polymodal.data.tables.text_files import Columns, read_delimited, read_jsonl
from polymodal.errors import TableError

CELLS = [
    "", "1", "2.50", "007", "words", " ", '"a,b"', '"line\nbreak"', '"cr\r\nlf"', '"ends in cr\r\n"', '"say ""hi"""',
    '5" pipe', "é", "猫", "nan", '""', f'"{"x" * 60}"',
]  # fmt: skip


def joined(parts: Any) -> Columns:
    columns: Columns = {}
    for part in parts:
        num_rows = len(next(iter(columns.values()), []))
        for name, cells in part.items():
            columns.setdefault(name, [None] * num_rows).extend(cells)
    return columns


def said(path: Path, block_bytes: int) -> Columns | str:
    try:
        return joined(read_delimited(path, block_bytes))
    except TableError as error:
        return str(error)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("names", ["a", "a,b", "a,b,c"])
def test_csv_is_the_same_in_blocks_of_any_size(tmp_path: Path, names: str, ending: str) -> None:
    chance = random.Random(names + ending)
    for _ in range(12):
        num_fields = [len(names.split(",")) + (chance.random() < 0.005) for _ in range(40)]
        lines = [",".join(chance.choice(CELLS) for _ in range(number)) for number in num_fields]
        path = tmp_path / "t.csv"
        path.write_bytes(ending.join([chance.choice(["", "\ufeff"]) + names, *lines, ""]).encode())
        expected = said(path, 2**20)
        assert [said(path, block) for block in (8, 50, 1000)] == [expected] * 3


def test_cells_may_be_long_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = csv.field_size_limit()
    (tmp_path / "t.csv").write_text(f"a,b\n1,{'x' * 2 * limit}\n1,2\n")
    for columns in read_delimited(tmp_path / "t.csv", 10):
        assert csv.field_size_limit() == limit
        assert len(str(columns["b"][0])) in (2 * limit, 1)
    monkeypatch.setattr("polymodal.data.tables.text_files.MAX_CELL", 1000)
    with pytest.raises(TableError, match=r"t.csv cannot be read as a table: field larger than field limit \(1000\)"):
        list(read_delimited(tmp_path / "t.csv"))
    assert csv.field_size_limit() == limit


def test_what_stands_in_later_rows_changes_no_cell(tmp_path: Path) -> None:
    rows = [f"{row},{row / 2},2024-01-01" for row in range(500)] + ["late,words,never"]
    (tmp_path / "t.csv").write_text("\n".join(["whole,half,day", *rows]))
    columns = joined(read_delimited(tmp_path / "t.csv", 100))
    assert columns["whole"][:3] == ["0", "1", "2"]
    assert (columns["half"][1], columns["day"][0], columns["half"][-1]) == ("0.5", "2024-01-01", "words")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n" + b"1,2\n" * 5000 + b"1,2,3\n", r"Row 5001 of t.csv has 3 fields, expected 2"),
        (b"a,b\n" + b"1,2\n" * 5000 + b"1,\xe9\n", r"byte 0xe9 at offset 20,006 \(row 5001\)"),
        (b"\xef\xbb\xbfa,b\n" + b"1,2\n" * 9 + b"1,\xc3", r"byte 0xc3 at offset 42 \(row 10\)"),
        (b"a,b\n" + b'"1,2\n' + b"3,4\n" * 50, "Row 1 of t.csv"),
    ],
    ids=["ragged", "latin1", "cut off", "quote"],
)
def test_a_file_broken_in_a_late_row_gets_its_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    for block in (50, 2**20):
        with pytest.raises(TableError, match=message):
            joined(read_delimited(path, block))


def test_jsonl_is_the_same_in_pieces(tmp_path: Path) -> None:
    rows = [{}, {}, {"a": 1}, {"b": [1, 2], "a": 1.5}, {"a": "late words"}, {}, {"c": {"d": None}}, {"b": " "}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    expected = {
        "a": [None, None, 1, 1.5, "late words", None, None, None],
        "b": [None, None, None, [1, 2], None, None, None, None],
        "c": [None] * 6 + [{"d": None}, None],
    }
    assert read_table(path).columns == expected
    for block in (1, 20):
        assert joined(read_jsonl(path, block)) == expected
    path.write_text('{"a": 1}\n' * 3 + "{")
    with pytest.raises(TableError, match=r"Row 4 of t.jsonl \(line 4\) is not valid JSON"):
        joined(read_jsonl(path, 1))


@pytest.mark.parametrize("num_rows", [1, 7, 1000, 10_000])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_parts_have_the_asked_length_and_the_cells_of_the_whole(tmp_path: Path, ending: str, num_rows: int) -> None:
    rows = 1234
    columns: dict[str, list[Any]] = {
        "size": [None if row % 5 == 0 else row if row < 900 else f"about {row}" for row in range(rows)],
        "text": [f'it is "row" {row},\nso' for row in range(rows)],
    }
    path = tmp_path / f"t{ending}"
    if ending == ".parquet":
        typed = {"size": list(range(rows)), "list": [[row, None] for row in range(rows)]}
        when = [dt.datetime(2024, 1, 1, row % 24) for row in range(rows)]
        kinds = pa.array([f"kind {row % 3}" for row in range(rows)]).dictionary_encode()
        pictures = pa.FixedShapeTensorArray.from_numpy_ndarray(_pictures(rows))
        pq.write_table(pa.table({**typed, "when": when, "kind": kinds, "picture": pictures}), path, row_group_size=500)
    else:
        path.write_text(_text_of(columns, ending), encoding="utf-8")
    whole = read_table(path)
    parts = list(iterate_table(path, num_rows))
    assert [part.num_rows for part in parts[:-1]] == [num_rows] * (len(parts) - 1)
    assert sum(part.num_rows for part in parts) == whole.num_rows == rows
    assert {(part.name, part.folder) for part in parts} == {(whole.name, whole.folder)}
    again = joined(part.columns for part in parts)
    assert repr(again) == repr(whole.columns)


def _pictures(rows: int) -> Any:
    import numpy as np

    return np.arange(rows * 4, dtype=np.float32).reshape(rows, 2, 2)


def _text_of(columns: dict[str, list[Any]], ending: str) -> str:
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    if ending == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    quoted = [["" if c is None else '"' + str(c).replace('"', '""') + '"' for c in row.values()] for row in rows]
    mark = "," if ending == ".csv" else "\t"
    return "\n".join(mark.join(cells) for cells in [list(columns), *quoted])


def test_memory_tables_and_folders_come_in_parts_too(tmp_path: Path) -> None:
    parts = list(iterate_table({"a": [1, 2, 3]}, 2))
    assert [part.columns for part in parts] == [{"a": [1, 2]}, {"a": [3]}]
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [part.columns["label"] for part in iterate_table(tmp_path, 2)] == [["cat", "cat"], ["dog"]]


@pytest.mark.parametrize("name", ["latin1.csv", "ragged.csv", "duplicate_columns.csv", "empty.csv", "README.md"])
def test_broken_tables_get_the_sentence_of_the_whole(shared_data: Path, name: str) -> None:
    with pytest.raises(TableError) as whole:
        read_table(shared_data / "fixtures" / name)
    with pytest.raises(TableError) as parts:
        list(iterate_table(shared_data / "fixtures" / name, 1))
    assert str(parts.value) == str(whole.value)
