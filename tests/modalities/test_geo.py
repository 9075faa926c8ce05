"""Places: what is read as latitude and longitude, what is broken and why, and what the vectors keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.modalities import CellReadError, Geo, build_settings
from polymodal.modalities.geo import DIRECTIONS, degrees_of, find_pairs, place_features, read_place, unit_vectors

MUNICH = (48.1, 11.5)


def fit(cells: list[Any]) -> Geo:
    return Geo.fit(cells, build_settings("geo"), None)


@pytest.mark.parametrize(
    "cell",
    [
        "48.1,11.5",
        " (48.1 ; 11.5) ",
        "48.1 11.5",
        "+48.1°N, 11.5°E",
        "11.5 E, 48.1 N",
        "POINT (11.5 48.1)",
        "SRID=4326;point z(11.5 48.1 520)",
        {"lat": 48.1, "lon": 11.5},
        {"Latitude": "48.1", "Longitude": "11.5", "name": "Munich"},
        {"lat": 48.1, "lng": 11.5},
        {"lat": 48.1, "long": 11.5},
        '{"lat": 48.1, "lon": 11.5}',
        {"type": "Point", "coordinates": [11.5, 48.1, 520]},
        (48.1, 11.5),
        ("48.1", "11.5"),
        [48.1, 11.5],
        "[48.1, 11.5]",
        np.array([48.1, 11.5]),
    ],
    ids=str,
)
def test_every_spelling_is_the_same_place(cell: Any) -> None:
    assert read_place(cell) == pytest.approx(MUNICH)


def test_letters_give_the_side_of_the_earth() -> None:
    assert read_place("33.4 S, 70.7 W") == (-33.4, -70.7)
    assert read_place("70.7w 33.4s") == (-33.4, -70.7)


@pytest.mark.parametrize("cell", ["nan", "n/a", (None, None), (float("nan"), ""), {"lat": None, "lon": None}], ids=str)
def test_no_place(cell: Any) -> None:
    assert read_place(cell) is None


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("95, 11.5", "latitude 95 is beyond 90, longitude 11.5 is not: they may be swapped"),
        ((139.7, 35.7), "latitude 139.7 is beyond 90, longitude 35.7 is not: they may be swapped"),
        ("95, 170", r"latitude 95 is not within -90\.\.90"),
        ((200, 10), r"latitude 200 is not within -90\.\.90"),
        ((48.1, -190.5), r"longitude -190.5 is not within -180\.\.180"),
        ("abc", "'abc' is no place; expected latitude, longitude such as 48.1, 11.5"),
        (7, "7 is no place"),
        ((float("nan"), 11.5), "has no latitude"),
        ((48.1, None), "has no longitude"),
        (("48.1", "east"), "'east' is not a number"),
        ((float("inf"), 11.5), "infinite"),
        ([1, 2, 3], "holds 3 values; expected latitude and longitude"),
        (np.float64(3), "is no place"),
        (np.array(3.0), "holds 1 values"),
        ({"x": 1}, "the record has the keys x; expected lat and lon"),
        ({"type": "Point", "coordinates": None}, "is no place"),
        ("{48.1", "is not JSON"),
        ("POINT (11.5)", "is no place"),
    ],
    ids=str,
)
def test_a_broken_cell_says_why(cell: Any, reason: str) -> None:
    with pytest.raises(CellReadError, match=reason):
        read_place(cell)
    column, broken = fit([MUNICH]).transform([MUNICH, cell], None)
    assert column.present.tolist() == [True, False]
    assert [entry.row for entry in broken] == [2]


def test_nothing_jumps_at_the_date_line_and_at_the_poles() -> None:
    column, _ = fit([MUNICH]).transform([(10, 179.999), (10, -179.999), (90, 0), (90, 123), (-90, 5)], None)
    near = np.linalg.norm(column.values[0] - column.values[1])
    assert near < 1e-4
    np.testing.assert_allclose(column.values[2], column.values[3], atol=1e-7)
    np.testing.assert_allclose(column.values[4], [0, 0, -1], atol=1e-7)


def test_degrees_come_back_also_close_to_a_pole() -> None:
    places = [(48.1371, 11.5754), (-17.8, 178.1), (89.9999, -45.0), (0.0, -180.0)]
    vectors = unit_vectors(places).astype(np.float32)
    np.testing.assert_allclose(degrees_of(vectors * 3)[:3], places[:3], atol=1e-4)
    assert abs(degrees_of(vectors)[3, 1]) == pytest.approx(180)


def test_center_and_spread_are_those_of_the_places() -> None:
    fitted = fit([(0, 0), (0, 90), None, "abc"])
    assert fitted.center == pytest.approx([0.5, 0.5, 0], abs=1e-9)
    assert fitted.spread == pytest.approx(0.5**0.5)
    assert fit([MUNICH, MUNICH]).spread == 1.0
    assert Geo.from_state(fitted.state()) == fitted


def test_baselines_see_the_place_along_many_directions() -> None:
    column, _ = fit([MUNICH]).transform([MUNICH, None], None)
    features = place_features(column)
    assert features.shape == (2, 11)
    np.testing.assert_allclose(features[0, 3:9], DIRECTIONS @ column.values[0], atol=1e-6)
    np.testing.assert_allclose(features[0, 9:], MUNICH, atol=1e-4)
    angles = np.abs(DIRECTIONS @ DIRECTIONS.T)[~np.eye(6, dtype=bool)]
    np.testing.assert_allclose(angles, angles[0])


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (("lat", "lon"), "geo"),
        (("Latitude", "LONGITUDE"), "geo"),
        (("pickup_lat", "pickup_lng"), "pickup.geo"),
        (("pickupLatitude", "pickup_longitude"), "pickup.geo"),
        (("lat1", "lon1"), "1.geo"),
        (("start station latitude", "start station longitude"), "start_station.geo"),
        (("lat_home", "long_home"), "home.geo"),
    ],
)
def test_pairs_are_found_by_name(names: tuple[str, str], name: str) -> None:
    (found,) = find_pairs({names[1]: ["178.1", None], "size": ["1", "2"], names[0]: ["-17.8", "48"]})
    assert (found.name, found.columns, found.refusal) == (name, names, "")


@pytest.mark.parametrize("names", [("lat", "size"), ("pickup_lat", "dropoff_lon"), ("flat", "balloon"), ("x", "y")])
def test_other_names_are_no_pair(names: tuple[str, str]) -> None:
    assert find_pairs({name: [1.5, 2.5] for name in names}) == []


def test_a_pair_out_of_range_says_which_column() -> None:
    (found,) = find_pairs({"lat": [5_300_000.0, 5_310_000.0, 45.0], "lon": [11.0, 12.0, 13.0]})
    assert found.refusal == "no latitude and longitude: 2 of 3 cells of 'lat' are not within -90..90"
    few_broken = [48.0] * 39 + [95.0]
    (found,) = find_pairs({"lat": few_broken, "lon": few_broken})
    assert found.refusal == ""


def test_long_runs_of_blanks_are_read_at_once() -> None:
    assert read_place("48.1" + " " * 50_000 + "N, 11.5 E") == read_place("48.1 N, 11.5 E")
    with pytest.raises(CellReadError):
        read_place("48.1" + " " * 50_000 + "x")
