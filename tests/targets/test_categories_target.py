"""Several labels a row: forms of a cell, balance, decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.data.schema.detect_target import detect_target_kind
from polymodal.data.tables.cells import clean_cell
from polymodal.targets import CategoriesTarget


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


def test_the_state_of_earlier_versions_loads() -> None:
    target = CategoriesTarget.fit(["a|b", "a"])
    assert CategoriesTarget.from_state(target.state() | {"positive_weights": [1.0, 4.0]}) == target


@pytest.mark.parametrize(
    "cell",
    [
        "['a b', \"don't\"]",
        "('a b', \"don't\")",
        "{'a b', \"don't\"}",
        "frozenset({'a b', \"don't\"})",
        "['a b' \"don't\"]",
        "['a b'\n \"don't\"]",
        "array(['a b', \"don't\"], dtype=object)",
        "['a b', \"don't\", nan]",
        '["a b", "don\'t", null]',
        "a b | don't",
        clean_cell({"a b", "don't"}),
        clean_cell(np.array(["a b", "don't"])),
    ],
)
def test_labels_are_found_in_every_form_of_a_list(cell: Any) -> None:
    cells = [cell, ["a b"]]
    assert detect_target_kind("tags", [cell] * 3, None)[0] == "categories"
    target = CategoriesTarget.fit(cells)
    assert target.names == ["a b", "don't"]
    assert target.encode(cells)[0].tolist() == [[1, 1], [1, 0]]
