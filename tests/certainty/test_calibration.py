"""What is remembered of calibration rows, and which of them answer for a row."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from polymodal.certainty.calibration import Calibration, CalibrationGroup, class_group, label_group, number_group
from polymodal.certainty.difficulty import Difficulty
from polymodal.certainty.nonconformity import class_scores

NOTHING: frozenset[str] = frozenset()


def group(absent: str, scores: list[float], value: str | None = None) -> CalibrationGroup:
    return CalibrationGroup(absent=sorted(absent), value=value, num_rows=len(scores), scores=sorted(scores))


def calibration(*groups: CalibrationGroup) -> Calibration:
    return Calibration(kind="category", groups=list(groups))


def test_each_pattern_has_its_own_threshold() -> None:
    found = calibration(group("", [0.1] * 10), group("a", [0.7] * 10))
    assert found.set_threshold(NOTHING, 0.9) == 0.1
    assert found.set_threshold(frozenset("a"), 0.9) == 0.7


def test_a_pattern_without_rows_takes_the_strictest_of_those_around_it() -> None:
    found = calibration(group("", [0.1] * 10), group("a", [0.7] * 10), group("b", [0.4] * 10), group("abc", [0.9] * 10))
    assert found.set_threshold(frozenset("ab"), 0.9) == 0.7
    assert found.set_threshold(frozenset("bc"), 0.9) == 0.4
    assert found.set_threshold(frozenset("c"), 0.9) == 0.1


def test_patterns_with_more_absent_streams_answer_too_but_not_the_one_without_any() -> None:
    found = calibration(group("a", [0.2] * 10), group("abc", [0.7] * 10), group("abcd", [0.9] * 10))
    assert found.set_threshold(frozenset("ab"), 0.9) == 0.7
    assert found.set_threshold(NOTHING, 0.9) == 0.7


def test_a_value_of_the_asked_column_has_its_own_threshold_where_it_has_the_rows() -> None:
    found = calibration(group("", [0.1] * 20), group("", [0.6] * 10, "north"), group("", [0.9] * 3, "south"))
    assert found.set_threshold(NOTHING, 0.9, "north") == 0.6
    assert found.set_threshold(NOTHING, 0.9, "south") == 0.1
    assert found.set_threshold(NOTHING, 0.9, "west") == 0.1


def test_the_rows_that_answer_are_counted() -> None:
    found = calibration(group("", [0.1] * 20), group("", [0.6] * 7, "north"), group("a", [0.9] * 3), group("ab", [0.5]))
    sizes = [found.group_size(frozenset(absent), value) for absent, value in (("", None), ("", "north"), ("", "west"))]
    assert sizes == [20, 7, 20]
    assert [found.group_size(frozenset(absent)) for absent in ("a", "b")] == [3, 20]


def test_too_few_rows_everywhere_exclude_nothing() -> None:
    assert calibration(group("", [0.1] * 5)).set_threshold(NOTHING, 0.9) == math.inf


def test_a_pattern_that_makes_an_accuracy_not_sure_is_not_answered() -> None:
    def answered(absent: str, share_right: float) -> CalibrationGroup:
        hits = [row < 100 * share_right for row in range(100)]
        return dataclasses.replace(group(absent, [0.1] * 100), confidences=[0.5] * 100, hits=hits)

    found = calibration(answered("", 1.0), answered("a", 0.6), answered("b", 1.0), group("abc", [0.9]))
    assert found.answer_threshold(NOTHING, 0.9) == 0.0
    assert found.answer_threshold(frozenset("a"), 0.9) == math.inf
    assert found.answer_threshold(frozenset("ab"), 0.9) == math.inf
    assert found.answer_threshold(frozenset("bc"), 0.9) == 0.0
    assert found.answer_threshold(frozenset("abc"), 0.9) == math.inf


@pytest.mark.parametrize("kind", ["category", "categories", "number"])
def test_it_is_plain_json(kind: str) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 20)
    groups = {
        "category": class_group(NOTHING, probabilities, random.integers(0, 3, 20)),
        "categories": label_group(frozenset("a"), probabilities, random.integers(0, 2, (20, 3))),
        "number": number_group(NOTHING, random.normal(size=20), random.normal(size=20), np.ones(20)),
    }
    difficulty = Difficulty.fit(random.normal(size=50), random.uniform(size=50), random.normal(size=50))
    first = Calibration(kind=kind, groups=[groups[kind]], difficulty=difficulty if kind == "number" else None)
    assert Calibration.from_state(json.loads(json.dumps(first.state()))) == first


def test_hits_are_the_labels_that_were_predicted_and_right() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    found = class_group(NOTHING, probabilities, np.array([0, 0, 1]))
    assert found.hits == [True, False, False]
    assert found.confidences == [0.9, 0.6, 0.7]


def test_a_threshold_is_not_below_the_score_that_it_comes_from() -> None:
    prior = np.array([1 / 3, 1 / 7, 1 - 1 / 3 - 1 / 7])
    probabilities = np.tile(prior, (40, 1))
    found = class_group(NOTHING, probabilities, np.zeros(40, np.int64))
    assert class_scores(probabilities)[0, 0] <= calibration(found).set_threshold(NOTHING, 0.9)


def test_rows_without_a_label_count_and_lose_nothing() -> None:
    found = label_group(NOTHING, np.full((4, 2), 0.5), np.array([[0, 0], [0, 0], [1, 0], [1, 1]]))
    assert found.num_rows == 4
    assert sorted(found.weights) == [0.5, 0.5, 1.0]


def test_difficulty_follows_what_makes_residuals_large() -> None:
    random = np.random.default_rng(0)
    size, spread = random.uniform(1, 100, 2_000), random.uniform(0, 1, 2_000)
    fitted = Difficulty.fit(random.normal(size=2_000) * 0.1 * size, spread, size)
    assert fitted.of(np.zeros(1), np.array([100.0]))[0] > 5 * fitted.of(np.zeros(1), np.array([5.0]))[0]
    constant = Difficulty.fit(np.ones(5), np.arange(5.0), np.arange(5.0))
    np.testing.assert_allclose(constant.of(np.arange(3.0), np.arange(3.0)), 1.0)
    assert (Difficulty.fit(np.zeros(60), np.zeros(60), np.zeros(60)).of(np.zeros(2), np.zeros(2)) > 0).all()
