"""Stream values of real models: they add up, noise gets nothing, and synergy is an interaction."""

from __future__ import annotations

import numpy as np
import pytest

import polymodal
import tiny
from explain.conftest import exclusive_or_table
from polymodal.data.tables.table import Table
from polymodal.progress import SilentProgress


def explain(model: polymodal.Model, table: object, **options: object) -> polymodal.Explanation:
    return model.explain(table, progress=SilentProgress(), **options)


@pytest.fixture(scope="module")
def explanation(model: polymodal.Model, table: Table) -> polymodal.Explanation:
    """Explain rows of every modality and all flat kinds of targets."""
    return explain(model, table, rows=[1, 2, 9], training=table)


def test_values_sum_to_the_answer_minus_the_prior(explanation: polymodal.Explanation) -> None:
    assert {row.target for row in explanation.rows} == set(tiny.TARGETS)
    for row in explanation.rows:
        assert sum(row.streams.values()) == pytest.approx(row.value - row.prior, abs=1e-6)


def test_what_is_explained_is_what_is_predicted(
    model: polymodal.Model, table: Table, explanation: polymodal.Explanation
) -> None:
    answers, (classes, probabilities) = model.predict(table), model.predict_proba(table)["kind"]
    for row in explanation.rows:
        assert row.answer == pytest.approx(answers[row.target][row.row - 1], rel=1e-5)
        if row.target == "kind":
            assert row.explained == row.answer
            expected = probabilities[row.row - 1, classes.index(row.explained)]
            assert row.value == pytest.approx(expected, abs=1e-5)
            assert row.prior == pytest.approx(model.trained.targets["kind"].prior[classes.index(row.explained)])


def test_each_predicted_label_is_explained(explanation: polymodal.Explanation) -> None:
    rows = [row for row in explanation.rows if row.target == "tags" and row.row == 1]
    assert [row.explained for row in rows] == (rows[0].answer or [rows[0].explained])


def test_absent_streams_get_nothing(table: Table, explanation: polymodal.Explanation) -> None:
    for row in explanation.rows:
        for stream in tiny.MEDIA_STREAMS:
            assert (stream in row.absent) == (table.columns[stream][row.row - 1] is None)
        assert all(row.streams[stream] == 0 for stream in row.absent)
        assert not any(stream in pair.split(" × ") for pair in row.interactions for stream in row.absent)


def test_the_summary_is_the_mean_of_the_rows(explanation: polymodal.Explanation) -> None:
    summary = next(summary for summary in explanation.summaries if summary.target == "kind")
    rows = [row for row in explanation.rows if row.target == "kind"]
    assert summary.rows == len(rows) == 3
    for stream, entry in summary.importance.items():
        assert entry["mean"] == pytest.approx(np.mean([abs(row.streams[stream]) for row in rows]))
        assert entry["low"] <= entry["mean"] <= entry["high"]


def test_an_exclusive_or_is_an_interaction(exclusive_or_model: polymodal.Model) -> None:
    found = explain(exclusive_or_model, exclusive_or_table(60, 1), rows=range(1, 41))
    for row in found.rows:
        pair = row.interactions["first × second"]
        assert pair == pytest.approx(0.5, abs=0.1)
        mains = {stream: row.streams[stream] - pair / 2 for stream in ("first", "second")}
        assert mains == pytest.approx({"first": 0, "second": 0}, abs=0.1)
        assert row.streams["noise"] == pytest.approx(0, abs=0.05)
    pairs = {tuple(entry["pair"]): entry for entry in found.summaries[0].information}
    assert pairs["first", "second"]["synergy"] > 0.7
    assert pairs["first", "second"]["redundancy"] < 0.05
    assert pairs["first", "noise"]["total"] < 0.1


def test_a_number_is_explained_in_its_unit(numbers_model: polymodal.Model) -> None:
    table = tiny.numbers_table(30, seed=1)
    found = explain(numbers_model, table, rows=[1, 2], target="weight")
    assert found.units == {"weight": "value"}
    predicted = numbers_model.predict(table)["weight"]
    assert [row.value for row in found.rows] == pytest.approx(predicted[:2], rel=1e-5)
    assert max(found.rows[0].streams, key=lambda stream: abs(found.rows[0].streams[stream])) == "measured"
    assert "one class a row" in found.summaries[0].information_note


def test_many_streams_are_sampled_with_errors() -> None:
    random, rows = np.random.default_rng(0), 60
    labels = np.arange(rows) % 2
    table = {f"n{i}": random.normal(labels * (i < 2), 1.0).tolist() for i in range(200)}
    table["label"] = [("no", "yes")[label] for label in labels]
    streams = {name: [name] for name in table if name != "label"}
    model = tiny.train(table, "label", stream=streams, fusion="sum", settings={"width": 8})
    found = explain(model, table, rows=[1])
    (row,) = found.rows
    assert sum(row.streams.values()) == pytest.approx(row.value - row.prior, abs=1e-6)
    assert max(row.standard_errors.values()) > 0
    assert row.interactions == {}
    assert any("sampled permutations" in notice for notice in found.notices)
