"""A bundle answers all that a run answers, and as it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from shipped import Shipped

CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module")
def exported(shipped: Shipped) -> polymodal.Model:
    return polymodal.load(shipped.bundle)


def _tables(shipped: Shipped) -> list[Table]:
    rows = shipped.table
    absent = [
        tiny.with_cells(rows, **dict.fromkeys(names, [None] * rows.num_rows))
        for names in (["note"], ["size", "colour", "day"])
    ]
    return [rows, *absent]


def test_answers_probabilities_and_weights_are_those_of_the_run(shipped: Shipped, exported: polymodal.Model) -> None:
    for rows in _tables(shipped):
        first, second = (each.predictions(rows, weights=True) for each in (shipped.model, exported))
        assert first.labels["kind"] == second.labels["kind"]
        for name in ("kind", "weight"):
            np.testing.assert_allclose(second.values[name], first.values[name], rtol=1e-4, atol=1e-4)
        assert first.weights.keys() == second.weights.keys() != set()
        for stream, weights in first.weights.items():
            np.testing.assert_allclose(second.weights[stream], weights, **CLOSE)


def test_new_rows_are_as_unusual_as_to_the_run(shipped: Shipped, exported: polymodal.Model, tmp_path: Path) -> None:
    new = tiny.write_table(tmp_path, rows=60, seed=5)
    first, second = (each.predictions(new, unusual=True).unusual for each in (shipped.model, exported))
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_and_intervals_are_those_of_the_run(shipped: Shipped, exported: polymodal.Model, coverage: float) -> None:
    for rows in _tables(shipped):
        first, second = (each.predictions(rows, coverage=coverage) for each in (shipped.model, exported))
        assert first.sets == second.sets
        assert "kind" in first.sets
        np.testing.assert_allclose(second.intervals["weight"], first.intervals["weight"], rtol=1e-4, atol=1e-3)


def test_unsure_rows_are_the_same(shipped: Shipped, exported: polymodal.Model) -> None:
    first, second = (each.predictions(shipped.table, abstain=0.6).labels["kind"] for each in (shipped.model, exported))
    assert first == second


def test_embeddings_and_the_rows_found_by_them_are_those_of_the_run(
    shipped: Shipped, exported: polymodal.Model
) -> None:
    first, second = (each.embed(shipped.table) for each in (shipped.model, exported))
    np.testing.assert_allclose(second.rows, first.rows, **CLOSE)
    note = next(cell for cell in shipped.table.columns["note"] if cell)
    hits = []
    for each in (shipped.model, exported):
        index, _ = each.index(shipped.table)
        hits.append([hit.row for hit in each.search(index, {"note": note}, top=3)])
    assert hits[0] == hits[1]


def test_batches_join_to_the_same_predictions(shipped: Shipped, exported: polymodal.Model) -> None:
    batches = list(exported.predict_batches(shipped.table, rows=7))
    joined = np.concatenate([batch.values["kind"] for batch in batches])
    np.testing.assert_allclose(joined, exported.predictions(shipped.table).values["kind"], **CLOSE)


def test_scores_are_those_of_the_run(shipped: Shipped, exported: polymodal.Model) -> None:
    first, second = (each.evaluate(shipped.table)["targets"]["kind"] for each in (shipped.model, exported))
    assert first.keys() == second.keys()
    for name in first:
        assert second[name] == pytest.approx(first[name], abs=1e-3)


def test_an_explanation_is_that_of_the_run(shipped: Shipped, exported: polymodal.Model) -> None:
    first, second = (each.explain(shipped.table, rows=[1, 2], passes=0).to_json() for each in (shipped.model, exported))
    for mine, theirs in zip(first["rows"], second["rows"], strict=True):
        assert mine["row"] == theirs["row"]
    assert first.keys() == second.keys()
