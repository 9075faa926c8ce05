"""Prediction sets, intervals and abstention of a trained model, in Python, on the command line and in the report."""

from __future__ import annotations

import csv
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
from polymodal.errors import ConfigError, PolymodalWarning, SchemaError


def many_rows(rows: int = 240, seed: int = 0) -> dict[str, list[Any]]:
    """Return a table of two streams with a noisy class, a number and a group."""
    random = np.random.default_rng(seed)
    table = tiny.numbers_table(rows, seed)
    words = [tiny.WORDS[tiny.KINDS.index(kind)] for kind in table["kind"]]
    table["note"] = [f"it {word} on day {random.integers(99)} of week {random.integers(50)}" for word in words]
    table["kind"] = [tiny.KINDS[0] if random.random() < 0.15 else kind for kind in table["kind"]]
    table["weight"] = [float(3 * size + random.normal(0, 1)) for size in table["size"]]
    table["region"] = [("north", "south")[row % 2] for row in range(rows)]
    return table


SETTINGS: dict[str, Any] = {"baselines": True, "train.epochs": 3, "coverage_by": "region"}


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    folder = tmp_path_factory.mktemp("sure")
    with tiny.decode_cache(folder):
        return tiny.train(
            many_rows(), ("kind", "weight"), drop=("region",), settings=SETTINGS, output=folder / "run",
            validation_share=0.3, test_share=0.3,
        )  # fmt: skip


@pytest.fixture(scope="module")
def new_rows() -> dict[str, list[Any]]:
    return many_rows(120, seed=1)


def test_sets_and_intervals_hold_the_truth_about_as_often_as_promised(
    sure: polymodal.Model, new_rows: dict[str, list[Any]]
) -> None:
    found = sure.predict_sets(new_rows, 0.8)
    in_set = np.mean([truth in labels for truth, labels in zip(new_rows["kind"], found["kind"], strict=True)])
    inside = np.mean(
        [low <= truth <= high for truth, (low, high) in zip(new_rows["weight"], found["weight"], strict=True)]
    )
    assert in_set > 0.7
    assert 0.65 < inside < 0.93


def test_a_higher_promise_gives_larger_sets_that_hold_the_label(
    sure: polymodal.Model, new_rows: dict[str, list[Any]]
) -> None:
    low, high = (sure.predictions(new_rows, coverage=share) for share in (0.6, 0.95))
    for small, large, label in zip(low.sets["kind"], high.sets["kind"], low.labels["kind"], strict=True):
        assert small[0] == label
        assert set(small) <= set(large)
    widths = [np.diff(found.intervals["weight"], axis=1) for found in (low, high)]
    assert (widths[0] < widths[1]).all()


def test_a_part_of_a_table_has_the_same_sets(sure: polymodal.Model, new_rows: dict[str, list[Any]]) -> None:
    whole = sure.predictions(new_rows, coverage=0.9, abstain=0.7)
    parts = list(sure.predict_batches(new_rows, rows=50, coverage=0.9, abstain=0.7))
    assert [labels for part in parts for labels in part.sets["kind"]] == whole.sets["kind"]
    assert [label for part in parts for label in part.labels["kind"]] == whole.labels["kind"]
    np.testing.assert_array_equal(
        np.concatenate([part.intervals["weight"] for part in parts]), whole.intervals["weight"]
    )


def test_unsure_rows_have_no_answer_but_keep_their_probability(
    sure: polymodal.Model, new_rows: dict[str, list[Any]]
) -> None:
    with pytest.warns(PolymodalWarning, match="'weight' cannot have answers to leave out"):
        columns = sure.predictions(new_rows, abstain=0.8).to_columns()
    abstained = np.array(columns["kind_abstained"])
    assert [label is None for label in columns["kind"]] == abstained.tolist()
    assert min(np.array(columns["kind_probability"])[~abstained], default=1.0) >= max(
        np.array(columns["kind_probability"])[abstained], default=0.0
    )
    assert "kind_abstained" not in sure.predictions(new_rows).to_columns()


def test_what_few_validation_rows_cannot_promise_is_told(sure: polymodal.Model, new_rows: dict[str, list[Any]]) -> None:
    with pytest.warns(PolymodalWarning, match="needs 999 validation rows with the same absent streams"):
        found = sure.predictions(new_rows, coverage=0.999)
    assert np.isinf(found.intervals["weight"]).all()
    assert all(len(labels) == 2 for labels in found.sets["kind"])
    assert found.to_columns()["weight_low"] == [None] * 120


def test_an_accuracy_that_is_not_sure_is_told(sure: polymodal.Model, new_rows: dict[str, list[Any]]) -> None:
    with pytest.warns(PolymodalWarning, match="no confidence makes an accuracy of 0.999 sure"):
        assert sure.predictions(new_rows, abstain=0.999).labels["kind"] == [None] * 120


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, 2.0, float("nan")])
@pytest.mark.parametrize("name", ["coverage", "abstain"])
def test_shares_are_between_zero_and_one(sure: polymodal.Model, name: str, share: float) -> None:
    with pytest.raises(ConfigError, match=f"The '{name}' parameter of predictions must be above 0 and below 1"):
        sure.predictions(many_rows(4), **{name: share})


def test_rows_with_nothing_present_have_the_set_of_the_prior(sure: polymodal.Model) -> None:
    nothing = {"size": [None], "age": [None], "colour": [None], "note": [None], "region": ["north"]}
    found = sure.predictions(nothing, coverage=0.9)
    assert set(found.sets["kind"][0]) == set(tiny.KINDS[:2])
    full = sure.predictions(many_rows(40), coverage=0.9).intervals["weight"]
    assert np.diff(found.intervals["weight"])[0, 0] > np.diff(full, axis=1).mean()


def test_a_table_without_the_column_of_the_promise_is_told(
    sure: polymodal.Model, new_rows: dict[str, list[Any]]
) -> None:
    without = {name: cells for name, cells in new_rows.items() if name != "region"}
    with pytest.warns(PolymodalWarning, match="no column 'region', by which coverage was asked for"):
        assert len(sure.predictions(without, coverage=0.9).sets["kind"]) == 120


def test_a_column_of_the_promise_that_is_not_there_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"no column 'regoin' \(from coverage_by\)"):
        tiny.train(many_rows(60), settings={"coverage_by": "regoin"})


def test_a_loaded_model_promises_the_same(
    sure: polymodal.Model, new_rows: dict[str, list[Any]], tmp_path: Path
) -> None:
    sure.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert loaded.trained.calibrations == sure.trained.calibrations
    assert loaded.predict_sets(new_rows, 0.9) == sure.predict_sets(new_rows, 0.9)


def test_a_model_of_an_earlier_version_says_that_it_cannot(sure: polymodal.Model, tmp_path: Path) -> None:
    sure.save(tmp_path / "model")
    plain = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    del plain["conformal"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(plain), encoding="utf-8")
    (tmp_path / "model" / "manifest.json").unlink()
    loaded = polymodal.load(tmp_path / "model")
    assert len(loaded.predict(many_rows(4))["kind"]) == 4
    with pytest.raises(ConfigError, match="has no calibration rows: it was saved by an earlier version"):
        loaded.predict_sets(many_rows(4), 0.9)
    assert "no calibration rows" in loaded.evaluate(many_rows(40))["certainty"]["kind"]["notice"]


def test_a_structured_target_has_no_sets(tmp_path: Path) -> None:
    table = tiny.write_structured_table(tmp_path, "vector")
    model = tiny.train(tiny.only(table, "size", "colour", "answer"), "answer", modality={"answer": "vector"})
    with pytest.raises(ConfigError, match=r"one number in each row to have a prediction set .* 'answer' \(vector\)"):
        model.predict_sets(table, 0.9)
    assert "have no sets or intervals" in model.report_data["evaluation"]["certainty"]["answer"]["notice"]


def test_several_labels_a_row_lose_a_share_of_them(model: polymodal.Model, table: Table) -> None:
    found = model.predict_sets(table, 0.5)
    assert len(found["tags"]) == table.num_rows
    assert {label for labels in found["tags"] for label in labels} <= set(model.classes["tags"] or [])
    section = model.report_data["evaluation"]["certainty"]["tags"]
    assert [entry["promised"] for entry in section["promises"]] == [0.8, 0.9, 0.95]
    assert "classes" not in section


def test_an_evaluation_measures_every_promise(sure: polymodal.Model, new_rows: dict[str, list[Any]]) -> None:
    found = sure.evaluate(new_rows)["certainty"]
    assert {entry["verdict"] for entry in found["kind"]["promises"]} <= {"kept", "more"}
    for name in ("kind", "weight"):
        assert set(found[name]["streams"]) == {"note", "tabular"}
        assert {entry["label"] for entry in found[name]["strata"]} == {"north", "south"}
        for entry in found[name]["streams"].values():
            assert entry["interval"][0] <= entry["measured"] <= entry["interval"][1]
    assert 0 <= found["kind"]["streams"]["note"]["confidence_rises"]["share"] <= 1
    assert {"ece", "log_loss", "network_rises"} <= found["kind"]["streams"]["note"].keys()
    assert [entry["wanted"] for entry in found["kind"]["abstain"]["accuracies"]] == [0.8, 0.9, 0.95, 0.99]
    assert 0 <= found["kind"]["abstain"]["aurc"] <= 0.5
    assert "curve" not in found["kind"]["abstain"]


def test_the_report_has_the_section(sure: polymodal.Model) -> None:
    assert sure.folder is not None
    page = (sure.folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2>How sure") == 2
    for text in ("Promised and kept", "Without a stream", "By region", "Leaving unsure rows unanswered"):
        assert text in page


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_command_line_writes_sets_intervals_and_gaps(sure: polymodal.Model, tmp_path: Path) -> None:
    table = Table(many_rows(30, seed=2), folder=tmp_path, name="new")
    data, run_folder = tiny.write_csv(table, tmp_path / "new.csv"), str(sure.folder)
    output = str(tmp_path / "out.csv")
    result = run("predict", run_folder, str(data), "--coverage", "0.9", "--abstain", "0.7", "-o", output, "-q")
    assert result.exit_code == 0, result.output
    with open(output, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {"kind_set", "kind_abstained", "weight_low", "weight_high"} <= rows[0].keys()
    assert all(float(row["weight_low"]) < float(row["weight"]) < float(row["weight_high"]) for row in rows)
    assert all((row["kind"] == "") == (row["kind_abstained"] == "True") for row in rows)
    lines = run("predict", run_folder, str(data), "--coverage", "0.9", "--json", "-q").stdout.splitlines()
    assert isinstance(json.loads(lines[0])["kind_set"], list)


def test_the_command_line_prints_how_sure(sure: polymodal.Model, tmp_path: Path) -> None:
    data = tiny.write_csv(Table(many_rows(60, seed=3), folder=tmp_path, name="new"), tmp_path / "new.csv")
    result = run("evaluate", str(sure.folder), str(data), "-q")
    assert result.exit_code == 0, result.output
    for text in ("How sure of kind: promised and kept", "without a stream", "unsure rows unanswered"):
        assert text in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_a_wrong_share_on_the_command_line_is_one_sentence(sure: polymodal.Model, tmp_path: Path) -> None:
    data = tiny.write_csv(Table(many_rows(5), folder=tmp_path, name="new"), tmp_path / "new.csv")
    result = run("predict", str(sure.folder), str(data), "--coverage", "90", "-q")
    assert result.exit_code == 2
    assert "must be above 0 and below 1, such as 0.9. Got 90.0 instead." in " ".join(result.output.split())
