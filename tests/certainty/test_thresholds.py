"""Thresholds that keep a promise on new rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polymodal.certainty.nonconformity import class_scores, label_scores, number_scores
from polymodal.certainty.thresholds import risk_threshold, rows_needed


def test_the_threshold_is_an_order_statistic() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert risk_threshold(scores, 99, 0.9) == 90.0
    assert risk_threshold(scores, 99, 0.95) == 95.0
    assert risk_threshold([3.0, 1.0, 2.0], 3, 0.5) == 2.0


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_few_rows_exclude_nothing(coverage: float, needed: int) -> None:
    assert rows_needed(coverage) == needed
    assert risk_threshold(np.ones(needed), needed, coverage) == 1.0
    assert risk_threshold(np.ones(needed - 1), needed - 1, coverage) == math.inf


def test_a_promise_that_is_kept_by_nothing_needs_no_threshold() -> None:
    assert risk_threshold([0.3], 10, 0.5, [1.0]) == 0.0


def test_labels_of_a_row_share_its_loss() -> None:
    scores, weights = [0.1, 0.2, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5]
    assert risk_threshold(scores, 9, 0.8, weights) == 0.2  # (9 + 1) * 0.2 - 1 = 1 row may be lost: two halves
    assert risk_threshold(scores, 9, 0.85, weights) == 0.8


def test_promises_are_kept_on_new_rows() -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(300):
        probabilities = random.dirichlet(np.full(8, 0.4), 240)
        truth = np.array([random.choice(8, p=row) for row in probabilities])
        scores = class_scores(probabilities)
        threshold = risk_threshold(scores[np.arange(120), truth[:120]], 120, 0.9)
        held.append((scores[np.arange(120, 240), truth[120:]] <= threshold).mean())
    assert 0.9 - 0.01 < np.mean(held) < 0.92


def test_the_share_of_lost_labels_is_kept_on_new_rows() -> None:
    random, lost = np.random.default_rng(0), []
    for _ in range(200):
        probabilities = random.uniform(0, 1, (300, 5)) ** 2
        is_true = random.random((300, 5)) < probabilities
        scores, shares = label_scores(probabilities), 1 / np.maximum(is_true.sum(axis=1), 1)
        weights = np.broadcast_to(shares[:, None], is_true.shape)
        first = is_true[:150]
        threshold = risk_threshold(scores[:150][first], 150, 0.9, weights[:150][first])
        lost.append((weights[150:] * (is_true[150:] & (scores[150:] > threshold))).sum(axis=1).mean())
    assert 0.085 < np.mean(lost) < 0.101


def test_it_agrees_with_crepes() -> None:
    crepes = pytest.importorskip("crepes", reason="crepes is not installed")
    random = np.random.default_rng(1)
    truth, prediction, difficulty = random.normal(size=150), random.normal(size=150), random.uniform(0.5, 2, 150)
    regressor = crepes.ConformalRegressor()
    regressor.fit(residuals=truth - prediction, sigmas=difficulty)
    expected = regressor.predict_int(prediction, sigmas=difficulty, confidence=0.9)
    width = difficulty * risk_threshold(number_scores(truth, prediction, difficulty), 150, 0.9)
    np.testing.assert_allclose(np.stack([prediction - width, prediction + width], axis=1), expected)


def test_the_predicted_label_is_in_every_set() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(6), 200)
    assert (class_scores(probabilities).argmin(axis=1) == probabilities.argmax(axis=1)).all()
    weights = [6.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    chosen = (probabilities * weights).argmax(axis=1)
    scores = class_scores(probabilities, weights)
    assert (scores[np.arange(200), chosen] == 0).all()


def test_sets_have_no_long_tail() -> None:
    scores = class_scores(np.full((1, 100), 0.01))[0]
    np.testing.assert_allclose(np.sort(scores)[:5], np.arange(5) * 0.01)
    assert scores.max() == pytest.approx(0.99 + 0.95)
