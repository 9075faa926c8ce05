"""Comparisons on the same rows, and intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from polymodal import metrics
from polymodal.metrics.bootstrap import resample
from polymodal.metrics.classification import class_scores
from polymodal.metrics.paired import compare_predictions, compare_roc_auc, compare_rows_right, compare_samples
from polymodal.metrics.ranking_curves import curve_points
from polymodal.metrics.shares import open_ended, wilson_interval


@pytest.mark.parametrize(("hits", "total"), [(0, 12), (12, 12), (7, 12), (1, 1), (431, 502)])
def test_wilson_intervals_are_those_of_scipy_and_have_a_width(hits: int, total: int) -> None:
    expected = binomtest(hits, total).proportion_ci(method="wilson")
    low, high = wilson_interval(hits, total)
    assert [low, high] == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert low < high


def test_intervals_do_not_collapse_where_all_is_right() -> None:
    truth = np.array([0, 1, 2] * 5)
    prediction = np.eye(3)[truth] * 0.8 + 0.1 * (1 - np.eye(3)[truth])
    found = metrics.intervals("category", truth, prediction, ["a", "b", "c"])
    assert found["accuracy"] == pytest.approx(wilson_interval(15, 15))
    for name in ("balanced_accuracy", "macro_f1", "f1", "recall", "roc_auc"):
        assert found[name] == pytest.approx([0.025 ** (1 / 5), 1.0])
    assert open_ended([0.0, 0.0], 5) == pytest.approx([0.0, 1 - 0.025**0.2])
    assert open_ended([0.3, 0.9], 5) == [0.3, 0.9]


def test_one_row_of_sixty_is_no_difference() -> None:
    first = np.arange(60) < 50
    found = compare_rows_right(first, np.arange(60) < 49)
    assert (found.wins, found.losses) == (1, 0)
    assert found.p_value > 0.3
    assert found.interval[0] < 0 < found.interval[1]
    equal = compare_rows_right(first, first)
    assert equal.p_value == 1.0
    assert equal.interval[0] < 0 < equal.interval[1]


def test_mcnemar_counts_the_rows_that_differ() -> None:
    found = compare_rows_right(np.array([True] * 9 + [False] * 11), np.array([False] * 8 + [True] * 2 + [False] * 10))
    assert (found.wins, found.losses, found.lead) == (8, 1, pytest.approx(7 / 20))
    exact = binomtest(1, 9).pvalue
    point = 9 / 2**9
    assert found.p_value == pytest.approx(exact - point)


def test_delong_agrees_with_a_bootstrap_of_the_rows() -> None:
    random = np.random.default_rng(0)
    truth = random.random(400) < 0.3
    first, second = (truth + random.normal(0, noise, 400) for noise in (0.7, 1.1))
    found = compare_roc_auc(truth, first, second)
    assert found is not None
    assert found.lead == pytest.approx(roc_auc_score(truth, first) - roc_auc_score(truth, second))
    drawn = [random.integers(400, size=400) for _ in range(400)]
    leads = [roc_auc_score(truth[d], first[d]) - roc_auc_score(truth[d], second[d]) for d in drawn]
    assert found.interval == pytest.approx(np.percentile(leads, [2.5, 97.5]), abs=0.015)
    assert compare_roc_auc(truth, truth * 1.0, truth * 1.0) is None


def test_resamples_of_the_same_rows_are_paired() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=80)
    near, far = truth + random.normal(0, 0.5, 80), truth + 3
    scores = [metrics.score("number", truth, prediction)["rmse"] for prediction in (near, far)]
    samples = [resample("number", truth, prediction, seed=3)["rmse"] for prediction in (near, far)]
    found = compare_samples(scores[1] - scores[0], samples[0], samples[1], higher_is_better=False)
    assert found is not None
    assert found.interval[0] < found.lead < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.4  # far's error is the same in every row: only near's varies
    assert found.p_value < 0.01
    assert compare_predictions("number", "rmse", truth, (near, far)) is None


def test_scores_of_classes_are_those_of_the_rows() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2])
    prediction = np.eye(3)[[0, 0, 1, 1, 1, 1]]
    found = class_scores(truth, prediction, ["a", "b", "c"])
    assert [entry["support"] for entry in found] == [3, 2, 1]
    assert [entry["recall"] for entry in found] == pytest.approx([2 / 3, 1, 0])
    assert [entry["precision"] for entry in found] == pytest.approx([1, 0.5, 0])
    assert found[0]["f1"] == pytest.approx(0.8)
    assert found[1]["intervals"]["precision"] == pytest.approx(wilson_interval(2, 4))
    assert "precision" not in found[2]["intervals"]


def test_curves_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(2)
    truth, scores = random.random(50) < 0.4, random.random(50).round(1)
    points = curve_points(truth, scores)
    x, y, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert np.array(points.roc(99))[:, :2] == pytest.approx(np.stack([x, y], axis=1))
    assert points.roc_area() == pytest.approx(roc_auc_score(truth, scores))
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    ours = np.array(points.precision_recall(99))[::-1]
    assert ours == pytest.approx(np.stack([recall[:-1], precision[:-1], thresholds], axis=1))
    assert len(points.roc(4)) == 5
