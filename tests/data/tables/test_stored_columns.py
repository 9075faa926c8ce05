"""Columns of large tables on the disk: as lists, but for the memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from polymodal.arrays import Cell
from polymodal.data.tables import stored_columns
from polymodal.data.tables.stored_columns import JoinedCells, StoredCells, store_columns, take_cells
from polymodal.data.tables.table import Table, concatenate, read_table

CELLS: list[Cell] = ["one", None, "zwölf", "猫", "a\nb", "tab\t", None, "x" * 5000, "🙂"]
PEAK = """
import sys
from polymodal.data.tables.table import read_table
held = read_table(sys.argv[1])
cells = sum(len(cell) for cells in held.columns.values() for cell in cells)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
"""


def stored(cells: list[Cell]) -> StoredCells:
    column = store_columns([{"a": cells[:4]}, {"a": cells[4:]}])["a"]
    assert isinstance(column, StoredCells)
    return column


def test_cells_are_those_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    column = stored(CELLS)
    for block, few in ((2, 512), (4096, 512), (4096, 1)):
        monkeypatch.setattr(stored_columns, "BLOCK", block)
        monkeypatch.setattr(stored_columns, "FEW", few)
        assert list(column) == CELLS
        assert column[::-1] == CELLS[::-1]
    assert column == CELLS
    assert column != [*CELLS, "more"]
    assert column != [*CELLS[:-1], None]
    assert column != CELLS[:-1]
    assert column != "one"
    assert [column[place] for place in range(-9, 9)] == CELLS + CELLS
    for place in (9, -10):
        with pytest.raises(IndexError):
            column[place]
    for some in (slice(2, 5), slice(None, None, -2), slice(7, 100), slice(5, 2), slice(-3, None)):
        assert column[some] == CELLS[some]


def test_some_cells_are_a_column_too() -> None:
    column = stored(CELLS)
    rows = np.array([8, 0, 0, 1, 5])
    some = take_cells(column, rows)
    assert isinstance(some, StoredCells)
    assert some == [CELLS[row] for row in rows] == take_cells(CELLS, rows)
    assert some[1:3] == ["one", "one"]
    assert take_cells(some, [4, 3]) == [CELLS[5], None]
    assert take_cells(column, []) == []


def test_what_is_no_text_stays_a_list() -> None:
    pieces: list[dict[str, list[Cell]]] = [{"a": ["x", None], "b": [None, None]}, {"a": [3, "y"], "c": ["late", "r"]}]
    found = store_columns(pieces)
    assert found == {"a": ["x", None, 3, "y"], "b": [None] * 4, "c": [None, None, "late", "r"]}
    assert list(found) == ["a", "b", "c"]
    assert [type(found[name]) for name in "abc"] == [list, StoredCells, list]
    assert store_columns([{"a": ["x"], "b": ["y"]}, {"b": ["z"]}]) == {"a": ["x", None], "b": ["y", "z"]}
    assert store_columns([{"a": ["x"]}, {"a": ["half a pair \ud800"]}]) == {"a": ["x", "half a pair \ud800"]}
    assert store_columns([{"a": [None]}, {"a": [None]}]) == {"a": [None, None]}
    assert store_columns([]) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_table_of_many_columns_keeps_few_files_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    found = store_columns([{f"c{number}": ["x", "y"] for number in range(500)}])
    assert found["c499"] == ["x", "y"]
    assert len(os.listdir("/proc/self/fd")) - before <= 4


def write_csv(folder: Path, num_rows: int) -> Path:
    path = folder / f"{num_rows}.csv"
    rows = (f"{row % 7},the {row}th review of a {'long' if row % 3 else ''} story\n" for row in range(num_rows))
    path.write_text("stars,text\n" + "".join(rows), encoding="utf-8")
    return path


def test_a_large_file_is_read_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path, 50_000)  # several blocks of the file
    small = read_table(path)
    monkeypatch.setattr("polymodal.data.tables.table.STORED_BYTES", 1)
    large = read_table(path)
    assert all(isinstance(cells, StoredCells) for cells in large.columns.values())
    assert dict(large.columns) == dict(small.columns)
    assert dict(large.take([3, 1]).columns) == dict(small.take([3, 1]).columns)
    assert dict(concatenate([large, small]).columns) == {n: [*c, *c] for n, c in small.columns.items()}


class FullDisk(io.BytesIO):
    def write(self, data: object, /) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_cells_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.data.tables.table.STORED_BYTES", 1)
    monkeypatch.setattr(stored_columns, "TemporaryFile", FullDisk)
    table = read_table(write_csv(tmp_path, 10))
    assert isinstance(table, Table)
    assert isinstance(table.columns["text"], list)
    assert table.num_rows == 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.exhaustive
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def anonymous_mb(num_rows: int) -> float:
        command = [sys.executable, "-c", PEAK, str(write_csv(tmp_path, num_rows))]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024

    few, many = anonymous_mb(250_000), anonymous_mb(1_000_000)  # 10 and 42 MB
    assert many - few < 45, (few, many)  # as lists: 120


def test_joined_columns_are_read_row_by_row() -> None:
    joined = JoinedCells([stored(CELLS), [float("nan"), None, *range(len(CELLS) - 2)]])
    assert len(joined) == len(CELLS)
    assert joined[2] == ("zwölf", 0)
    assert joined[1] is None
    assert list(joined)[5:7] == [("tab\t", 3), (None, 4)]
    taken = take_cells(joined, np.array([2, 1, 2]))
    assert isinstance(taken, JoinedCells)
    assert list(taken) == [("zwölf", 0), None, ("zwölf", 0)]
    assert list(JoinedCells([[None, " "], [None, float("nan")]])) == [None, None]
