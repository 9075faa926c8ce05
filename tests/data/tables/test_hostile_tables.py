"""Tables with cells that Python, Arrow or JSON refuse: a sentence, or a broken cell that is counted."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from fuzzing import QUICK, examples
from polymodal.data.inspection import inspect_table
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import PolymodalError, TableError
from polymodal.modalities.json_text import MAX_DEPTH

DAYS_OF_300_000_YEARS = 110_000_000


def _write_parquet(path: Path, columns: dict[str, pa.Array]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def _dates(count: int) -> pa.Array:
    days = np.arange(20_000, 20_000 + count, dtype=np.int32)
    days[3] = DAYS_OF_300_000_YEARS
    return pa.array(days).cast(pa.date32())


def test_a_date_beyond_python_is_a_broken_cell_that_is_counted(tmp_path: Path) -> None:
    path = _write_parquet(tmp_path / "t.parquet", {"day": _dates(60), "y": pa.array(["p", "q"] * 30)})
    (day, _) = inspect_table(read_table(path), targets=["y"])["columns"]
    assert (day["name"], day["modality"], day["broken"]) == ("day", "datetime", 1)


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("kind", [pa.timestamp, pa.duration, lambda unit: pa.timestamp(unit, tz="Europe/Berlin")])
def test_times_beyond_python_are_read(unit: str, kind: Callable[[str], pa.DataType], tmp_path: Path) -> None:
    values = pa.array([0, 2**62, -(2**62), None], pa.int64()).cast(kind(unit))
    cells = read_table(_write_parquet(tmp_path / "t.parquet", {"a": values})).columns["a"]
    assert len(cells) == 4
    assert cells[3] is None
    assert isinstance(cells[0], dt.datetime | float)


def test_text_that_is_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"\xff\xfe"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    path = _write_parquet(tmp_path / "t.parquet", {"a": text})
    with pytest.raises(TableError, match=r"t.parquet, column 'a': the text b'\\xff\\xfe' is not UTF-8. Write it as"):
        read_table(path)


def test_half_a_character_becomes_the_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a\\ud83d": "x \\ud83d y", "b": ["\\udc00", "\\ud83d\\ude00"]}\n')
    assert read_table(path).columns == {"a�": ["x � y"], "b": [["�", "😀"]]}
    in_memory = read_table({"a\ud800": ["\ud83d"], "b": [{"c\ud800": ["\ud83d"]}]})
    assert in_memory.columns == {"a�": ["�"], "b": [{"c�": ["�"]}]}
    assert read_table([{"a": "\ud83d"}]).columns == {"a": ["�"]}


def test_integers_of_thousands_of_digits_are_text(tmp_path: Path) -> None:
    path, digits = tmp_path / "t.jsonl", "1" * 5000
    path.write_text(f'{{"a": {digits}, "b": {"2" * 400}}}\n')
    assert read_table(path).columns == {"a": [digits], "b": ["2" * 400]}
    assert read_table({"a": [10**5000]}).columns["a"][0].startswith("0x")


def test_deep_lists_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for depth in (MAX_DEPTH, 100_000):
        path.write_text('{"a": ' + "[" * depth + "]" * depth + "}\n")
        with pytest.raises(
            TableError, match=r"Row 1 of t.jsonl \(line 1\) is not valid JSON: it is nested more than 64"
        ):
            read_table(path)
    holds_itself: list[Any] = []
    holds_itself.append(holds_itself)
    for source in ({"a": [holds_itself]}, [{"a": holds_itself}]):
        with pytest.raises(TableError, match="nested more than 64 levels deep"):
            read_table(source)


ODD_TEXTS = st.sampled_from(
    [
        "9" * 5000,
        "-" + "9" * 400,
        "[" * 70 + "]" * 70,
        "[" + "1" * 5000 + "]",
        '{"a": ' * 80 + "1" + "}" * 80,
        "1e999",
        "nan",
        "\\ud800",
        "\ufffe",
        "\x00",
        "a\x00b",
        "0000-00-00",
        "99999-01-01",
        "2024-02-30T25:61",
        "[1, [2]]",
        '["a", 1e400]',
        "1" * 400,
        "[" + "1" * 400 + "]",
        '{"label": "a", "box": [1, 2, 1e999, 4]}',
        "48.1, 1e999",
        "a.png",
        "x.npy",
        "://",
        "~",
        "/dev/null",
        "data:image/png;base64,AAAA",
        "[[1,2],[3,4]]",
        "[[1,2],[3]]",
        "[null]",
        "[true]",
        "١٢",
        "1,5",
        "--",
        "+",
    ]
)
TEXTS = ODD_TEXTS | st.text(max_size=12) | st.integers().map(str) | st.floats().map(str) | st.just("")
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([10**400, 2**63, 1e308])
JSON_CELLS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.sampled_from(["\ud800", "\udc00x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "a",
                    "lat",
                    "lon",
                    "path",
                    "bytes",
                    "label",
                    "box",
                    "labels",
                    "boxes",
                    "type",
                    "coordinates",
                    "array",
                    "sampling_rate",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
PYTHON_CELLS = JSON_CELLS | st.sampled_from(
    [
        dt.date.max,
        dt.datetime.min,
        dt.timedelta.max,
        dt.time.max,
        np.datetime64(2**62, "s"),
        np.datetime64("NaT"),
        b"\xff",
        np.float16("inf"),
        np.array([1, np.nan]),
        np.array(["a"]),
        np.array(None),
        np.zeros((0, 2)),
        np.longdouble(1e300),
        1j,
        np.datetime64(2**62, "Y"),
        np.timedelta64(2**62, "D"),
        {1, 2},
        frozenset(),
        range(3),
        object(),
        Path("a\x00"),
        bytearray(b"a"),
    ]
)
COUNT = 4
KINDS = ["timestamp", "duration", "date32", "date64", "time", "text", "nested", "decimal", "int"]


def _arrow_column(data: st.DataObject) -> pa.Array:
    integers = data.draw(st.lists(st.none() | st.integers(-(2**62), 2**62), min_size=COUNT, max_size=COUNT))
    narrow = [None if value is None else value % 2**31 for value in integers]
    unit = data.draw(st.sampled_from(["ms", "us", "ns"]))
    zone = data.draw(st.sampled_from([None, "UTC", "Europe/Berlin", "+05:30", "Nowhere/Else", "\x00"]))
    kind = data.draw(st.sampled_from(KINDS))
    if kind == "timestamp":
        return pa.array(integers, pa.int64()).cast(pa.timestamp(unit, tz=zone))
    if kind == "duration":
        return pa.array(integers, pa.int64()).cast(pa.duration(unit))
    if kind in ("date32", "nested"):
        dates = pa.array(narrow, pa.int32()).cast(pa.date32())
        return dates if kind == "date32" else pa.StructArray.from_arrays([dates, pa.array(integers)], ["a", "b"])
    if kind in ("date64", "time"):
        wanted = pa.date64() if kind == "date64" else pa.time64(unit if unit in ("us", "ns") else "us")
        return pa.Array.from_buffers(wanted, COUNT, pa.array(integers, pa.int64()).buffers())
    if kind == "text":
        raw = pa.array([data.draw(st.binary(max_size=4)) for _ in range(COUNT)], pa.binary())
        return pa.Array.from_buffers(pa.string(), COUNT, raw.buffers())
    if kind == "decimal":
        return pa.array([None if value is None else str(value) for value in integers]).cast(pa.decimal256(76, 40))
    return pa.array(integers, pa.int64())


def _source(folder: Path, data: st.DataObject) -> Any:
    """Write a table, or make one in memory."""
    form = data.draw(st.sampled_from(["csv", "jsonl", "parquet", "memory", "bytes"]))
    names = data.draw(st.lists(st.sampled_from(["a", "b", "lat", "lon", "file", "\ud800", ""]), min_size=1, max_size=3))
    path = folder / f"table.{form}"
    if form == "csv":
        rows = [names] + [[data.draw(TEXTS).replace('"', '""') for _ in names] for _ in range(COUNT)]
        text = "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows)
        path.write_text(text, encoding="utf-8", errors="replace")
    elif form == "jsonl":
        rows = [{name: data.draw(JSON_CELLS) for name in names} for _ in range(COUNT)]
        path.write_text("\n".join(json.dumps(row) for row in rows))
    elif form == "parquet":
        _write_parquet(
            path, {f"{name}{place}".replace("\ud800", "c"): _arrow_column(data) for place, name in enumerate(names)}
        )
        if data.draw(st.booleans()):
            content = bytearray(path.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
            path.write_bytes(content)
    elif form == "bytes":
        path = path.with_suffix(data.draw(st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"])))
        path.write_bytes(data.draw(st.binary(max_size=80)))
    else:
        return {name: [data.draw(PYTHON_CELLS) for _ in range(COUNT)] for name in names}
    return path


def _check(folder: Path, data: st.DataObject) -> None:
    """Read a table, look at it, fit on it and decode it, with each column as an input or as the target."""
    source = _source(folder, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = read_table(source)
            targets = data.draw(st.sampled_from([[], *([name] for name in table.columns)]))
            inspect_table(table, targets=targets)
            schema = infer_schema(table, targets=targets)
            fitted = Preprocessor.fit(table, np.arange(table.num_rows), schema, num_threads=1)
            columns, _ = fitted.transform(Table(table.columns, table.folder), num_threads=1)
        assert all(len(column) == table.num_rows for column in columns.values())
    except PolymodalError as error:
        message = str(error)
        assert message
        message.encode("utf-8")


@QUICK
@given(data=st.data())
def test_any_table_is_read_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    _check(tmp_path_factory.getbasetemp(), data)


@pytest.mark.exhaustive
@examples(3_000)
@given(data=st.data())
def test_many_tables_are_read_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    _check(tmp_path_factory.getbasetemp(), data)
