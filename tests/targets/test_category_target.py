"""One class a row: labels, balance, probabilities."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from polymodal.targets import CategoryTarget


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["b", "a", "b"], ["b", "a", "b"]),
        ([3, 10, 3], [3, 10, 3]),
        ([1.5, 0.5, 1.5], [1.5, 0.5, 1.5]),
        ([True, False, True], [True, False, True]),
        (["10", "9", "10"], ["10", "9", "10"]),
        ([1, "1.0", 2, None], [1, 1, 2, 1]),
    ],
)
def test_labels_come_back_as_they_were(cells: list[Any], expected: list[Any]) -> None:
    target = CategoryTarget.fit(cells)
    values, _ = target.encode(cells)
    said = target.decode(np.eye(target.output_dim)[values])
    if any(isinstance(cell, str) for cell in cells):
        expected = [str(label) for label in expected]
    assert said == expected
    assert [type(label) for label in said] == [type(label) for label in expected]


def test_numbers_are_sorted_as_numbers() -> None:
    assert CategoryTarget.fit(["10", "9", "-1", "b", "a"]).names == ["-1", "9", "10", "a", "b"]


def test_the_same_label_from_csv_and_from_memory_meets() -> None:
    target = CategoryTarget.fit([1, 2, 3])
    values, known = target.encode(["1", 2.0, " 3 ", "4", "", None])
    assert values[:3].tolist() == [0, 1, 2]
    assert known.tolist() == [True, True, True, False, False, False]


def test_probabilities_sum_to_one() -> None:
    target = CategoryTarget.fit(["a", "b", "c"])
    said = target.to_prediction(np.array([[0, 1, 2], [900, -900, 0]], dtype=np.float32))
    assert np.allclose(said.sum(axis=1), 1)
    assert said[0].argmax() == 2


def test_labels_of_balanced_classes_are_those_of_the_largest_weighted_probability() -> None:
    target = CategoryTarget.fit(["often"] * 9 + ["rare"])
    balanced = dataclasses.replace(target, label_weights=[1 / 1.8, 5.0])
    said = np.array([[0.85, 0.15], [0.95, 0.05], [0.4, 0.6], target.prior])
    assert target.decode(said) == ["often", "often", "rare", "often"]
    assert balanced.decode(said) == ["rare", "often", "rare", "often"]  # nothing is known of the last row
    assert balanced.label_probabilities(said).tolist() == [0.15, 0.95, 0.6, 0.9]
    assert balanced.decode(said[:0]) == []


def test_the_state_keeps_how_labels_are_chosen_and_that_of_earlier_versions_loads() -> None:
    target = CategoryTarget.fit(["often"] * 9 + ["rare"])
    balanced = dataclasses.replace(target, label_weights=[1 / 1.8, 5.0], logit_offset=[-0.1, -2.3])
    assert CategoryTarget.from_state(balanced.state()) == balanced
    earlier = {name: target.state()[name] for name in ("names", "counts", "label_type")}
    assert CategoryTarget.from_state(earlier | {"weights": [0.9, 2.0]}) == target


def test_a_network_that_learned_from_balanced_classes_is_put_right() -> None:
    target = CategoryTarget.fit(["often"] * 9 + ["rare"])
    shifted = dataclasses.replace(target, logit_offset=np.log(target.prior).tolist())
    assert np.allclose(shifted.to_prediction(np.zeros((2, 2), np.float32)), target.prior)


@pytest.mark.parametrize(
    "labels", [["True", "False"], ["1.0", "2.0"], ["Home | Kitchen", "Toys"], ["007", "08"]], ids=str
)
def test_labels_come_back_as_they_were_spelt(labels: list[str]) -> None:
    target = CategoryTarget.fit(labels * 5)
    truth, known = target.encode(labels)
    assert known.all()
    assert target.decode(np.eye(2)[truth]) == labels
    assert sorted(target.classes or ()) == sorted(labels)
    assert CategoryTarget.from_state(target.state()) == target
