"""Every row of the table of metrics through the same checks, and a new row from prediction to report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_structured_targets import fit, known_cells, source_of

from polymodal.cli import result_tables
from polymodal.metrics import METRICS, Metric, intervals, measure_rows, metric_of, score, score_of
from polymodal.metrics.classification import WeightedClasses
from polymodal.report.page import write_report
from polymodal.report.wording import format_score, format_score_in_text, metric_title
from polymodal.targets import OBJECTIVES, TARGETS, EmbeddingTarget, SketchTarget, StructuredTarget

KINDS = [*TARGETS, *OBJECTIVES]
EVERY_METRIC = pytest.mark.parametrize("name", METRICS)
CLASSES = ["no", "maybe", "yes"]
TRUTH = np.array([0, 1, 2, 2, 1, 0])
PREDICTION = np.array([[8, 1, 1], [3, 6, 1], [1, 1, 8], [6, 2, 2], [1, 8, 1], [2, 7, 1]]) / 10


def target_of(kind: str) -> tuple[StructuredTarget, list[Any], list[Any]]:
    """Return a fitted structured target, references, and answers that are the same."""
    if kind == "embedding":
        vectors = [{"a": row, "b": row} for row in np.eye(6, dtype=np.float32)]
        return EmbeddingTarget(dim=6, columns={}), list(range(6)), vectors
    if kind == "sketch":
        rows = list(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
        return SketchTarget(stream="a", modality="image", mean=[0.0] * 4, scale=1.0, recovered=False), rows, rows
    target, cells = fit(kind), known_cells(kind)
    truth = target.references(cells, source_of(kind, cells))
    return target, truth, truth


def scores_of(kind: str) -> dict[str, float]:
    """Score an example of a kind of target."""
    if kind == "category":
        return score(kind, TRUTH, PREDICTION, CLASSES)
    if kind == "categories":
        return score(kind, np.eye(3)[TRUTH], PREDICTION, CLASSES)
    if kind == "number":
        return score(kind, TRUTH + 1.0, TRUTH + 1.5)
    target, truth, found = target_of(kind)
    return score_of(target.measure(truth, found), len(truth))


@EVERY_METRIC
def test_a_row_says_everything(name: str) -> None:
    metric = METRICS[name]
    assert metric.title
    assert metric.article in ("a", "an")
    assert metric.unit
    assert metric.kinds
    assert {*metric.functions, *metric.label_kinds} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_computes_exactly_its_metrics(kind: str) -> None:
    assert list(scores_of(kind)) == [name for name, metric in METRICS.items() if kind in metric.functions]


@pytest.mark.parametrize("kind", ["boxes", "embedding"])
def test_metrics_of_labels_and_of_directions_are_in_the_table(kind: str) -> None:
    target, truth, found = target_of(kind)
    sections = target.report_sections(truth, found)
    named = {name for entry in sections.get("per_label", []) for name in entry} - {"label", "support"}
    assert named == {name for name, metric in METRICS.items() if kind in metric.label_kinds}
    for scores in sections.get("pairs", {}).values():
        assert list(scores) == list(scores_of(kind))


def test_a_metric_that_is_not_in_the_table_is_refused() -> None:
    sentence = "'glory' has no row in METRICS"
    measured = {"glory": np.ones(1), "rmse": np.ones(1)}
    with pytest.raises(ValueError, match=sentence):
        score_of(lambda weights: measured, 3)
    for use in (
        metric_of,
        metric_title,
        lambda name: format_score(name, 0.5),
        lambda name: format_score_in_text(name, 0.5),
    ):
        with pytest.raises(ValueError, match=sentence):
            use("glory")
    with pytest.raises(ValueError, match="'statue'"):
        measure_rows("statue", None)  # type: ignore[arg-type]


def brier_score(counts: WeightedClasses) -> np.ndarray[Any, Any]:
    errors = ((counts.rows.probabilities - counts.rows.is_true) ** 2).sum(axis=1)
    return np.asarray(counts.weights @ errors / counts.totals)


@pytest.fixture
def _brier_first() -> Iterator[None]:
    """Put a new metric at the top of the table."""
    before = dict(METRICS)
    row = Metric(
        title="Brier score",
        article="a",
        unit="share",
        higher_is_better=False,
        zero_to_one=False,
        functions={"category": brier_score},
    )
    METRICS.clear()
    METRICS.update({"brier": row, **before})
    yield
    METRICS.clear()
    METRICS.update(before)


def record() -> dict[str, Any]:
    """Return the part of a run's record that the terminal and the report show of a target."""
    scores = score("category", TRUTH, PREDICTION, CLASSES)
    info = {"name": "answer", "kind": "category", "classes": CLASSES, "counts": [2, 2, 2], "imbalance": None,
            "primary_metric": "accuracy", "higher_is_better": True}  # fmt: skip
    evaluation = {
        "split": "test", "rows": 6, "targets": {"answer": scores},
        "intervals": {"answer": intervals("category", TRUTH, PREDICTION, CLASSES)},
        "baselines": {"answer": {"prior": scores}},
    }  # fmt: skip
    return {
        "version": "0.1.0", "created": "2026-11-21T01:44:00+00:00", "command": None, "title": "Answers", "seed": 0,
        "seconds": {"total": 1.0}, "tables": [], "columns": [], "streams": [], "parameters": 1, "history": [],
        "fusion": {"name": "concat", "parameters": 1}, "targets_info": [info], "best_epoch": None,
        "evaluation": evaluation, "broken_cells": [], "notices": [], "config": {},
    }  # fmt: skip


@pytest.mark.usefixtures("_brier_first")
def test_a_new_row_is_scored_and_shown_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = record()
    value = found["evaluation"]["targets"]["answer"]["brier"]
    low, high = found["evaluation"]["intervals"]["answer"]["brier"]
    assert value == pytest.approx(((PREDICTION - np.eye(3)[TRUTH]) ** 2).sum(axis=1).mean())
    assert low <= value <= high
    result_tables.print_results(found)
    shown = capsys.readouterr().out
    assert "lower is better: Brier score" in shown
    assert format_score("brier", value) in shown
    write_report(found, {}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<th scope="col" class="num">Brier score</th>' in page
    assert format_score("brier", value) in page
