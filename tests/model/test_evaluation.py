"""Judging: the final decision beside fusion, streams, baselines and gaps, on the rows whose truth is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import SchemaError

SHARES = [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.fixture(scope="module")
def found(model: polymodal.Model, table: Table) -> dict[str, Any]:
    return model.evaluate(table)


def test_scores_are_those_of_the_predictions(model: polymodal.Model, table: Table, found: dict[str, Any]) -> None:
    said = model.predict(table)
    right = np.mean([a == b for a, b in zip(said["kind"], table.columns["kind"], strict=True)])
    error = np.array(said["weight"]) - np.array(table.columns["weight"], dtype=float)
    exact = np.mean([set(a) == set(b.split("|")) for a, b in zip(said["tags"], table.columns["tags"], strict=True)])
    assert found["targets"]["kind"]["accuracy"] == pytest.approx(right)
    assert found["targets"]["weight"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found["targets"]["weight"]["mae"] == pytest.approx(np.abs(error).mean())
    assert found["targets"]["tags"]["accuracy"] == pytest.approx(exact)


def test_the_summary_is_plain_json_with_every_part(found: dict[str, Any], table: Table) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {"rows", "targets", "streams", "baselines", "missing", "broken_cells", "seconds", "intervals"} <= set(found)
    assert found["rows"] == {"test": table.num_rows}
    for name in tiny.TARGETS:
        assert set(found["streams"][name]) == set(tiny.STREAMS)
        assert set(found["missing"][name]) == set(tiny.STREAMS)
        assert "prior" in found["baselines"][name]
        assert len(found["baselines"][name]) >= 3


def test_intervals_hold_their_scores(found: dict[str, Any]) -> None:
    for name, intervals in found["intervals"].items():
        assert intervals
        for metric, (low, high) in intervals.items():
            assert low <= found["targets"][name][metric] <= high


def test_the_prior_is_judged_as_a_baseline(found: dict[str, Any], table: Table) -> None:
    kinds, weights = table.columns["kind"], np.array(table.columns["weight"], dtype=float)
    assert found["baselines"]["kind"]["prior"]["accuracy"] <= max(map(kinds.count, tiny.KINDS)) / len(kinds)
    assert found["baselines"]["weight"]["prior"]["rmse"] == pytest.approx(weights.std(), rel=0.1)


def test_a_missing_stream_is_judged_as_if_its_cells_were_gone(
    model: polymodal.Model, table: Table, found: dict[str, Any]
) -> None:
    without = model.evaluate(tiny.with_cells(table, sound=[None] * table.num_rows))
    for name in tiny.TARGETS:
        for metric, value in found["missing"][name]["sound"].items():
            assert without["targets"][name][metric] == pytest.approx(value, abs=1e-4)


def test_a_stream_says_the_prior_where_it_is_absent(model: polymodal.Model, table: Table) -> None:
    found = model.evaluate(tiny.with_cells(table, sound=[None] * table.num_rows))
    for name in tiny.TARGETS:
        assert found["streams"][name]["sound"] == found["baselines"][name]["prior"]


def test_everything_absent_scores_as_the_prior(model: polymodal.Model, table: Table) -> None:
    found = model.evaluate(tiny.all_absent(table))
    for name in tiny.TARGETS:
        assert found["targets"][name] == found["baselines"][name]["prior"]


@pytest.mark.exhaustive
def test_curves_go_from_whole_to_missing(model: polymodal.Model, table: Table, found: dict[str, Any]) -> None:
    evaluation = model.evaluation_report(table)["evaluation"]
    for name, metric in (("kind", "accuracy"), ("weight", "rmse")):
        for stream, points in evaluation["curves"][name].items():
            assert [share for share, _ in points] == SHARES
            assert points[0][1] == pytest.approx(found["targets"][name][metric])
            assert points[-1][1] == pytest.approx(found["missing"][name][stream][metric])


def test_pictures_of_the_report_count_every_row(model: polymodal.Model, table: Table) -> None:
    evaluation = model.evaluation_report(table)["evaluation"]
    assert np.sum(evaluation["confusion"]["kind"]["counts"]) == table.num_rows
    assert evaluation["confusion"]["kind"]["labels"] == list(tiny.KINDS)
    assert [entry["label"] for entry in evaluation["per_label"]["tags"]] == ["feathered", "furry", "loud", "tame"]
    assert len(evaluation["residuals"]["weight"]["truth"]) == table.num_rows
    assert 0 <= evaluation["calibration"]["kind"]["ece_after"] <= 1


def test_the_final_answer_is_compared_with_every_member_on_the_same_rows(model: polymodal.Model, table: Table) -> None:
    evaluation = model.evaluation_report(table)["evaluation"]
    for name, metric, sign in (("kind", "accuracy", 1), ("weight", "rmse", -1)):
        found = evaluation["comparisons"][name]
        assert {"fusion", "baseline:prior", *(f"stream:{stream}" for stream in tiny.STREAMS)} <= set(found)
        prior = evaluation["baselines"][name]["prior"][metric]
        assert found["baseline:prior"]["lead"] == pytest.approx(sign * (evaluation["targets"][name][metric] - prior))
        for lead in found.values():
            assert lead["interval"][0] <= lead["lead"] <= lead["interval"][1]
            assert 0 <= lead["p_value"] <= 1
    assert evaluation["num_known"]["kind"] == table.num_rows


@pytest.mark.exhaustive
def test_residuals_are_compared_with_the_number_columns(model: polymodal.Model, table: Table) -> None:
    found = model.evaluation_report(table)["evaluation"]["residuals_by"]["weight"]
    assert set(found) == {"size"}
    assert found["size"]["rows"] == sum(cell is not None for cell in table.columns["size"])
    assert -1 <= found["size"]["rank_correlation"] <= 1
    value, _, row = found["size"]["points"][0]
    assert float(table.columns["size"][row - 1]) == pytest.approx(value)


def test_curves_are_those_of_the_hardest_classes(model: polymodal.Model, table: Table) -> None:
    evaluation = model.evaluation_report(table)["evaluation"]
    for entry in evaluation["ranking"]["kind"]:
        assert entry["label"] in tiny.KINDS
        assert entry["roc"][0][:2] == [0, 0]
        assert entry["roc"][-1][:2] == [1, 1]
    assert [entry["label"] for entry in evaluation["per_label"]["kind"]] == list(tiny.KINDS)


def test_the_decision_says_what_it_leans_on(found: dict[str, Any]) -> None:
    for name in tiny.TARGETS:
        decision = found["decision"][name]
        assert sum(decision["weights"].values()) == pytest.approx(1)
        assert decision["note"].startswith("The decision ")
        members = {"fusion", *(f"stream:{stream}" for stream in tiny.STREAMS)}
        assert all(member in members or member.startswith("baseline:") for member in decision["weights"])


def test_rows_without_or_with_unknown_truth_are_set_aside_and_counted(model: polymodal.Model, table: Table) -> None:
    only_kind = Table({name: table.columns[name] for name in (*tiny.FEATURES, "kind")}, table.folder, "some")
    kinds = list(table.columns["kind"])
    kinds[0], kinds[1] = None, "yak"
    found = model.evaluate(tiny.with_cells(only_kind, kind=kinds))
    kept = model.evaluate(only_kind.take(np.arange(2, table.num_rows)))
    assert found["rows"] == {"test": table.num_rows - 2}
    assert found["set_aside"] == 2
    assert found["targets"]["kind"] == pytest.approx(kept["targets"]["kind"])


def test_a_table_with_one_of_the_targets_is_judged_by_it(model: polymodal.Model, table: Table) -> None:
    some = Table({name: table.columns[name] for name in (*tiny.FEATURES, "weight")}, table.folder, "some")
    found = model.evaluate(some)
    assert found["targets"]["weight"]["r2"] > 0
    assert not found["targets"]["kind"]


def test_truth_with_one_class_leaves_undefined_scores_out(model: polymodal.Model, table: Table) -> None:
    rows = np.array([row for row, kind in enumerate(table.columns["kind"]) if kind == "cat"])
    found = model.evaluate(table.take(rows))["targets"]["kind"]
    assert "accuracy" in found
    assert all(np.isfinite(value) for value in found.values())


def test_broken_cells_are_reported_with_their_table(model: polymodal.Model, table: Table) -> None:
    broken = model.evaluate(tiny.with_cell(table, "photo", 0, "photos/none.png"))["broken_cells"]
    assert [(cell["table"], cell["row"], cell["column"]) for cell in broken] == [("tiny", 1, "photo")]
    assert "none.png" in broken[0]["reason"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size": [1.0, 2.0]}, "table has no target column: expected 'kind', 'tags', 'weight', got size"),
        ({"size": [1.0], "kind": ["yak"]}, "no row has a target value known from training"),
        ({"size": [], "kind": []}, "no row|has no rows|is empty"),
    ],
)
def test_nothing_to_judge_by_is_one_sentence(model: polymodal.Model, columns: Any, message: str) -> None:
    with pytest.raises(polymodal.PolymodalError, match=message):
        model.evaluate(columns)


@pytest.mark.exhaustive
def test_evaluating_twice_gives_the_same(model: polymodal.Model, table: Table, found: dict[str, Any]) -> None:
    again = model.evaluate(table)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}


@pytest.mark.exhaustive
def test_the_run_judges_its_test_rows_as_evaluate_does(table: Table) -> None:
    train, test = table.take(np.arange(60)), table.take(np.arange(60, 80))
    first = tiny.train(train, test=Table(test.columns, test.folder, "test"))
    again = first.evaluate(test)
    assert first.summary()["rows"]["test"] == 20
    assert again["targets"] == first.summary()["targets"]


def test_without_test_rows_validation_is_judged() -> None:
    found = tiny.train(tiny.numbers_table(), test=False).summary()
    assert found["split"] == "validation"
    assert set(found["rows"]) == {"train", "validation"}


def test_one_stream_has_no_gaps_to_judge(table: Table) -> None:
    found = tiny.train(tiny.only(table, "size", "colour", "kind")).summary()
    assert set(found["streams"]["kind"]) == {"tabular"}
    assert found["missing"]["kind"] == {}
    assert "accuracy" in found["targets"]["kind"]


def test_unknown_columns_do_not_matter(model: polymodal.Model, table: Table, found: dict[str, Any]) -> None:
    again = model.evaluate(tiny.with_cells(table, mood=["good"] * table.num_rows))
    assert again["targets"] == found["targets"]
    with pytest.raises(SchemaError):
        model.evaluate({"mood": ["good"]})
