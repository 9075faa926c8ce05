"""Stream values of real models: they add up, noise gets nothing, and synergy is an interaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table

Explain = Callable[..., polymodal.Explanation]


@pytest.fixture(scope="module")
def explanation(explain: Explain, mixed_model: polymodal.Model, mixed_table: Table) -> polymodal.Explanation:
    """Explain rows of all flat kinds of targets."""
    return explain(mixed_model, mixed_table, rows=range(1, 13), training=mixed_table)


def test_values_sum_to_the_answer_minus_the_prior(explanation: polymodal.Explanation) -> None:
    assert {row.target for row in explanation.rows} == set(tiny.TARGETS)
    for row in explanation.rows:
        assert sum(row.streams.values()) == pytest.approx(row.value - row.prior, abs=1e-6)


def test_what_is_explained_is_the_answer_of_predict(
    mixed_model: polymodal.Model, mixed_table: Table, explanation: polymodal.Explanation
) -> None:
    predicted, (classes, probabilities) = (
        mixed_model.predict(mixed_table),
        mixed_model.predict_proba(mixed_table)["kind"],
    )
    for row in explanation.rows:
        answer, place = predicted[row.target][row.row - 1], row.row - 1
        if row.target == "weight":
            assert row.value == pytest.approx(answer, rel=1e-5)
            continue
        assert row.answer == answer
        if row.target == "kind":
            column = classes.index(row.explained)
            assert row.value == pytest.approx(probabilities[place, column], abs=1e-5)
            assert row.prior == pytest.approx(mixed_model.trained.targets["kind"].prior[column])


def test_each_predicted_label_is_explained(explanation: polymodal.Explanation) -> None:
    for number in range(1, 13):
        rows = [row for row in explanation.rows if row.target == "tags" and row.row == number]
        assert [row.explained for row in rows] == (rows[0].answer or [rows[0].explained])


def test_absent_streams_get_exactly_nothing(mixed_table: Table, explanation: polymodal.Explanation) -> None:
    assert any(row.absent for row in explanation.rows)
    for row in explanation.rows:
        for stream in ("note", "code"):
            assert (stream in row.absent) == (mixed_table.columns[stream][row.row - 1] is None)
        assert all(row.streams[stream] == 0 for stream in row.absent)
        assert not any(stream in pair.split(" × ") for pair in row.interactions for stream in row.absent)


def test_the_summary_is_the_mean_of_the_rows(explanation: polymodal.Explanation) -> None:
    summary = next(summary for summary in explanation.summaries if summary.target == "kind")
    rows = [row for row in explanation.rows if row.target == "kind"]
    assert summary.rows == len(rows) == 12
    for stream, entry in summary.importance.items():
        assert entry["mean"] == pytest.approx(np.mean([abs(row.streams[stream]) for row in rows]))
        assert entry["low"] <= entry["mean"] <= entry["high"]


def test_information_is_decomposed_only_where_it_can_be(explanation: polymodal.Explanation) -> None:
    notes = {summary.target: summary.information_note for summary in explanation.summaries}
    assert "one class a row" in notes["weight"]
    assert "20 rows" in notes["kind"]
    assert not any(summary.information for summary in explanation.summaries)


def test_an_exclusive_or_is_an_interaction(
    explain: Explain,
    exclusive_or_model: polymodal.Model,
    exclusive_or_table: Callable[[int, int], dict[str, list[Any]]],
) -> None:
    found = explain(exclusive_or_model, exclusive_or_table(60, 1), rows=range(1, 41))
    (summary,) = found.summaries
    pair = summary.interactions["first × second"]["mean"]
    assert pair == pytest.approx(0.5, abs=0.1)
    for stream in ("first", "second"):
        mean = np.mean([row.streams[stream] for row in found.rows])
        assert mean - pair / 2 == pytest.approx(0, abs=0.05), "alone it says nothing"
    assert summary.importance["noise"]["mean"] < 0.05
    pairs = {tuple(entry["pair"]): entry for entry in summary.information}
    assert pairs["first", "second"]["synergy"] > 0.7
    assert pairs["first", "second"]["redundancy"] < 0.05
    assert pairs["first", "noise"]["total"] < 0.1


def test_many_streams_are_sampled_with_errors(explain: Explain) -> None:
    random, rows = np.random.default_rng(0), 40
    labels = np.arange(rows) % 2
    table: dict[str, list[Any]] = {f"n{i}": random.normal(labels * (i < 2), 1.0).tolist() for i in range(12)}
    table["label"] = [("no", "yes")[label] for label in labels]
    table["n3"][0] = None
    streams = {name: [name] for name in table if name != "label"}
    model = tiny.train(table, "label", stream=streams, fusion="sum", settings={"width": 8})
    found = explain(model, table, rows=[1, 2])
    for row in found.rows:
        assert sum(row.streams.values()) == pytest.approx(row.value - row.prior, abs=1e-6)
        assert max(row.standard_errors.values()) > 0
        assert row.interactions == {}
    assert found.rows[0].absent == ["n3"]
    assert found.rows[0].streams["n3"] == 0
    assert any("sampled permutations" in notice for notice in found.notices)
