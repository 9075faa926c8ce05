"""Labels, however a file held them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from polymodal.modalities import Category, CategorySettings


def fit(cells: list[Any], **options: Any) -> Category:
    return Category.fit(cells, CategorySettings(**options), None)


def codes(category: Category, cells: list[Any]) -> list[int]:
    column, broken = category.transform(cells, None)
    assert broken == []
    values: list[int] = column.values.tolist()
    return values


def test_codes_follow_frequency_then_the_alphabet() -> None:
    assert fit(["b", "c", "a", "b", None]).values == ["b", "a", "c"]


def test_unseen_values_are_zero_and_present() -> None:
    column, _ = fit(["a"]).transform(["z", "a", None], None)
    assert column.values.tolist() == [0, 1, 0]
    assert column.present.tolist() == [True, True, False]
    assert fit(["a"]).cardinality == 2


@pytest.mark.parametrize(
    "same",
    [
        ["1", 1, 1.0, "1.0", " 1 ", np.int64(1), np.float64(1), "1.00"],
        [True, "true", "True", "TRUE", np.bool_(True)],
        ["red", " red", b"red"],
        ["-3", -3, -3.0],
        [date(2024, 1, 2), "2024-01-02"],
        ["café", "café".encode()],
    ],
)
def test_one_label_in_many_forms(same: list[Any]) -> None:
    assert codes(fit(same[:1]), same) == [1] * len(same)


@pytest.mark.parametrize("different", [["007", "7"], ["a", "A"], ["1.10", "1.1"], ["1", "1.5"], [True, 1], ["-", "_"]])
def test_different_labels_stay_different(different: list[Any]) -> None:
    assert sorted(codes(fit(different), different)) == [1, 2]


def test_only_the_most_frequent_are_kept() -> None:
    category = fit(["a", "b", "b", "c", "c", "c"], max_values=2)
    assert codes(category, ["a", "b", "c"]) == [0, 2, 1]


@pytest.mark.parametrize("cell", [["a"], {"a": 1}, b"\xff", np.zeros(2)])
def test_what_is_no_label_is_broken(cell: Any) -> None:
    column, broken = fit(["a"]).transform(["a", cell], None)
    assert column.present.tolist() == [True, False]
    assert broken[0].row == 2
