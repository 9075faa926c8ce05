"""Recovering an absent stream from the others, and one stream that learns from itself."""

from __future__ import annotations

import base64
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
from polymodal.data.sketches import sketch
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError

FEATURES = ("photo", "note", "code", "size", "colour", "day")
LONG: dict[str, Any] = {"train.epochs": 10, "width": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[polymodal.Model, Table, Path]:
    folder = tmp_path_factory.mktemp("reconstruct")
    table = tiny.write_table(folder, rows=160, missing=0.05)
    given = tiny.only(table, *FEATURES, *tiny.TARGETS)
    with tiny.decode_cache(folder):
        return tiny.train(given, "kind", reconstruct=True, output=folder / "run", settings=LONG), table, folder


def test_every_stream_is_recovered_better_than_by_its_mean(world: Any) -> None:
    targets = world[0].summary()["targets"]
    assert set(targets) == {"kind", *(f"{stream} (recovered)" for stream in ("photo", "note", "code", "tabular"))}
    assert targets["code (recovered)"]["r2"] > 0.1
    assert targets["photo (recovered)"]["r2"] > 0.05
    prior = world[0].summary()["baselines"]["code (recovered)"]["prior"]
    assert prior["r2"] == pytest.approx(0, abs=0.1)


def test_absent_cells_are_filled_and_present_ones_are_not(world: Any) -> None:
    model, table, _ = world
    gone = tiny.with_cells(
        table, code=[None] * table.num_rows, size=[None] * table.num_rows, photo=[None] * table.num_rows
    )
    found = model.predictions(gone).to_columns()
    codes = np.array(found["recovered:code"])
    classes = np.array([tiny.KINDS.index(kind) for kind in table.columns["kind"]])
    means = np.array([codes[classes == label].mean(axis=0) for label in range(3)])
    assert means.argmax(axis=1).tolist() == [0, 1, 2], "the classes' codes differ in which number is large"
    assert all(isinstance(cell, float) for cell in found["recovered:size"])
    picture = Image.open(io.BytesIO(base64.b64decode(found["recovered:photo"][0].partition(",")[2])))
    assert picture.size == (12, 12)
    whole = model.predictions(table).to_columns()["recovered:code"]
    assert [cell is None for cell in whole] == [cell is not None for cell in table.columns["code"]]


def test_saved_and_loaded_recoveries_are_the_same(world: Any, tmp_path: Path) -> None:
    model, table, _ = world
    model.save(tmp_path / "model")
    assert polymodal.load(tmp_path / "model").predictions(table).recovered == model.predictions(table).recovered
    assert set(model.predict(table)) == {"kind"}


def test_the_command_recovers_and_reports(world: Any, tmp_path: Path) -> None:
    _, table, folder = world
    tiny.write_csv(table, folder / "rows.csv")
    done = CliRunner().invoke(
        app, ["predict", str(folder / "run"), str(folder / "rows.csv"), "-o", str(tmp_path / "out.jsonl")]
    )
    assert done.exit_code == 0, done.output
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert {"recovered:code", "recovered:size", "recovered:photo"} <= set(first)
    assert "code (recovered)" in (folder / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("stream", tiny.MEDIA_STREAMS)
def test_one_stream_learns_from_itself(world: Any, stream: str) -> None:
    table = world[1].take(np.arange(160))
    model = tiny.train(tiny.only(table, stream), None, settings=LONG)
    summary = model.summary()
    assert summary["targets"]["reconstruction"]["r2"] > summary["baselines"]["reconstruction"]["prior"]["r2"]
    assert model.embed(table).rows.shape == (table.num_rows, 32)


def test_one_stream_cannot_be_recovered_from_others(world: Any) -> None:
    with pytest.raises(ConfigError, match="one stream only"):
        tiny.train(tiny.only(world[1], "note", "kind"), "kind", reconstruct=True)


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
    video = np.zeros((2, 6, 20, 20, 3), dtype=np.uint8)
    assert sketch("video", Column(video, np.array([True, True]), np.array([6, 2]))).shape == (2, 4 * 8 * 8 * 3)


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
