"""Recovering absent cells from the other cells of their row, and one stream that learns from itself."""

from __future__ import annotations

import base64
import datetime
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.arrays import Column
from polymodal.cli.main import app
from polymodal.data.sketches import SketchLayout, sketch
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, PolymodalWarning
from quick import quick

FEATURES = ("photo", "note", "code", "trace", "size", "colour", "day")
LONG: dict[str, Any] = {"train.epochs": 10, "width": 32}
QUIET = pytest.mark.filterwarnings("ignore::polymodal.PolymodalWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[polymodal.Model, Table, Path]:
    folder = tmp_path_factory.mktemp("reconstruct")
    table = tiny.write_table(folder, rows=160, missing=0.05)
    given = tiny.only(table, *FEATURES, "kind")
    with tiny.decode_cache(folder):
        options: dict[str, Any] = {"modality": {"note": "text"}, "reconstruct": True, "settings": LONG}
        return tiny.train(given, "kind", output=folder / "run", **options), given, folder


def recovery(model: polymodal.Model) -> dict[str, dict[str, Any]]:
    return {entry["column"]: entry for entry in model.summary()["recovery"]}


def test_every_column_is_judged_beside_ridge_and_the_typical_value(world: Any) -> None:
    found = recovery(world[0])
    assert set(found) == set(FEATURES)
    assert {name: entry["metric"] for name, entry in found.items() if entry["metric"] != "r2"} == {
        "colour": "accuracy",
        "note": "nearer",
    }
    for name, entry in found.items():
        assert set(entry["scores"]) == {"network", "ridge", "mean"}, name
        low, high = entry["leads"]["ridge"]["interval"]
        assert low <= entry["scores"]["network"] - entry["scores"]["ridge"] <= high
        assert entry["scores"][entry["returned"]] > entry["scores"]["mean"], f"{name} can be told from the others"
    assert found["size"]["errors"]["ridge"] < found["size"]["errors"]["mean"]
    assert set(world[0].summary()["targets"]) == {"kind"}


@QUIET
def test_absent_cells_are_filled_in_the_columns_own_spelling(world: Any) -> None:
    model, table, _ = world
    gone = tiny.with_cells(table, **{name: [None] * table.num_rows for name in FEATURES if name != "photo"})
    found = model.reconstruct(gone)
    kinds = np.array([tiny.KINDS.index(kind) for kind in table.columns["kind"]])
    seen = [cell is not None for cell in table.columns["photo"]]
    codes = np.array([code for code, there in zip(found["code"], seen, strict=True) if there])
    means = np.array([codes[kinds[seen] == label].mean(axis=0) for label in range(3)])
    assert means.argmax(axis=1).tolist() == [0, 1, 2], "the classes' codes differ in which number is large"
    sizes = np.array([size for size, there in zip(found["size"], seen, strict=True) if there])
    assert np.corrcoef(sizes, kinds[seen])[0, 1] > 0.3, "larger kinds have larger sizes"
    row = seen.index(True)
    assert found["colour"][row] in ("red", "green", "blue")
    assert datetime.date(2020, 1, 1) < datetime.date.fromisoformat(found["day"][row]) < datetime.date(2023, 1, 1)
    assert np.shape(found["trace"][row]) == (10, 2), "as many steps as the median series has"


@QUIET
def test_single_cells_of_a_table_are_recovered_and_present_ones_are_not(world: Any) -> None:
    model, table, _ = world
    found = model.reconstruct(tiny.with_cells(table, size=["oh no", *table.columns["size"][1:]]))
    assert isinstance(found["size"][0], float), "a broken cell counts as absent"
    for name in FEATURES:
        given = table.columns[name][1:]
        assert [cell is None for cell in found[name][1:]] == [cell is not None for cell in given], name


@QUIET
def test_what_has_no_decoder_is_the_cell_of_a_training_row(world: Any) -> None:
    model, table, _ = world
    found = model.reconstruct(tiny.with_cells(table, note=[None] * table.num_rows))
    assert [table.columns["note"][row - 1] for row in found["note:row"]] == found["note"]
    kinds = table.columns["kind"]
    same = [kinds[row - 1] == kind for row, kind in zip(found["note:row"], kinds, strict=True)]
    assert np.mean(same) > 0.6, "texts tell the kind, which the other cells tell too"


def test_what_was_recovered_and_what_could_not_be_is_told(world: Any) -> None:
    model, table, _ = world
    two = table.take(np.arange(2))
    absent = {name: [None, cells[1]] for name, cells in two.columns.items()}
    empty = tiny.with_cells(two, **(absent | {"code": [None, None]}))
    with pytest.warns(PolymodalWarning) as told:
        found = model.reconstruct(empty)
    said = [str(warning.message) for warning in told]
    assert any("Absent cells were recovered: 1 of 'code' (" in sentence for sentence in said)
    assert any("1 rows have no present cell: nothing was recovered of them." in sentence for sentence in said)
    assert {cells[0] for cells in found.values()} == {None}


@pytest.mark.exhaustive
@QUIET
def test_saved_and_exported_models_recover_the_same(world: Any, tmp_path: Path) -> None:
    model, table, _ = world
    gone = tiny.with_cells(table, note=[None] * 160, size=[None] * 160, photo=[None] * 160).take(np.arange(30))
    expected = model.reconstruct(gone)
    model.save(tmp_path / "model")
    assert polymodal.load(tmp_path / "model").reconstruct(gone) == expected
    model.export(tmp_path / "bundle", table=table)
    exported = polymodal.load(tmp_path / "bundle").reconstruct(gone)
    assert exported["note:row"] == expected["note:row"]
    assert set(exported["note"]) == {None}, "a bundle holds no cells of training rows"
    assert np.allclose(exported["size"], expected["size"], rtol=1e-3)


def test_the_command_writes_pictures_and_reports(world: Any, tmp_path: Path) -> None:
    _, table, folder = world
    gone = tiny.with_cells(table, photo=[None, *table.columns["photo"][1:]]).take(np.arange(3))
    tiny.write_csv(gone, folder / "rows.csv")
    command = ["predict", str(folder / "run"), str(folder / "rows.csv"), "-o", str(tmp_path / "out.jsonl")]
    done = CliRunner().invoke(app, [*command, "--recovered", str(tmp_path / "pictures")])
    assert done.exit_code == 0, done.output
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["recovered:photo"] == str(tmp_path / "pictures" / "photo-1.png")
    with Image.open(first["recovered:photo"]) as picture:
        assert picture.size == (12, 12)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} >= {"photo-1.png"}
    assert CliRunner().invoke(app, command).exit_code == 0
    uri = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["recovered:photo"]
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (12, 12)
    html = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "recovered pictures beside the true ones" in html
    assert "a PNG picture of 12 x 12 pixels" in html


@pytest.fixture(scope="module")
def plain() -> polymodal.Model:
    return tiny.train(tiny.numbers_table())


def test_models_that_recover_nothing_say_so(plain: polymodal.Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Train it with --reconstruct"):
        plain.reconstruct(tiny.numbers_table(4))
    assert "recovered:size" not in plain.predictions(tiny.numbers_table(4)).to_columns()


@QUIET
def test_a_table_alone_recovers_its_cells_also_when_loaded(tmp_path: Path) -> None:
    table = tiny.numbers_table()
    model = tiny.train(table, reconstruct=True, settings={"train.epochs": 2})
    found = model.reconstruct(table | {"size": [None] * 60})
    assert all(isinstance(size, float) for size in found["size"])
    model.save(tmp_path / "model")
    assert polymodal.load(tmp_path / "model").reconstruct(table | {"size": [None] * 60}) == found
    assert {entry["column"] for entry in model.summary()["recovery"]} == {"size", "age", "colour"}


@pytest.mark.exhaustive
@QUIET
def test_a_model_without_targets_recovers_too(world: Any) -> None:
    table = tiny.only(world[1], "photo", "code")
    model = tiny.train(table, None, reconstruct=True)
    found = model.reconstruct(tiny.with_cells(table, code=[None] * table.num_rows))
    assert {len(cell) for cell in found["code"] if cell is not None} == {4}
    assert set(recovery(model)["code"]["scores"]) == {"network", "ridge", "mean"}
    with pytest.raises(ConfigError, match="`reconstruct`, as it recovers absent cells"):
        model.predict(table)


@pytest.mark.parametrize("stream", quick(tiny.MEDIA_STREAMS, "note"))
def test_one_stream_learns_from_itself(world: Any, tmp_path: Path, stream: str) -> None:
    table = tiny.write_table(tmp_path, rows=160, missing=0.05)
    model = tiny.train(tiny.only(table, stream), None, settings=LONG)
    summary = model.summary()
    assert summary["targets"]["reconstruction"]["r2"] > summary["baselines"]["reconstruction"]["prior"]["r2"]
    assert model.embed(table).rows.shape == (table.num_rows, 32)


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        (("note",), {"modality": {"note": "text"}}, "there is one stream only"),
        (("size", "colour", "photo"), {"settings": {"settings.tabular.impute": "mean"}}, "fills them in first"),
    ],
)
def test_what_cannot_be_recovered_is_refused(world: Any, columns: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        tiny.train(tiny.only(world[1], *columns, "kind"), "kind", reconstruct=True, **options)


def test_sketches_ignore_padding_and_mark_what_is_absent() -> None:
    values = np.arange(2 * 8 * 3, dtype=np.float32).reshape(2, 8, 3)
    present, lengths = np.array([True, False]), np.array([5, 0])
    padded = values.copy()
    padded[:, 5:] = 1e9
    first = sketch("audio", Column(values, present, lengths))
    assert np.array_equal(first, sketch("audio", Column(padded, present, lengths)), equal_nan=True)
    assert np.isnan(first[1]).all()
    assert np.isfinite(first[0]).all()
    grid = np.zeros((1, 20, 20, 1), dtype=np.uint8)
    assert sketch("image", Column(grid, np.array([True]))).shape == (1, 256)
    assert sketch("image", Column(grid, np.array([True])), SketchLayout(28)).shape == (1, 400)
    video = np.zeros((2, 6, 20, 20, 3), dtype=np.uint8)
    assert sketch("video", Column(video, np.array([True, True]), np.array([6, 2]))).shape == (2, 4 * 8 * 8 * 3)


def test_sketches_of_tables_tell_categories_apart_and_not_unseen_ones() -> None:
    values = np.array([[0.5, 2], [0.25, 0], [0.0, 1]], np.float32)
    column = Column(values, np.array([[True, True], [True, True], [False, True]]))
    found = sketch("tabular", column, SketchLayout(cardinalities=(0, 3)))
    expected = [[0.5, 0, 1], [0.25, np.nan, np.nan], [np.nan, 1, 0]]
    assert np.array_equal(found, np.array(expected, np.float32), equal_nan=True)


def test_sketches_of_clouds_ignore_the_order_of_points_and_padding() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 6, 4)).astype(np.float32)
    values[..., -1] = [1, 1, 1, 1, 0, 0]
    other = values[:, :, [2, 0, 3, 1, 4, 5]]
    other[:, :, 4:, :-1] = 1e9
    other[0, 2:] = 1e9
    present, lengths = np.array([True, True]), np.array([2, 3])
    first = sketch("points", Column(values, present, lengths))
    assert np.allclose(first, sketch("points", Column(other, present, lengths)), atol=1e-6)
    assert np.isfinite(first).all()
