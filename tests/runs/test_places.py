"""A table with a latitude and a longitude, from training to the report and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.data.tables.table import Table

ROWS = 90


def write_table() -> Table:
    """Return trips that begin on one of two sides of the date line; some cells are absent, and one is out of range."""
    random = np.random.default_rng(0)
    labels = np.arange(ROWS) % 2
    longitudes = np.where(labels == 1, 178, -178) + random.normal(0, 0.5, ROWS)
    columns: dict[str, Any] = {
        "pickup_lat": [f"{value:.4f}" for value in random.normal(-17, 1, ROWS)],
        "pickup_lon": [f"{value:.4f}" for value in longitudes],
        "fare": [f"{value:.2f}" for value in random.normal(10, 2, ROWS)],
        "side": [("west", "east")[label] for label in labels],
    }
    for row in (3, 4, 5):
        columns["pickup_lat"][row] = columns["pickup_lon"][row] = None
    columns["pickup_lat"][6] = "-95"
    return Table(columns, name="trips")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("places")
    table = write_table()
    with tiny.decode_cache(folder):
        settings = {"train.epochs": 30, "baselines": True, "reconstruct": True}
        yield tiny.train(table, "side", settings=settings, output=folder / "run"), table, folder


def test_the_side_of_the_date_line_is_learnt(world: Any) -> None:
    summary = world[0].summary()
    assert summary["streams"]["side"]["pickup.geo"]["accuracy"] > 0.9
    assert max(scores["accuracy"] for scores in summary["baselines"]["side"].values()) > 0.9


def test_a_loaded_model_predicts_the_same_bits_with_cells_missing(world: Any) -> None:
    model, table, folder = world
    loaded = polymodal.load(folder / "run")
    first, second = model.predictions(table), loaded.predictions(table)
    assert np.array_equal(first.values["side"], second.values["side"])
    assert {(cell.column, cell.row) for cell in second.broken_cells} == {("pickup.geo", 7)}
    halved = loaded.predictions(table.drop(["pickup_lon"]))
    nowhere = loaded.predictions(tiny.with_cells(table, pickup_lat=[None] * ROWS, pickup_lon=[None] * ROWS))
    assert np.array_equal(halved.values["side"], nowhere.values["side"])


def test_missing_places_are_recovered_as_latitude_and_longitude(world: Any) -> None:
    model, table, _ = world
    cells = model.predictions(table).to_columns()["recovered:pickup.geo"]
    assert [row for row, cell in enumerate(cells) if cell is not None] == [3, 4, 5, 6]
    latitude, longitude = cells[3]
    assert -90 <= latitude <= 90
    assert -180 <= longitude <= 180


def test_the_report_draws_a_map(world: Any) -> None:
    html = (world[2] / "run" / "report.html").read_text(encoding="utf-8")
    assert '<svg class="chart place" role="img"' in html
    assert "in column pickup.geo" in html
    assert "latitude -95 is not within -90..90" in html
    assert "read as a part of &#39;pickup.geo&#39;" in html


def test_inspect_shows_the_place_and_can_be_overruled(tmp_path: Path) -> None:
    path = tiny.write_csv(write_table(), tmp_path / "trips.csv")
    arguments = ["inspect", str(path), "--target", "side"]
    shown = CliRunner().invoke(app, arguments)
    assert "pickup.geo" in shown.stdout
    assert "row 7, column 'pickup.geo': latitude -95 is not within -90..90" in shown.stderr
    found = json.loads(CliRunner().invoke(app, [*arguments, "--modality", "pickup_lat=number", "--json"]).stdout)
    assert [column["stream"] for column in found["columns"]] == ["tabular", "tabular", "tabular", None]
