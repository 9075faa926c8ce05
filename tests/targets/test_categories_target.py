"""Several labels a row: forms of a cell, balance, decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from polymodal.targets import CategoriesTarget
from polymodal.targets.categories import MAX_CLASS_WEIGHT, positive_weight


@pytest.mark.parametrize("cell", ["a|c", "a;c", '["a", "c"]', ["c", "a"], ("a", "c"), "c|a|a", " a | c "])
def test_every_form_of_the_same_labels(cell: Any) -> None:
    target = CategoriesTarget.fit(["a|b", "b|c"])
    values, known = target.encode([cell])
    assert values.tolist() == [[1, 0, 1]]
    assert known.all()


def test_an_empty_list_is_known_and_an_empty_cell_is_not() -> None:
    target = CategoriesTarget.fit(["a|b", "b"])
    values, known = target.encode([[], "[]", None, ""])
    assert known.tolist() == [True, True, False, False]
    assert not values.any()


def test_unknown_labels_are_left_out() -> None:
    values, known = CategoriesTarget.fit(["a|b", "b"]).encode(["a|zebra", "zebra"])
    assert values.tolist() == [[1, 0], [0, 0]]
    assert known.all()


def test_decoding_names_the_probable_labels_most_probable_first() -> None:
    target = CategoriesTarget.fit(["a|b|c"])
    assert target.decode(np.array([[0.6, 0.4, 0.9], [0.1, 0.2, 0.3], [0.5, 0.5, 0.5]])) == [
        ["c", "a"],
        [],
        ["a", "b", "c"],
    ]


def test_rare_labels_weigh_more_but_not_without_bound() -> None:
    assert positive_weight(50, 100) == 1.0
    assert positive_weight(100, 100) == 1.0
    assert 1 < positive_weight(5, 100) < positive_weight(1, 100) <= MAX_CLASS_WEIGHT
    assert positive_weight(1, 10**6) == MAX_CLASS_WEIGHT
    target = CategoriesTarget.fit(["a"] * 60 + ["a|b"])
    losses = target.loss(torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 0.0)
    assert losses[1] > 2 * losses[0]
