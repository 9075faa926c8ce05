"""Drift of a new table: what has changed is named first, the same distribution raises no alarm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import drift_tables
import polymodal
import tiny
from polymodal.data.profiles.build_profile import MeasuredColumn, ProfileBuilder
from polymodal.data.profiles.measures import ColumnCells, measure_categories, measure_numbers
from polymodal.data.profiles.profile import Profile
from polymodal.data.tables.table import Table
from polymodal.drift.compare_profiles import compare_profiles
from polymodal.drift.comparison import Comparison, Drift
from polymodal.drift.find_drift import _judge
from polymodal.errors import ConfigError, PolymodalWarning, SchemaError, TableError
from polymodal.runs.model import Model

ROWS = 160


@pytest.fixture(scope="module")
def fresh() -> Table:
    return drift_tables.make_table(ROWS, seed=50)


def changed(table: Table, column: str, change: Callable[[Any], Any]) -> Table:
    return tiny.with_cells(table, **{column: [None if c is None else change(c) for c in table.columns[column]]})


def find(drift: Drift, column: str, measure: str) -> Comparison:
    return next(found for found in drift.comparisons if (found.column, found.measure) == (column, measure))


def without_reference(model: Model) -> Model:
    return Model(dataclasses.replace(model.trained, reference=None))


def test_rows_of_the_same_distribution_raise_no_alarm(drift_model: Model) -> None:
    alarms = [drift_model.drift(drift_tables.make_table(ROWS, seed=seed)).is_drifted for seed in range(60, 63)]
    assert sum(alarms) <= binom.ppf(0.999, len(alarms), 0.05)


def profile_of(columns: dict[str, list[Any]]) -> Profile:
    builder = ProfileBuilder()
    for name, cells in columns.items():
        measure, modality = (measure_categories, "category") if name.startswith("c") else (measure_numbers, "number")
        present = sum(cell is not None for cell in cells)
        builder.see([MeasuredColumn(name, modality, "input", "t", len(cells), present, measure(ColumnCells(cells)))])
    return builder.build("t", len(next(iter(columns.values()))))


def random_columns(seed: int, rows: int, number: int = 6) -> dict[str, list[Any]]:
    random = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {f"n{i}": random.normal(size=rows).tolist() for i in range(number)}
    columns |= {f"c{i}": random.choice(list("abcd"), rows).tolist() for i in range(number)}
    return {name: [None if random.random() < 0.2 else cell for cell in cells] for name, cells in columns.items()}


def test_false_alarms_of_whole_tables_stay_within_alpha() -> None:
    alarms = 0
    for seed in range(60):
        first, second = (profile_of(random_columns(2 * seed + part, 120 - part, number=3)) for part in (0, 1))
        found = _judge(list(compare_profiles(first, second, {})), 0.05, 0.0)
        alarms += any(one.is_drifted for one in found)
    assert alarms <= binom.ppf(0.999, 60, 0.05)


def test_200_columns_of_which_one_has_shifted() -> None:
    before, after = random_columns(0, 100, number=100), random_columns(1, 100, number=100)
    after["n7"] = [None if cell is None else cell + 1.5 for cell in after["n7"]]
    found = _judge(list(compare_profiles(profile_of(before), profile_of(after), {})), 0.05, 0.05)
    assert [one.column for one in found if one.is_drifted] == ["n7"]


def test_large_tables_are_not_alarmed_by_trifles() -> None:
    random = np.random.default_rng(0)
    first, second = ({"n": random.normal(shift, 1, 50_000).tolist()} for shift in (0.0, 0.06))
    found = list(compare_profiles(profile_of(first), profile_of(second), {}))
    assert found[0].p_value < 1e-6
    assert not _judge(found, 0.05, 0.05)[0].is_drifted


def test_a_shifted_column_is_named_first(drift_model: Model, fresh: Table) -> None:
    drift = drift_model.drift(changed(fresh, "size", lambda size: 10 * size + 30))
    first = drift.comparisons[0]
    assert (first.column, first.measure, first.is_drifted) == ("size", "value", True)
    assert "size" in drift.sentence
    assert "lie beyond" in first.sentence
    assert not find(drift, "colour", "value").is_drifted
    assert find(drift, "tabular", "embedding").is_drifted
    assert find(drift, "rows", "unusual").is_drifted
    assert len(find(drift, "rows", "unusual").example_rows) == 8


def test_a_new_category_is_named(drift_model: Model, fresh: Table) -> None:
    found = drift_model.drift(
        changed(fresh, "colour", lambda colour: "purple" if colour == "red" else colour)
    ).comparisons[0]
    assert found.column == "colour"
    assert found.new_values[0][0] == "purple"
    assert found.sentence.startswith("new: 'purple' (")


def test_a_broken_camera_is_found(drift_model: Model, fresh: Table) -> None:
    drift = drift_model.drift(changed(fresh, "photo", lambda photo: 0 * photo))
    assert {found.column for found in drift.drifted[:3]} == {"photo"}
    assert find(drift, "photo", "brightness").effect == pytest.approx(1.0)
    assert find(drift, "photo", "embedding").is_drifted


def test_another_language_and_missing_cells_are_found(drift_model: Model, fresh: Table) -> None:
    table = changed(fresh, "note", lambda note: "кошка спит на окне " + note[:3])
    table = tiny.with_cells(table, size=[None if row % 2 else cell for row, cell in enumerate(table.columns["size"])])
    drift = drift_model.drift(table)
    assert find(drift, "note", "script").new_values[0][0] == "Cyrillic"
    assert find(drift, "note", "characters per token").is_drifted
    assert find(drift, "size", "missing").is_drifted


def test_a_shift_of_labels_shows_in_truth_and_predictions(drift_model: Model, fresh: Table) -> None:
    rows = [row for row, kind in enumerate(fresh.columns["kind"]) if kind == "cat"]
    drift = drift_model.drift(fresh.take(rows))
    found = {one.subject: one for one in drift.drifted if one.column == "kind" and one.measure == "value"}
    assert found["target"].effect == pytest.approx(0.5, abs=0.1)
    assert "prediction" in {one.subject for one in drift.comparisons if one.column == "kind"}


def test_a_table_may_lack_columns_but_not_all(drift_model: Model, fresh: Table) -> None:
    some = tiny.only(fresh, "size", "colour", "note")
    with pytest.warns(PolymodalWarning, match="photo"):
        drift = drift_model.drift(some)
    assert find(drift, "photo", "missing").is_drifted
    assert not [one for one in drift.comparisons if one.subject == "target"]
    with pytest.raises(SchemaError, match="has no input column"):
        drift_model.drift(Table({"other": [1, 2]}))


def test_one_row_constant_columns_and_no_rows(drift_model: Model, fresh: Table) -> None:
    assert not drift_model.drift(fresh.take([0])).is_drifted
    constant = drift_model.drift(tiny.with_cells(fresh, size=[1.0] * ROWS))
    assert constant.comparisons[0].column == "size"
    with pytest.raises(TableError, match="no rows"):
        drift_model.drift(fresh.take([]))


def test_large_tables_are_sampled_and_it_is_told(drift_model: Model, fresh: Table) -> None:
    drift = drift_model.drift(fresh, rows=40)
    assert drift.compared_rows == 40
    assert any("40 of the 160 of new" in notice for notice in drift.notices)


@pytest.mark.parametrize("option", [{"alpha": 0}, {"alpha": 1.0}, {"min_effect": 1.0}, {"rows": 0}])
def test_impossible_options_are_refused(drift_model: Model, fresh: Table, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        drift_model.drift(fresh, **option)


def test_a_model_of_earlier_versions_needs_the_training_table(drift_model: Model, fresh: Table) -> None:
    old = without_reference(drift_model)
    with pytest.raises(ConfigError, match="--training"):
        old.drift(fresh)
    with pytest.raises(ConfigError, match="remembers nothing"):
        old.predictions(fresh, unusual=True)
    training = drift_tables.make_table(360, seed=0, name="train")
    drift = old.drift(changed(fresh, "size", lambda size: size + 30), training=training)
    assert drift.comparisons[0].column == "size"
    assert {one.subject for one in drift.comparisons} == {"input", "target"}
    assert any("embeddings, predictions" in notice for notice in drift.notices)


def test_a_saved_model_finds_the_same_and_keeps_no_cells(drift_model: Model, fresh: Table, tmp_path: Path) -> None:
    drift_model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    first, second = (model.drift(fresh).to_json() for model in (drift_model, loaded))
    assert json.dumps(first["comparisons"]) == json.dumps(second["comparisons"])
    plain, arrays = drift_model.trained.reference.state()  # type: ignore[union-attr]
    notes = [note for note in drift_tables.make_table(360, seed=0).columns["note"] if note]
    assert not [note for note in notes if note in json.dumps(plain)]
    assert sum(array.nbytes for array in arrays.values()) < 2_000_000


def test_predictions_tell_unusual_rows_and_warn_of_many(drift_model: Model, fresh: Table) -> None:
    ordinary = drift_model.predictions(fresh, unusual=True)
    assert ordinary.unusual is not None
    assert ordinary.to_columns()["unusual"] == ordinary.unusual.tolist()
    assert (ordinary.unusual <= 0.05).mean() < 0.15
    with pytest.warns(PolymodalWarning, match="unusual at 5%, where 5% is expected"):
        black = drift_model.predictions(changed(fresh, "photo", lambda photo: 0 * photo), unusual=True)
    assert black.unusual is not None
    assert np.mean(black.unusual <= 0.05) > 0.8
