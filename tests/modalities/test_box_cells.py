from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polymodal.modalities import CellReadError
from polymodal.modalities.box_cells import read_boxes

BOXES = [{"label": "cat", "box": [1, 2, 9, 8.5]}, {"label": 7, "box": (0, 0, 5, 5)}]


@pytest.mark.parametrize(
    "cell",
    [
        BOXES,
        tuple(BOXES),
        np.array(BOXES, dtype=object),
        json.dumps(BOXES),
        {"labels": ["cat", 7], "boxes": [[1, 2, 9, 8.5], [0, 0, 5, 5]]},
        {"labels": np.array(["cat", 7], dtype=object), "boxes": np.array([[1, 2, 9, 8.5], [0, 0, 5, 5]])},
        [{**box, "score": 0.5} for box in BOXES],
    ],
)
def test_every_form_of_boxes_is_read(cell: Any) -> None:
    found = read_boxes(cell)
    assert found is not None
    assert [box.label for box in found] == ["cat", "7"]
    assert [box.box for box in found] == [(1, 2, 9, 8.5), (0, 0, 5, 5)]


def test_one_box_is_a_list_of_one_and_an_empty_list_is_no_box() -> None:
    assert read_boxes(BOXES[0]) == read_boxes(BOXES[:1])
    assert read_boxes([]) == read_boxes("[]") == []


@pytest.mark.parametrize("cell", [None, float("nan"), " "])
def test_an_absent_cell_holds_nothing(cell: Any) -> None:
    assert read_boxes(cell) is None


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("[{", r"'\[\{' is not JSON; expected a list of \{\"label\""),
        ("[" * 100_000, "is not JSON"),
        ("3", "is of type int; expected a list"),
        (5.5, "is of type float; expected a list"),
        ([3], "box 1 is '3'; expected a list"),
        ([{"label": "a"}], "box 1 is .*; expected a list"),
        ([BOXES[0], {"label": " ", "box": [1, 1, 2, 2]}], "box 2 has no label"),
        ([{"label": None, "box": [1, 1, 2, 2]}], "box 1 has no label"),
        ([{"label": "a", "box": [1, 1, 2]}], "box 1 is .* expected four numbers: x_min, y_min, x_max, y_max"),
        ([{"label": "a", "box": [1, 1, 2, "x"]}], "expected four numbers"),
        ([{"label": "a", "box": [1, 1, 2, float("nan")]}], "expected four numbers"),
        ([{"label": "a", "box": None}], "expected four numbers"),
        ([{"label": "a", "box": [9, 1, 2, 4]}], "box 1 goes from x 9 to 2; x_max must be above x_min"),
        ([{"label": "a", "box": [1, 4, 2, 4]}], "box 1 goes from y 4 to 4; y_max must be above y_min"),
        ([{"label": "a", "box": [20, 1, 25, 4]}], r"box 1 \(20, 1, 25, 4\) lies outside its picture of 16 x 12 pixels"),
        ({"labels": ["a"], "boxes": []}, "holds 1 labels for 0 boxes"),
    ],
)
def test_a_broken_cell_is_one_clear_clause(cell: Any, reason: str) -> None:
    with pytest.raises(CellReadError, match=reason):
        read_boxes(cell, (12, 16))


def test_a_box_partly_outside_is_cut_at_the_border() -> None:
    found = read_boxes([{"label": "a", "box": [-3, 5, 20, 14]}], (12, 16))
    assert found is not None
    assert found[0].box == (0, 5, 16, 12)
