"""Stress tests: which noise is tried, what the scores are, that they repeat, and what bad input says."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.corruptions import kinds_of
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError
from polymodal.model.evaluate_table import examples_with_truth
from polymodal.progress import SilentProgress
from polymodal.robustness import DEFAULT_ROWS, DEFAULT_SEVERITIES, StressOptions, StressReport
from polymodal.robustness.conditions import choose_noises, corrupted_examples, sample_rows


@pytest.fixture(scope="module")
def numbers() -> polymodal.Model:
    """Train a model that can tell the two kinds apart by a number, with baselines."""
    return tiny.train(tiny.numbers_table(120), settings={"baselines": True, "train.epochs": 12})


@pytest.fixture(scope="module")
def found(numbers: polymodal.Model) -> StressReport:
    return numbers.stress(tiny.numbers_table(80, seed=1), severities=(1, 5))


@pytest.fixture(scope="module")
def of_all_streams(model: polymodal.Model, table: Table) -> StressReport:
    return model.stress(table, severities=[2], rows=8)


def test_every_kind_of_every_stream_is_tried_and_the_worst_comes_first(
    model: polymodal.Model, of_all_streams: StressReport
) -> None:
    assert set(of_all_streams.targets) == set(tiny.TARGETS)
    expected = {(name, kind) for name, held in tiny.MODALITY_OF.items() for kind in kinds_of(held)}
    expected = {(name if name in tiny.MEDIA_STREAMS else "tabular", kind) for name, kind in expected}
    sounds = {(f"{name}.audio", kind) for name in model.trained.schema.sounds.values() for kind in kinds_of("audio")}
    for target in of_all_streams.targets.values():
        assert {(curve.stream, curve.kind) for curve in target.curves} == expected | sounds
        errors = [curve.error["final"].value for curve in target.curves]
        assert errors == sorted(errors, key=lambda value: -(value or 0))
        assert {"final", "fusion", "baseline:linear", "baseline:boosting", "baseline:prior"} <= set(target.members)
        assert all(len(curve.scores[member]) == 1 for curve in target.curves for member in target.members)


def test_of_many_streams_each_and_each_pair_is_left_out_and_told(of_all_streams: StressReport) -> None:
    streams = len(tiny.STREAMS)
    for target in of_all_streams.targets.values():
        assert len(target.missing) == streams + streams * (streams - 1) // 2
    assert any("each stream and each pair of streams was tried" in notice for notice in of_all_streams.notices)
    assert any("Used were 8 of the 80 rows" in notice for notice in of_all_streams.notices)


def test_more_noise_costs_more_and_the_prior_loses_nothing(found: StressReport) -> None:
    target = found.targets["kind"]
    noise = next(curve for curve in target.curves if curve.kind == "number_noise")
    mild, strong = noise.scores["final"]
    assert mild is not None
    assert strong is not None
    assert strong < mild <= (target.clean["final"].value or 0) + 0.05
    assert target.mean_error["baseline:prior"].value == pytest.approx(0, abs=1e-12)
    lost = target.mean_error["final"]
    assert lost.interval is not None
    assert lost.interval[0] <= (lost.value or 0) <= lost.interval[1]
    assert lost.value == pytest.approx((target.clean["final"].value or 0) - (target.noisy["final"].value or 0))
    of_curves = [curve.error["final"].value or 0 for curve in target.curves]
    assert lost.value == pytest.approx(np.mean(of_curves))


def test_without_its_only_stream_the_answer_is_the_prior(found: StressReport) -> None:
    (absence,) = found.targets["kind"].missing
    assert absence.absent == ["tabular"]
    assert absence.scores["final"] == pytest.approx(found.targets["kind"].clean["baseline:prior"].value)


def test_the_same_seed_gives_the_same_scores_and_json_keeps_them(numbers: polymodal.Model, found: StressReport) -> None:
    again = numbers.stress(tiny.numbers_table(80, seed=1), severities=(5, 1, 1))
    assert again.targets == found.targets
    other = numbers.stress(tiny.numbers_table(80, seed=1), severities=(1, 5), seed=3)
    assert other.targets != found.targets
    assert StressReport.from_state(json.loads(json.dumps(found.state()))) == found


def test_the_clean_score_is_that_of_evaluate(numbers: polymodal.Model, found: StressReport) -> None:
    evaluated = numbers.evaluate(tiny.numbers_table(80, seed=1))["targets"]["kind"]
    assert found.targets["kind"].clean["final"].value == pytest.approx(evaluated["accuracy"])


def test_noise_is_in_one_stream_and_absent_cells_stay_absent(model: polymodal.Model, table: Table) -> None:
    trained, options = model.trained, StressOptions(rows=6)
    rows, _ = sample_rows(trained, table, options)
    examples, _ = examples_with_truth(trained, table.take(rows), False, ArrayCache(None), SilentProgress())
    derived = trained.schema.with_derived(table)
    for noise in choose_noises(trained, examples, options)[0]:
        noisy = corrupted_examples(trained, derived, rows, examples, noise, 5, 0)
        changed = {name for name in examples.columns if noisy.columns[name] is not examples.columns[name]}
        assert changed == {noise.stream.name}
        was, now = (one.columns[noise.stream.name].present for one in (examples, noisy))
        assert np.array_equal(was, now), noise.kind


def test_only_what_is_asked_for_is_tried(model: polymodal.Model, table: Table) -> None:
    chosen = model.stress(table, kinds=["*_noise", "text_typos"], streams=["photo", "tabular"], severities=[3], rows=6)
    curves = chosen.targets["kind"].curves
    assert {(curve.stream, curve.kind) for curve in curves} == {("photo", "image_noise"), ("tabular", "number_noise")}
    assert any("None of the streams can have the noise 'text_typos'" in notice for notice in chosen.notices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["number_nois"]}, r"no kind of noise 'number_nois'. Did you mean 'number_noise'\?"),
        ({"streams": ["tabula"]}, r"no stream 'tabula' to put noise into. Did you mean 'tabular'\?"),
        ({"kinds": ["image"]}, r"None of the streams can have the noise 'image_noise'.* Kinds for them: number_noise"),
        ({"severities": [0]}, r"'severities' parameter of a stress test must be whole numbers from 1 to 5. Got 0"),
        ({"severities": []}, r"'severities' parameter of a stress test must be whole numbers from 1 to 5"),
        ({"rows": 0}, r"'rows' parameter of a stress test must be at least 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(numbers: polymodal.Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        numbers.stress(tiny.numbers_table(20), **options)


def test_a_table_without_truth_is_refused(numbers: polymodal.Model) -> None:
    table = tiny.numbers_table(20)
    with pytest.raises(SchemaError, match="no row has a target value known from training"):
        numbers.stress(table | {"kind": ["something else"] * 20})
    del table["kind"]
    with pytest.raises(SchemaError, match="has no target column: expected 'kind'"):
        numbers.stress(table)


def test_a_stream_without_a_present_cell_is_left_out_and_told(model: polymodal.Model, table: Table) -> None:
    without = tiny.with_cells(table, photo=[None] * table.num_rows)
    found = model.stress(without, streams=["photo", "code"], severities=[1], rows=8)
    assert {curve.stream for curve in found.targets["kind"].curves} == {"code"}
    assert "The stream 'photo' gets no noise: it has no present cell in these rows." in found.notices


def test_one_row_has_scores_where_they_are_defined(model: polymodal.Model, table: Table) -> None:
    row = next(row for row, cell in enumerate(table.columns["sound"]) if cell is not None)
    found = model.stress(table.take([row]), streams=["sound"], severities=[3])
    assert found.rows == 1
    assert found.targets["kind"].clean["final"].value in (0.0, 1.0)
    assert any("audio_babble in 'sound': it mixes in cells of other rows" in notice for notice in found.notices)


def test_a_constant_prediction_loses_nothing() -> None:
    table = tiny.numbers_table(40)
    constant = {"size": table["age"], "kind": ["cat"] * 30 + ["owl"] * 10}
    model = tiny.train(constant, settings={"train.epochs": 1, "train.learning_rate": 1e-9})
    target = model.stress(constant, severities=[5]).targets["kind"]
    assert target.mean_error["final"].value == pytest.approx(0, abs=1e-9)


def test_boxes_are_not_rotated(tmp_path: Any) -> None:
    table = tiny.write_structured_table(tmp_path, "boxes", rows=24)
    model = tiny.train(tiny.only(table, "photo", "answer"), "answer")
    found = model.stress(table, kinds=["image_rotation", "image_noise"], severities=[1], rows=8)
    assert [curve.kind for curve in found.targets["answer"].curves] == ["image_noise"]
    assert any("image_rotation in 'photo': it moves what the truth names the place of" in n for n in found.notices)
    assert found.targets["answer"].missing


@pytest.mark.parametrize("options", [{}, {"reconstruct": True}])
def test_models_without_a_target_are_tested_by_their_objective(table: Table, options: dict[str, Any]) -> None:
    model = tiny.train(tiny.only(table, "photo", "code"), None, **options)
    found = model.stress(tiny.only(table, "photo", "code"), kinds=["*_noise"], severities=[3], rows=20)
    for target in found.targets.values():
        assert target.members == ["final"]
        assert {curve.stream for curve in target.curves} == {"photo", "code"}
        assert all(curve.error["final"].value is not None for curve in target.curves)


def test_defaults_are_the_same_everywhere() -> None:
    parameters = inspect.signature(polymodal.Model.stress).parameters
    assert parameters["severities"].default == DEFAULT_SEVERITIES == tuple(StressOptions().severities)
    assert parameters["rows"].default == DEFAULT_ROWS == StressOptions().rows
