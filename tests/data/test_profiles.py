"""Profiles: what is measured of cells of each modality, and what of it is kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polymodal.data.preprocessor import Preprocessor
from polymodal.data.profiles.build_profile import MeasuredColumn, ProfileBuilder, measure_table, sample_rows
from polymodal.data.profiles.measures import (
    ColumnCells,
    Measure,
    measure_dates,
    measure_numbers,
    measure_texts,
    script_of,
)
from polymodal.data.profiles.media_measures import measure_images, measure_sounds
from polymodal.data.profiles.profile import OTHER_VALUES, Distribution, Profile
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table


@pytest.fixture(scope="module")
def preprocessor(table: Table) -> Preprocessor:
    schema = infer_schema(table, targets=["kind", "weight"])
    return Preprocessor.fit(table, np.arange(table.num_rows), schema, num_threads=1)


def measured(preprocessor: Preprocessor, table: Table, *, media_only: bool = False) -> list[MeasuredColumn]:
    columns, _ = preprocessor.transform(table, num_threads=1)
    return measure_table(preprocessor, table, columns, media_only=media_only)


def values_of(measures: list[Measure]) -> dict[str, Any]:
    return {measure.name: list(measure.values) for measure in measures}


def test_measures_have_one_value_a_row_and_none_where_there_is_nothing() -> None:
    numbers = values_of(measure_numbers(ColumnCells(["1", None, "x", "n/a", 2.5])))
    assert numbers == {"value": [1.0, None, None, None, 2.5]}
    dates = values_of(measure_dates(ColumnCells(["1970-01-02", None])))
    assert dates == {"time": [1.0, None], "weekday": ["Friday", None]}


@pytest.mark.parametrize(
    ("text", "script"), [("good day", "Latin"), ("好吃", "Cjk"), ("να ζει", "Greek"), ("12 !", "none"), ("", "none")]
)
def test_the_script_of_a_text(text: str, script: str) -> None:
    assert script_of(text) == script


def test_texts_are_measured_without_a_modality() -> None:
    assert values_of(measure_texts(ColumnCells(["ab c", None]))) == {"length": [4.0, None], "script": ["Latin", None]}


def test_sounds_have_duration_rate_and_loudness() -> None:
    second = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype(np.float32)
    found = values_of(measure_sounds(ColumnCells([(second, 8000), None, (0 * second, 8000)])))
    assert found["duration"] == [1.0, None, 1.0]
    assert found["sample rate"] == ["8,000 Hz", None, "8,000 Hz"]
    assert found["loudness"] == pytest.approx([-3.01, None, -120.0], abs=0.01)
    assert found["crest"] == pytest.approx([3.01, None, 0.0], abs=0.01)
    assert found["zero crossings"][0] == pytest.approx(880, abs=2)


def test_pictures_have_size_without_being_decoded() -> None:
    found = values_of(measure_images(ColumnCells([np.zeros((4, 6, 3), np.uint8), None])))
    assert found == {"width": [6.0, None], "height": [4.0, None]}


def test_every_modality_is_measured_in_every_row(preprocessor: Preprocessor, table: Table) -> None:
    found = measured(preprocessor, table)
    assert {column.name for column in found} >= {*preprocessor.column_names, "kind", "weight"}
    for column in found:
        assert column.measures, column.name
        assert {len(measure.values) for measure in column.measures} == {table.num_rows}
        assert all(sum(value is not None for value in m.values) <= column.present for m in column.measures)
    media = measured(preprocessor, table, media_only=True)
    assert {column.name for column in media} < {column.name for column in found}


def test_a_profile_of_parts_is_that_of_the_whole(preprocessor: Preprocessor, table: Table) -> None:
    whole, parts = ProfileBuilder(), ProfileBuilder()
    whole.see(measured(preprocessor, table))
    for rows in (np.arange(30), np.arange(30, table.num_rows)):
        parts.see(measured(preprocessor, table.take(rows)))
    first, second = (builder.build("t", table.num_rows) for builder in (whole, parts))
    for name, column in first.columns.items():
        assert column.present == second.columns[name].present
        for one, other in zip(column.distributions, second.columns[name].distributions, strict=True):
            assert one.counts == other.counts
            assert (
                one.measure in ("frames", "duration", "width", "height")
                or one.numbers.tolist() == other.numbers.tolist()
            )


def test_profiles_are_bounded_and_restored() -> None:
    labels = Distribution.of(Measure("value", "", [str(row % 1500) for row in range(3000)]))
    assert len(labels.counts) == 1001
    assert labels.counts[OTHER_VALUES] == 1000
    numbers = Distribution.of(Measure("value", "", [float("inf"), None, *map(float, range(1000))]))
    assert len(numbers) == 1000
    thinned = numbers.thinned(100)
    assert len(thinned) == 100
    assert np.median(thinned.numbers) == pytest.approx(500, abs=6)


def test_a_profile_goes_through_json(preprocessor: Preprocessor, table: Table) -> None:
    builder = ProfileBuilder()
    builder.see(measured(preprocessor, table))
    profile = builder.build("tiny", table.num_rows)
    plain, arrays = profile.state()
    restored = Profile.from_state(json.loads(json.dumps(plain)), arrays)
    assert restored.state()[0] == plain
    assert all(np.array_equal(restored.state()[1][name], array) for name, array in arrays.items())


def test_sampled_rows_rise_and_are_drawn_once() -> None:
    rows = sample_rows(100, 10, seed=0)
    assert len(rows) == 10
    assert (np.diff(rows) > 0).all()
    assert sample_rows(3, 10, seed=0).tolist() == [0, 1, 2]
