"""Bad input: one clear sentence, or a counted absent cell; never a traceback, a hang or another row's data."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, PolymodalError, SchemaError, TableError

HANG_S = 600
"""When a command is taken to hang; none is expected to need a tenth of it."""
BROKEN_CELLS = [
    ("photo", "truncated.png", "truncated|cut|cannot be decoded|image file"),
    ("photo", "empty.jpg", "empty"),
    ("photo", "text_renamed.png", ""),
    ("photo", "huge_header.png", "3,600,000,000 pixels, above the limit"),
    ("photo", "silent.wav", ""),
    ("photo", "truncated.mp4", ""),
    ("sound", "text_renamed.png", ""),
    ("sound", "empty.jpg", "empty"),
    ("sound", "truncated.png", ""),
    ("sound", "truncated.mp4", ""),
    ("code", "nan_values.npy", "NaN|infinite|finite|shape|length|10"),
    ("code", "empty.jpg", ""),
    ("code", "text_renamed.png", ""),
]
FINE_CELLS = [("sound", "silent.wav"), ("sound", "stereo_48k.wav"), ("sound", "yesno/00.flac")]
BROKEN_TABLES = [
    ("latin1.csv", "latin1.csv.*UTF-8"),
    ("ragged.csv", "Row 3 of ragged.csv has 2 fields, expected 3"),
    ("duplicate_columns.csv", "duplicate_columns.csv.*'image'"),
    ("empty.csv", "empty.csv.*no rows"),
    ("empty.jpg", "empty.jpg"),
    ("truncated.png", "truncated.png"),
    ("nan_values.npy", "nan_values.npy"),
    ("nowhere.csv", "nowhere.csv"),
    ("README.md", "README.md"),
]
every_broken_cell = pytest.mark.parametrize(
    ("column", "file", "reason"), BROKEN_CELLS, ids=[f"{column}-{file}" for column, file, _ in BROKEN_CELLS]
)
every_broken_table = pytest.mark.parametrize(
    ("file", "message"), BROKEN_TABLES, ids=[file for file, _ in BROKEN_TABLES]
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("tiny")
    with tiny.decode_cache(folder):
        yield tiny.write_table(folder, rows=60, missing=0.05)


@pytest.fixture(scope="module")
def model(table: Table) -> polymodal.Model:
    return tiny.train(table)


@pytest.fixture(scope="module")
def rows(table: Table) -> Table:
    """Few rows, to ask the model about."""
    return table.take(np.arange(14))


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "polymodal.cli.main", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=HANG_S, check=False)


def assert_one_sentence(text: str) -> None:
    assert text.strip()
    assert "\n" not in text.strip()
    assert "Traceback" not in text
    assert text.strip().endswith((".", "?"))


@every_broken_cell
def test_a_broken_file_is_a_counted_absent_cell_when_predicting(
    shared_data: Path, model: polymodal.Model, rows: Table, column: str, file: str, reason: str
) -> None:
    path = shared_data / "fixtures" / file
    assert path.exists()
    found = model.predictions(tiny.with_cell(rows, column, 11, str(path)))
    assert [(cell.row, cell.column) for cell in found.broken_cells] == [(12, column)]
    (cell,) = found.broken_cells
    assert re.search(reason, cell.reason), cell.reason
    assert "\n" not in cell.reason
    assert len(found) == rows.num_rows
    assert tiny.same(found.values, model.predictions(tiny.with_cell(rows, column, 11, None)).values)


@pytest.mark.parametrize(("column", "file"), FINE_CELLS)
def test_an_unusual_file_is_read(
    shared_data: Path, model: polymodal.Model, rows: Table, column: str, file: str
) -> None:
    found = model.predictions(tiny.with_cell(rows, column, 11, str(shared_data / "fixtures" / file)))
    assert found.broken_cells == []
    assert np.isfinite(found.values["kind"]).all()
    assert not tiny.same(found.values, model.predictions(tiny.with_cell(rows, column, 11, None)).values)


def test_training_counts_every_broken_file_and_goes_on(shared_data: Path, table: Table) -> None:
    broken = table
    for row, (column, file, _) in enumerate(BROKEN_CELLS):
        broken = tiny.with_cell(broken, column, row, str(shared_data / "fixtures" / file))
    model = tiny.train(broken)
    found = model.summary()["broken_cells"]
    assert [(cell["row"], cell["column"]) for cell in found] == [
        (row + 1, column) for row, (column, _, _) in enumerate(BROKEN_CELLS)
    ]
    assert all(cell["table"] == "tiny" and cell["reason"] for cell in found)
    assert sum(model.summary()["rows"].values()) == table.num_rows


def test_a_strict_run_stops_at_the_first_of_them(shared_data: Path, table: Table) -> None:
    broken = tiny.with_cell(table, "photo", 11, str(shared_data / "fixtures" / "truncated.png"))
    with pytest.raises(CellError, match=r"^tiny, row 12, column 'photo': .*truncated\.png.* strict run stops"):
        tiny.train(broken, strict=True)


def test_a_huge_header_costs_no_memory(shared_data: Path, model: polymodal.Model, table: Table) -> None:
    huge = shared_data / "fixtures" / "huge_header.png"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = model.predictions(tiny.with_cells(table, photo=[str(huge)] * table.num_rows))
    assert len(found.broken_cells) == table.num_rows
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@every_broken_table
def test_a_broken_table_is_one_sentence(shared_data: Path, model: polymodal.Model, file: str, message: str) -> None:
    path = shared_data / "fixtures" / file
    for use in (lambda: tiny.train(path, "label"), lambda: model.evaluate(path)):
        with pytest.raises(PolymodalError, match=message) as caught:
            use()
        assert_one_sentence(str(caught.value))


def test_films_are_learned_from_with_what_is_said_in_them(shared_data: Path) -> None:
    model = tiny.train(shared_data / "fixtures" / "grid.csv", "sentence")
    assert model.trained.targets["sentence"].kind == "transcript"
    assert {stream.modality for stream in model.trained.schema.streams} == {"video", "audio"}


def test_an_empty_table_is_predicted_as_no_rows_or_refused(shared_data: Path, model: polymodal.Model) -> None:
    try:
        assert len(model.predictions(shared_data / "fixtures" / "empty.csv")) == 0
    except TableError as error:
        assert_one_sentence(str(error))


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_too_few_rows_are_one_sentence(rows: int) -> None:
    data = {name: cells[:rows] for name, cells in tiny.numbers_table().items()}
    with pytest.raises(PolymodalError) as caught:
        tiny.train(data)
    assert_one_sentence(str(caught.value).replace(". ", ", "))


def test_a_target_with_one_class_is_one_sentence() -> None:
    with pytest.raises(SchemaError, match=r"'kind'.*one class only"):
        tiny.train(tiny.numbers_table() | {"kind": ["cat"] * 60})


def test_a_target_that_is_missing_in_some_rows_is_set_aside_and_counted() -> None:
    data = tiny.numbers_table()
    data["kind"] = [None if row % 6 == 0 else kind for row, kind in enumerate(data["kind"])]
    model = tiny.train(data)
    assert model.summary()["set_aside"] == 10
    assert sum(model.summary()["rows"].values()) == 50
    assert len(model.predict(data)["kind"]) == 60


def test_rare_labels_that_only_held_out_rows_have_are_counted() -> None:
    test = tiny.numbers_table(20, seed=1)
    test["kind"] = ["yak", None, *test["kind"][2:]]
    model = tiny.train(tiny.numbers_table(), test=test)
    assert model.summary()["rows"]["test"] == 18
    assert model.summary()["set_aside"] == 2


def test_a_target_with_a_class_of_one_row_each_still_works() -> None:
    data = tiny.numbers_table()
    data["kind"] = ["yak", "emu", *data["kind"][2:]]
    model = tiny.train(data)
    assert set(model.classes["kind"] or []) == {"cat", "dog", "yak", "emu"}


@pytest.mark.parametrize("column", ["photo", "sound"])
def test_a_table_whose_every_path_is_wrong_stops_with_the_first_three(table: Table, column: str) -> None:
    cells = [f"lost/{row}.{'png' if column == 'photo' else 'wav'}" for row in range(table.num_rows)]
    with pytest.raises(CellError, match=rf"'{column}': not one of its .* training cells can be read") as caught:
        tiny.train(tiny.with_cells(table, **{column: cells}))
    assert str(caught.value).count("/lost/") >= 3
    assert str(table.folder) in str(caught.value)


def test_a_test_table_may_lack_columns_and_have_others(table: Table) -> None:
    test = Table(
        tiny.only(table, "photo", "size", "kind").columns | {"mood": ["good"] * table.num_rows}, table.folder, "test"
    )
    given = tiny.only(table, "photo", "note", "size", "kind")
    found = tiny.train(given, test=test).summary()
    assert found["rows"]["test"] == table.num_rows
    assert found["broken_cells"] == []


def test_a_test_table_without_the_target_is_one_sentence(table: Table) -> None:
    test = Table(tiny.only(table, *tiny.FEATURES).columns, table.folder, "test")
    with pytest.raises(SchemaError, match=r"^test"):
        tiny.train(table, test=test)


def test_a_test_table_of_another_type_is_counted_cell_by_cell(table: Table) -> None:
    changed = tiny.with_cells(
        table,
        size=["large"] * table.num_rows,
        colour=[3.5] * table.num_rows,
        day=["some day"] * table.num_rows,
        note=[17] * table.num_rows,
    )
    names = ("photo", "note", "size", "colour", "day", "kind")
    found = tiny.train(tiny.only(table, *names), test=Table(changed.columns, changed.folder, "test")).summary()
    counts = {name: sum(cell["column"] == name for cell in found["broken_cells"]) for name in names}
    assert counts["size"] == counts["day"] == table.num_rows
    assert counts["colour"] == counts["photo"] == 0


@pytest.mark.parametrize(
    "cell", [b"\x00" * 10, {"bytes": None, "path": None}, [], {}, object(), "x" * 100_000, np.zeros((0, 0)), 10**400]
)
def test_strange_values_in_any_column_are_counted_or_read(model: polymodal.Model, rows: Table, cell: Any) -> None:
    for column in tiny.FEATURES:
        found = model.predictions(tiny.with_cell(rows, column, 4, cell))
        assert len(found) == rows.num_rows
        assert {(broken.row, broken.column) for broken in found.broken_cells} <= {(5, column)}
        assert np.isfinite(found.values["kind"]).all()


def test_names_of_columns_may_be_anything(tmp_path: Path) -> None:
    data = tiny.numbers_table()
    odd = {"größe ⚖️": data["size"], "a.b/c": data["colour"], "": data["age"], "<b>kind</b>": data["kind"]}
    model = tiny.train(odd, "<b>kind</b>", output=tmp_path / "run")
    assert polymodal.load(tmp_path / "run").predict(odd) == model.predict(odd)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["ragged.csv", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("latin1.csv", "empty.csv"))]
)
def test_the_command_line_says_one_sentence_and_exits_with_2(shared_data: Path, tmp_path: Path, file: str) -> None:
    found = command(
        "train", shared_data / "fixtures" / file, "--target", "label", "--output", tmp_path / "run", "--json", "-q"
    )
    assert found.returncode == 2
    assert found.stdout == ""
    assert_one_sentence(found.stderr)
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_command_line_counts_broken_cells_and_stops_where_strict(table: Table, tmp_path: Path) -> None:
    assert table.folder is not None
    broken = tiny.with_cell(tiny.only(table, "photo", "size", "kind"), "photo", 3, "photos/none.png")
    data = tiny.write_csv(broken, table.folder / "broken.csv")
    settings = [f"{name}={str(value).lower()}" for name, value in tiny.QUICK.items()]
    arguments = ["train", data, "--target", "kind", *(word for setting in settings for word in ("--set", setting))]
    strict = command(*arguments, "--output", tmp_path / "strict", "--strict", "-q")
    assert strict.returncode == 2
    assert_one_sentence(strict.stderr.replace(". A strict", ", a strict"))
    assert "broken.csv, row 4, column 'photo'" in strict.stderr
    counted = command(*arguments, "--output", tmp_path / "run", "--json")
    assert counted.returncode == 0, counted.stderr
    assert [(cell["row"], cell["column"]) for cell in json.loads(counted.stdout)["broken_cells"]] == [(4, "photo")]
    said = command("predict", tmp_path / "run", data, "-o", tmp_path / "out.csv")
    assert said.returncode == 0, said.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == table.num_rows + 1


@pytest.mark.slow
def test_no_model_is_one_sentence_on_the_command_line(tmp_path: Path) -> None:
    found = command("predict", tmp_path, tmp_path / "data.csv", "-q")
    assert found.returncode == 2
    assert_one_sentence(found.stderr)
