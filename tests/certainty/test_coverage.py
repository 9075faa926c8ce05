"""What is measured beside a promise, and when rows are left unanswered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polymodal.certainty.abstention import accuracy_threshold, risk_coverage
from polymodal.certainty.coverage import (
    Kept,
    by_class,
    confidence_rises,
    expected_range,
    kept_by_intervals,
    kept_by_sets,
    measure,
)
from polymodal.metrics.counts import least_share


@pytest.mark.parametrize(("held", "verdict"), [(90, "kept"), (60, "less"), (100, "more")])
def test_the_verdict_allows_for_chance(held: int, verdict: str) -> None:
    kept = Kept(np.repeat([1.0, 0.0], [held, 100 - held]), np.ones(100))
    found = measure(kept, 0.9, 1_000)
    assert found["verdict"] == verdict
    assert found["measured"] == held / 100
    assert found["interval"][0] <= held / 100 <= found["interval"][1]


def test_the_expected_range_counts_the_draw_of_calibration_rows() -> None:
    few, many, known = (expected_range(0.9, 500, rows) for rows in (30, 3_000, None))
    assert few[0] < many[0] <= known[0] < 0.9 < known[1] <= many[1] < few[1]
    assert expected_range(0.99, 500, 20) == [1.0, 1.0]


def test_infinite_widths_are_not_averaged() -> None:
    kept = kept_by_intervals(np.array([[-np.inf, np.inf], [0.0, 1.0]]), np.array([3.0, 2.0]))
    assert kept.held.tolist() == [1.0, 0.0]
    assert measure(kept, 0.9)["mean_size"] is None


def test_labels_are_held_in_part() -> None:
    included = np.array([[True, False, True], [False, False, False], [True, True, True]])
    kept = kept_by_sets("categories", included, np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]]))
    assert kept.held.tolist() == [0.5, 1.0, 1.0]
    assert measure(kept, 0.8)["verdict"] == "kept"


def test_classes_come_worst_first() -> None:
    entries = by_class(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 2, 2, 0]), ["a", "b", "c"])
    assert [(entry["label"], entry["measured"]) for entry in entries] == [("c", 0.5), ("a", 1.0)]


def test_rows_that_become_surer_are_counted() -> None:
    found = confidence_rises(np.array([0.9, 0.5, 0.6, 0.7]), np.array([0.8, 0.7, 0.6, 0.7]))
    assert found["share"] == 0.25
    assert found["mean_change"] == pytest.approx(0.025)


def test_an_accuracy_that_all_rows_reach_leaves_nothing_out() -> None:
    assert accuracy_threshold(np.linspace(0, 1, 200).tolist(), [True] * 200, 0.9) == 0.0


def test_unsure_rows_are_left_out_until_the_accuracy_is_sure() -> None:
    confidences = np.linspace(0, 1, 1_000)
    hits = confidences > 0.5
    threshold = accuracy_threshold(confidences.tolist(), hits.tolist(), 0.95)
    assert 0.4 < threshold <= 0.51


@pytest.mark.parametrize(("confidences", "hits"), [([], []), ([0.9], [True]), ([0.9] * 40, [False] * 40)])
def test_an_accuracy_that_is_not_sure_leaves_everything_out(confidences: list[float], hits: list[bool]) -> None:
    assert accuracy_threshold(confidences, hits, 0.9) == math.inf


def test_the_threshold_keeps_its_promise_in_nine_of_ten_draws() -> None:
    random, broken = np.random.default_rng(0), 0
    for _ in range(300):
        confidences = random.random(300)
        hits = random.random(300) < confidences
        threshold = accuracy_threshold(confidences.tolist(), hits.tolist(), 0.8)
        broken += math.isfinite(threshold) and (1 + min(threshold, 1)) / 2 < 0.8  # accuracy above a threshold t
    assert broken <= 30


def test_the_lower_bound_of_a_share() -> None:
    assert least_share(0, 10, 0.05) == 0.0
    assert least_share(20, 20, 0.05) == pytest.approx(0.05 ** (1 / 20))


def test_the_curve_is_the_error_of_the_surest_rows() -> None:
    points, area = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert points == [[0.25, 0.0], [0.5, 0.0], [0.75, pytest.approx(1 / 3)], [1.0, 0.5]]
    assert area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert risk_coverage(np.full(4, 0.5), np.array([1.0, 0.0, 0.0, 0.0]))[1] == pytest.approx(0.25)
