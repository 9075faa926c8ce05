"""Labels for balanced classes: what the options of training or the decision ask for, from training to prediction."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal import ConfigError, MultimodalClassifier
from polymodal.cli.main import app
from polymodal.config import build_config
from polymodal.data.tables.table import Table
from polymodal.model.label_decision import decision_notices, with_label_decision
from polymodal.targets import CategoryTarget, NumberTarget

ROWS, RARE = 200, 0.25
BALANCED_SAMPLING = {"train.sampling": "balanced", "train.epochs": 4}


@pytest.fixture(scope="module")
def overlapping() -> Table:
    """Return two numbers whose classes overlap, one of them rare."""
    random = np.random.default_rng(0)
    rare = np.arange(ROWS) < RARE * ROWS
    columns = {name: (rare + random.normal(0, 1, ROWS)).round(3).tolist() for name in ("size", "age")}
    return Table(columns | {"kind": ["owl" if is_rare else "cat" for is_rare in rare]}, name="overlapping")


@pytest.fixture(scope="module")
def most_probable(overlapping: Table) -> polymodal.Model:
    return tiny.train(overlapping, settings=BALANCED_SAMPLING | {"decision": "most_probable"})


@pytest.fixture(scope="module")
def balanced(overlapping: Table, tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    """Return a model of which balanced sampling alone asks for balanced classes."""
    return tiny.train(overlapping, settings=BALANCED_SAMPLING, output=tmp_path_factory.mktemp("runs") / "run")


def recall(labels: list[Any], table: Table) -> float:
    return float(
        np.mean([said == "owl" for said, truth in zip(labels, table.columns["kind"], strict=True) if truth == "owl"])
    )


def test_more_rare_rows_are_found_with_the_same_probabilities(
    most_probable: polymodal.Model, balanced: polymodal.Model, overlapping: Table
) -> None:
    before, after = (model.predictions(overlapping) for model in (most_probable, balanced))
    assert np.array_equal(before.values["kind"], after.values["kind"])
    assert recall(after.labels["kind"], overlapping) > recall(before.labels["kind"], overlapping) + 0.1
    prior = balanced.trained.targets["kind"].prior
    assert after.labels["kind"] == [("cat", "owl")[best] for best in (after.values["kind"] / prior).argmax(axis=1)]
    chosen = [
        row[("cat", "owl").index(label)] for row, label in zip(after.values["kind"], after.labels["kind"], strict=True)
    ]
    assert after.to_columns()["kind_probability"] == chosen
    assert min(chosen) < 0.5


def test_every_count_of_labels_follows_and_nothing_else_does(
    most_probable: polymodal.Model, balanced: polymodal.Model, overlapping: Table
) -> None:
    before, after = (model.evaluation_report(overlapping)["evaluation"] for model in (most_probable, balanced))
    scores = after["targets"]["kind"]
    for metric in ("log_loss", "roc_auc", "average_precision", "ece"):
        assert scores[metric] == before["targets"]["kind"][metric]
    assert after["calibration"] == before["calibration"]
    found = recall(balanced.predict(overlapping)["kind"], overlapping)
    of_label = {entry["label"]: entry for entry in after["per_label"]["kind"]}
    counts = np.array(after["confusion"]["kind"]["counts"])
    assert scores["recall"] == of_label["owl"]["recall"] == counts[1, 1] / counts[1].sum() == found
    low, high = after["intervals"]["kind"]["recall"]
    assert low < found < high
    target = balanced.trained.targets["kind"]
    assert after["thresholds"]["kind"]["in_use"] == round(float(target.prior[1]), 4)
    assert before["thresholds"]["kind"]["in_use"] == 0.5
    lead = after["comparisons"]["kind"]["baseline:prior"]["lead"]
    assert lead == pytest.approx(scores["accuracy"] - after["baselines"]["kind"]["prior"]["accuracy"])
    assert after["baselines"]["kind"]["prior"]["accuracy"] == 1 - RARE  # knows nothing, so it says the usual class


def test_the_run_and_evaluate_tell_of_it(
    most_probable: polymodal.Model, balanced: polymodal.Model, overlapping: Table
) -> None:
    sentence = (
        "Labels are chosen for balanced classes, as train.sampling=balanced asked: each class's probability is divided "
        "by its frequency; probabilities are not changed."
    )
    assert sentence in balanced.report_data["notices"]
    assert balanced.evaluate(overlapping)["notices"] == [sentence]
    assert any("decision=most_probable asked, in spite of" in notice for notice in most_probable.report_data["notices"])


def test_a_loaded_model_and_the_command_line_say_the_same(
    balanced: polymodal.Model, overlapping: Table, tmp_path: Path
) -> None:
    assert balanced.folder is not None
    said = balanced.predict(overlapping)["kind"]
    assert polymodal.load(balanced.folder).predict(overlapping)["kind"] == said
    table = tiny.write_csv(overlapping, tmp_path / "table.csv")
    result = CliRunner().invoke(app, ["predict", str(balanced.folder), str(table)])
    assert [row["kind"] for row in csv.DictReader(result.stdout.splitlines())] == said
    told = CliRunner().invoke(app, ["evaluate", str(balanced.folder), str(table)])
    assert "Note: Labels are chosen for balanced classes" in " ".join(told.output.split())


def test_the_estimator_follows(overlapping: Table) -> None:
    X = {name: overlapping.columns[name] for name in ("size", "age")}
    settings = tiny.QUICK | {"decision": "balanced"}
    estimator = MultimodalClassifier(preset="fast", settings=settings).fit(X, overlapping.columns["kind"])
    (target,) = estimator.model_.trained.targets.values()
    expected = (estimator.predict_proba(X) / target.prior).argmax(axis=1)
    assert np.array_equal(estimator.predict(X), estimator.classes_[expected])
    assert (expected != estimator.predict_proba(X).argmax(axis=1)).any()


def test_each_category_is_decided_by_what_balances_it() -> None:
    category, number = CategoryTarget.fit(["a"] * 3 + ["b"]), NumberTarget.fit([1, 2])
    targets = {"first": category, "second": category, "number": number}
    sampled = build_config({"train": {"sampling": "balanced"}})  # rows are sampled by the first category
    decided = with_label_decision(targets, sampled)
    assert decided["first"].label_weights == pytest.approx([2 / 3, 2])
    assert decided["first"].logit_offset == pytest.approx(np.log([0.75, 0.25]))
    assert decided["second"] == category
    (notice,) = decision_notices(decided, sampled)
    assert notice.startswith("Labels of 'first' are chosen for balanced classes")
    both = build_config({"train": {"sampling": "balanced", "loss": "logit_adjusted"}, "decision": "balanced"})
    decided = with_label_decision(targets, both)
    assert decided["first"].logit_offset == pytest.approx(2 * np.log([0.75, 0.25]))
    assert decided["second"].label_weights == decided["first"].label_weights
    assert len(decision_notices(decided, both)) == 2
    asked = build_config({"decision": "balanced"})
    decided = with_label_decision(targets, asked)
    assert decided["first"] == dataclasses.replace(category, label_weights=decided["first"].label_weights)
    assert decision_notices(targets, sampled) == []  # a model of an earlier version


def test_without_a_category_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'decision' .* must be auto, where no target is a category"):
        with_label_decision({"number": NumberTarget.fit([1, 2])}, build_config({"decision": "balanced"}))
