"""One class a row: labels, balance, probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodal.targets import CategoryTarget
from polymodal.targets.category import IMBALANCE_RATIO, MAX_CLASS_WEIGHT, class_weights


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


def test_balanced_classes_are_not_weighted() -> None:
    assert class_weights([10, 100]) is None
    assert CategoryTarget.fit(["a"] * 5 + ["b"] * 20).weights is None


@pytest.mark.parametrize("counts", [[1, 11], [5, 300, 20], [1, 100_000]])
def test_rare_classes_weigh_more_but_not_without_bound(counts: list[int]) -> None:
    weights = class_weights(counts)
    assert weights is not None
    assert max(counts) > IMBALANCE_RATIO * min(counts)
    assert np.isclose(np.average(weights, weights=counts), 1)
    order = np.argsort(counts)
    assert (np.diff(np.array(weights)[order]) <= 0).all()
    assert max(weights) / min(weights) <= MAX_CLASS_WEIGHT + 1e-9


def test_the_loss_of_a_rare_class_weighs_more() -> None:
    target = CategoryTarget.fit(["often"] * 40 + ["rare"] * 2)
    losses = target.loss(torch.zeros(2, 2), torch.tensor([0, 1]), 0.0)
    assert losses[1] > 3 * losses[0]
