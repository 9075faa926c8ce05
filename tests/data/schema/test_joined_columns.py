"""Columns that are one column of a modality together: latitude and longitude."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polymodal.data.inspection import inspect_table
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.detect_modality import detect_modality
from polymodal.data.schema.schema import Schema, infer_schema
from polymodal.data.tables.table import Table

ROWS = 40


def table(**columns: Any) -> Table:
    random = np.random.default_rng(0)
    cells: dict[str, Any] = {
        "pickup_lat": [f"{value:.3f}" for value in random.uniform(-60, 60, ROWS)],
        "fare": random.normal(10, 2, ROWS).round(2).tolist(),
        "pickup_lon": [f"{value:.3f}" for value in random.uniform(-180, 180, ROWS)],
        "label": ["a", "b"] * (ROWS // 2),
    }
    return Table({**cells, **columns})


def streams(schema: Schema) -> dict[str, tuple[str, ...]]:
    return {stream.name: stream.columns for stream in schema.streams}


def column(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in found["columns"] if entry["name"] == name)


def test_two_columns_are_one_stream_and_leave_the_numbers() -> None:
    schema = infer_schema(table(), targets=["label"])
    assert streams(schema) == {"pickup.geo": ("pickup.geo",), "tabular": ("fare",)}
    assert schema.modality_of("pickup.geo") == "geo"
    reasons = {entry.name: entry.reason for entry in schema.ignored}
    assert reasons == dict.fromkeys(("pickup_lat", "pickup_lon"), "read as a part of 'pickup.geo'")
    assert Schema.from_state(json.loads(json.dumps(schema.state()))) == schema


def test_a_schema_without_joined_columns_is_saved_as_before() -> None:
    state = infer_schema(table(), targets=["label"], modality={"pickup_lat": "number"}).state()
    assert all(set(entry) == {"name", "modality", "reason", "source"} for entry in state["columns"])


@pytest.mark.parametrize(
    "options",
    [
        {"modality": {"pickup_lat": "number"}},
        {"streams": {"north": ["pickup_lat"]}},
        {"drop": ["pickup_lon"]},
        {"targets": ["pickup_lon"]},
        {"ignore": ["pickup_lat"]},
    ],
    ids=str,
)
def test_whoever_names_one_of_them_keeps_them_apart(options: dict[str, Any]) -> None:
    schema = infer_schema(table(), **{"targets": ["label"], **options})
    assert all(entry.modality != "geo" for entry in (*schema.columns, *schema.ignored))


def test_the_joined_column_can_be_left_out_whole() -> None:
    schema = infer_schema(table(), targets=["label"], drop=["pickup.geo"])
    assert streams(schema) == {"tabular": ("fare",)}
    assert {entry.name: entry.reason for entry in schema.ignored}["pickup.geo"] == "left out by the user"


def test_out_of_range_or_taken_names_stay_numbers_and_say_why() -> None:
    metres = table(pickup_lat=np.linspace(5e6, 6e6, ROWS).tolist())
    schema = infer_schema(metres, targets=["label"])
    assert streams(schema) == {"tabular": ("pickup_lat", "fare", "pickup_lon")}
    reason = "the cells are numbers; no latitude and longitude: 40 of 40 cells of 'pickup_lat' are not within -90..90"
    assert schema.columns[0].reason == reason
    taken = infer_schema(table(**{"pickup.geo": ["x", "y"] * (ROWS // 2)}), targets=["label"])
    assert "not joined, for there is a column 'pickup.geo'" in taken.columns[0].reason


def test_places_that_never_change_are_ignored() -> None:
    schema = infer_schema(table(pickup_lat=[1.5] * ROWS, pickup_lon=[2.5] * ROWS), targets=["label"])
    assert streams(schema) == {"tabular": ("fare",)}
    assert "every cell is the same" in {entry.name: entry.reason for entry in schema.ignored}["pickup.geo"]


def test_inspect_shows_parts_gaps_and_broken_cells() -> None:
    cells = table()
    latitude, longitude = list(cells.columns["pickup_lat"]), list(cells.columns["pickup_lon"])
    latitude[0] = longitude[0] = None
    longitude[1], latitude[2] = None, "95"
    longitude[2] = "120"
    found = inspect_table(table(pickup_lat=latitude, pickup_lon=longitude), targets=["label"])
    names = [entry["name"] for entry in found["columns"]]
    assert names == ["pickup_lat", "fare", "pickup_lon", "pickup.geo", "label"]
    place = column(found, "pickup.geo")
    assert (place["modality"], place["missing"], place["broken"]) == ("geo", 1, 2)
    assert place["reason"] == "'pickup_lat' and 'pickup_lon' are latitude and longitude by name and range"
    assert [cell["reason"] for cell in place["broken_examples"]] == [
        "has no longitude",
        "latitude 95 is not within -90..90",
    ]
    part = column(found, "pickup_lat")
    assert (part["modality"], part["role"], part["stream"]) == ("number", "input", "pickup.geo")
    assert part["reason"] == "read as a part of 'pickup.geo'"


def test_a_table_without_one_of_the_columns_has_no_place() -> None:
    whole = table()
    schema = infer_schema(whole, targets=["label"])
    fitted = Preprocessor.fit(whole, np.arange(ROWS), schema)
    columns, broken = fitted.transform(whole.drop(["pickup_lon"]))
    assert broken == []
    assert not columns["pickup.geo"].present.any()
    assert fitted.transform(whole.take([3, 1]))[0]["pickup.geo"].present.all()
    query, _ = fitted.transform(Table({"pickup.geo": ["48.1, 11.5"], "fare": [3]}))
    assert query["pickup.geo"].present.all()


@pytest.mark.parametrize(
    ("name", "cells", "modality"),
    [
        ("place", ["48.1,11.5", "-17.8, 178.1"], "geo"),
        ("place", ["POINT (11 48)", "POINT (178 -17)"], "geo"),
        ("place", ['{"lat": 48.1, "lon": 11.5}'] * 3, "geo"),
        ("place", [{"latitude": 48.1, "longitude": 11.5}], "geo"),
        ("gps", [[48.1, 11.5], [1, 2]], "geo"),
        ("geo_point", [(48.1, 11.5)], "geo"),
        ("latlon", ["[48.1, 11.5]"], "geo"),
        ("gps", [np.array([48.1, 11.5])], "geo"),
        ("code", [[48.1, 11.5], [1, 2]], "vector"),
        ("geometry", [[48.1, 11.5]], "vector"),
        ("gps", [[480.1, 11.5]], "vector"),
        ("share", ["0.25,0.75", "0.5,0.5"], "category"),
        ("price", ["48,1", "17,5", "3,2"], "number"),
        ("pixel", ["640.5,480.5"] * 3, "category"),
    ],
    ids=str,
)
def test_one_cell_for_both(name: str, cells: list[Any], modality: str) -> None:
    assert detect_modality(name, cells, None)[0] == modality
