"""The tests of two samples: false alarms within the level, effects on one scale."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from polymodal.drift.two_samples import compare_counts, compare_numbers, compare_shares, compare_vectors, holm

DRAWS, LEVEL = 120, 0.05
MOST = binom.ppf(0.999, DRAWS, LEVEL)


def labels(random: np.random.Generator, rows: int) -> Counter[str]:
    return Counter(map(str, random.zipf(1.6, rows).clip(max=10**6)))  # a long tail: new labels in every sample


def test_false_alarms_stay_within_the_level() -> None:
    alarms: Counter[str] = Counter()
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        alarms["numbers"] += compare_numbers(random.normal(size=150), random.normal(size=90)).p_value <= LEVEL
        alarms["rounded"] += compare_numbers(random.poisson(2, 150), random.poisson(2, 90)).p_value <= LEVEL
        alarms["labels"] += compare_counts(labels(random, 200), labels(random, 80)).p_value <= LEVEL
        shares = [(int(random.binomial(rows, 0.1)), rows) for rows in (150, 90)]
        alarms["shares"] += compare_shares(*shares).p_value <= LEVEL
    assert all(count <= MOST for count in alarms.values()), alarms


def test_a_classifier_raises_no_false_alarm_and_finds_a_shift() -> None:
    alarms = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        found = compare_vectors(random.normal(size=(60, 8)), random.normal(size=(60, 8)), seed)
        assert found is not None
        alarms += found.result.p_value <= LEVEL
    assert alarms <= binom.ppf(0.999, 40, LEVEL)
    random = np.random.default_rng(0)
    shifted = random.normal(size=(60, 8)) + np.eye(8)[3] * 3
    found = compare_vectors(random.normal(size=(60, 8)), shifted)
    assert found is not None
    assert found.auc > 0.9
    assert found.result.p_value < 1e-4
    assert 0.5 < found.result.effect <= 1
    assert compare_vectors(random.normal(size=(19, 8)), shifted) is None


def test_effects_are_differences_of_probabilities() -> None:
    assert compare_shares((0, 100), (30, 100)).effect == pytest.approx(0.3)
    assert compare_numbers(np.zeros(100), np.repeat([0.0, 1.0], [70, 30])).effect == pytest.approx(0.3)
    assert compare_counts({"a": 100}, {"a": 70, "b": 30}).effect == pytest.approx(0.3)
    for same in (
        compare_counts({"a": 5}, {"a": 9}),
        compare_numbers(np.ones(9), np.ones(5)),
        compare_shares((0, 5), (0, 9)),
    ):
        assert (same.effect, same.p_value) == (0.0, 1.0)


def test_single_cells_prove_nothing() -> None:
    assert compare_numbers(np.arange(100.0), np.array([50.0])).p_value > 0.5
    assert compare_counts({"a": 60, "b": 40}, {"c": 1}).p_value > 0.05
    assert compare_shares((10, 100), (1, 1)).p_value > 0.05


def test_holm_orders_and_limits() -> None:
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
