"""Reading tables: every source, and one clear sentence for every file that is none."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polymodal.data.tables.table import Table, concatenate, read_table
from polymodal.errors import SchemaError, TableError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv_keeps_every_cell_as_text(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "code,size\n007,1.50\n,nan\n"))
    assert table.columns == {"code": ["007", None], "size": ["1.50", "nan"]}
    assert (table.num_rows, table.name, table.folder) == (2, "t.csv", tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("﻿a,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        (" a , b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("a,b\r\n1,2\r\n3,4\r\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        ('a,b\n"one\nline, two",2\n', {"a": ["one\nline, two"], "b": ["2"]}),
        ('a,b\n"say ""hi""",  \n', {"a": ['say "hi"'], "b": [None]}),
        ("a,b\n1,2\n\n3,4", {"a": ["1", "3"], "b": ["2", "4"]}),
        ("\n\na,b\n1,2\n", {"a": ["1"], "b": ["2"]}),
        ("a;b\n1,5;2\n", {"a": ["1,5"], "b": ["2"]}),
        ("a\tb\n1,5\t2\n", {"a": ["1,5"], "b": ["2"]}),
        (",b\n0,2\n", {"unnamed_1": ["0"], "b": ["2"]}),
        ("a\nx\n\ny\n", {"a": ["x", None, "y"]}),
        ("标签,b\n猫,2\n", {"标签": ["猫"], "b": ["2"]}),
    ],
    ids=["bom", "spaced", "crlf", "newline", "quotes", "blank", "leading", "semicolon", "tab", "unnamed", "one", "zh"],
)
def test_csv_forms(tmp_path: Path, content: str, expected: dict[str, list[str | None]]) -> None:
    assert read_table(write(tmp_path, "t.csv", content)).columns == expected


def test_tsv(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.tsv", "a\tb\n1,5\t\n")).columns == {"a": ["1,5"], "b": [None]}


def test_long_cells_are_read(tmp_path: Path) -> None:
    long = "word " * 400_000
    assert read_table(write(tmp_path, "t.csv", f"a,b\n{long.strip()},1\n")).columns["a"] == [long.strip()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("latin1.csv", r"latin1.csv is not a UTF-8 file: byte 0xe9 at offset 14 \(row 1\).*Save it as UTF-8"),
        ("ragged.csv", r"Row 3 of ragged.csv has 2 fields, expected 3"),
        ("duplicate_columns.csv", r"two columns named 'image' \(columns 1 and 3\)"),
        ("empty.csv", r"empty.csv has column names but no rows"),
    ],
)
def test_fixtures_get_one_sentence(shared_data: Path, name: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_table(shared_data / "fixtures" / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b" \n\n", "t.csv is empty"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16 file"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n", "Row 2 of t.csv has 3 fields, expected 2"),
        ("t.csv", b'a,b\n1,2\n"3,4\n5,6\n', "Row 2 of t.csv"),
        ("t.docx", b"PK", "ending that is not known.*.csv"),
        ("t.jsonl", b'{"a": 1}\n\n{"a": }\n', r"Row 2 of t.jsonl \(line 3\) is not valid JSON"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "Row 2 .* holds a JSON list"),
        ("t.jsonl", b"\n", "no rows"),
        ("t.parquet", b"PAR1 cut off", "t.parquet cannot be read as a Parquet file"),
        ("t.parquet", b"", "t.parquet cannot be read as a Parquet file"),
    ],
)
def test_broken_files_get_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_table(write(tmp_path, name, content))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"There is no file .*nothing\.csv"):
        read_table(tmp_path / "nothing.csv")


def test_parquet_with_a_damaged_name(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"name": [1]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"name", b"n\x80me"))
    with pytest.raises(TableError, match=r"t.parquet cannot be read as a Parquet file: .*can't decode"):
        read_table(path)


def test_truncated_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(TableError, match="Parquet"):
        read_table(path)


def test_jsonl_and_parquet_keep_types(tmp_path: Path) -> None:
    lines = '{"a": 1, "b": [1, 2]}\n{"a": NaN, "c": {"bytes": null, "path": "x.png"}}\n{"a": " "}\n'
    table = read_table(write(tmp_path, "t.jsonl", lines))
    assert table.columns == {
        "a": [1, None, None],
        "b": [[1, 2], None, None],
        "c": [None, {"bytes": None, "path": "x.png"}, None],
    }
    pq.write_table(pa.table({"n": [1.5, float("nan")], "when": [dt.datetime(2024, 5, 31), None]}), tmp_path / "t.pq")
    assert read_table(tmp_path / "t.pq").columns == {"n": [1.5, None], "when": [dt.datetime(2024, 5, 31), None]}


def test_class_folders(tmp_path: Path) -> None:
    for name in ("dog/2.PNG", "dog/1.jpg", "cat/a.png", "cat/.hidden.png", "cat/notes.txt", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    table = read_table(tmp_path)
    assert table.columns == {"image": ["cat/a.png", "dog/1.jpg", "dog/2.PNG"], "label": ["cat", "dog", "dog"]}
    (tmp_path / "cat" / "b.wav").write_bytes(b"x")
    with pytest.raises(TableError, match="3 image files and 1 audio files"):
        read_table(tmp_path)


def test_class_folders_of_tables_and_tables_beside_media(tmp_path: Path) -> None:
    for name in ("run/1.csv", "run/2.parquet", "walk/1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert read_table(tmp_path).columns["series"] == ["run/1.csv", "run/2.parquet", "walk/1.csv"]
    for name in ("run/a.png", "walk/b.png"):
        (tmp_path / name).write_bytes(b"x")
    assert read_table(tmp_path).columns == {"image": ["run/a.png", "walk/b.png"], "label": ["run", "walk"]}


def test_folder_without_classes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(TableError, match=r"no class folders.*Expected one subfolder a class"):
        read_table(tmp_path)


def test_pandas_with_objects() -> None:
    picture, array = Image.new("L", (2, 2)), np.zeros(3)
    frame = pd.DataFrame(
        {
            "picture": [picture, None],
            "array": pd.Series([array, None], dtype=object),
            "number": [1.5, float("nan")],
            "whole": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["a", None]),
            "when": pd.to_datetime(["2024-05-31", None]),
            3: ["x", " "],
        }
    )
    columns = read_table(frame).columns
    assert columns["picture"] == [picture, None]
    assert columns["array"][0] is array
    assert columns["number"] == [1.5, None]
    assert columns["whole"] == [1, None]
    assert columns["kind"] == ["a", None]
    assert columns["when"] == [dt.datetime(2024, 5, 31), None]
    assert type(columns["when"][0]) is dt.datetime
    assert columns["3"] == ["x", None]


def test_pandas_duplicate_columns() -> None:
    with pytest.raises(TableError, match="two columns named 'a'"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_arrow_capsules() -> None:
    expected = {"a": [1, None], "b": ["x", None], "c": [[1.0, 2.0], None], "d": [True, False]}
    assert read_table(pl.DataFrame(expected)).columns == expected
    assert read_table(pa.table(expected)).columns == expected
    nanoseconds = pa.table({"t": pa.array([1_717_171_717_123_456_789], pa.timestamp("ns"))})
    assert read_table(nanoseconds).columns["t"][0].year == 2024
    dictionary = pa.table({"k": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert read_table(dictionary).columns["k"] == ["a", "b", "a"]


def test_plain_python() -> None:
    arrow = {"a": pa.array([1, None]), "b": pl.Series(["x", "y"]), "c": pa.chunked_array([[1], [2]])}
    assert read_table(arrow).columns == {"a": [1, None], "b": ["x", "y"], "c": [1, 2]}
    assert read_table({"a": np.arange(2), "b": ("x", None)}).columns == {"a": [0, 1], "b": ["x", None]}
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    assert [cell.shape for cell in read_table({"p": pictures}).columns["p"]] == [(4, 4, 3)] * 2
    assert read_table([{"a": 1}, {"b": 2}]).columns == {"a": [1, None], "b": [None, 2]}
    table = Table({"a": [1]})
    assert read_table(table) is table


@pytest.mark.parametrize("source", [3, None, [1, 2], {"a": "abc"}, {"a": 3}, {"a": [1], "b": [1, 2]}, {}, []])
def test_no_tables(source: object) -> None:
    with pytest.raises(TableError):
        read_table(source)


def test_media_folder_of_memory_tables() -> None:
    assert read_table({"a": [1]}).folder == Path.cwd()
    assert read_table({"a": [1]}, folder=None).folder is None


def test_take_and_drop() -> None:
    table = Table({"size": [1, 2, 3], "label": ["a", "b", "c"]})
    assert table.take([2, 0, 2]).columns["label"] == ["c", "a", "c"]
    assert table.take(np.array([], np.int64)).num_rows == 0
    assert table.drop(["size"]).column_names == ["label"]
    with pytest.raises(SchemaError, match=r"no column 'Lable' \(from --drop\). Did you mean 'label'\?"):
        table.drop(["Lable"])


def test_concatenate() -> None:
    first = Table({"a": [1], "b": ["x"]}, name="one")
    both = concatenate([first, Table({"b": ["y"], "c": [2.0]}, name="two")])
    assert both.columns == {"a": [1, None], "b": ["x", "y"], "c": [None, 2.0]}
    assert both.name == "one + two"


def test_concatenate_makes_paths_absolute_where_folders_differ(tmp_path: Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    columns: dict[str, list[Any]] = {
        "image": ["i/1.png", "/elsewhere/2.png", None],
        "text": ["see x.png", "more words", "end"],
    }
    both = concatenate([Table(columns, folder=left), Table({"image": [{"bytes": None, "path": "3.png"}]}, right)])
    expected = [str(left / "i/1.png"), "/elsewhere/2.png", None, {"bytes": None, "path": str(right / "3.png")}]
    assert both.columns["image"] == expected
    assert both.columns["text"] == ["see x.png", "more words", "end", None]
    same = concatenate([Table(columns, folder=left), Table(columns, folder=left)])
    assert same.columns["image"][0] == "i/1.png"
