"""Boxes in the forms of other programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.data.schema.detect_target import detect_target_kind
from polymodal.modalities.box_cells import read_boxes
from polymodal.modalities.box_forms import is_box

WANTED = [("a", (8.0, 12.0, 40.0, 36.0))]
PERCENT = {"rectanglelabels": ["a"], "x": 10, "y": 20, "width": 40, "height": 40}


@pytest.mark.parametrize(
    "cell",
    [
        [{"label": "a", "box": [8, 12, 40, 36]}],
        {"boxes": [[8, 12, 40, 36]], "labels": ["a"]},
        {"bbox": [[8, 12, 32, 24]], "category": ["a"]},
        [{"bbox": [8, 12, 32, 24], "category_id": "a", "area": 768, "iscrowd": 0}],
        [{"class": "a", "xmin": 8, "ymin": 12, "xmax": 40, "ymax": 36}],
        [{"name": "a", "bndbox": {"xmin": 8, "ymin": 12, "xmax": 40, "ymax": 36}}],
        [{"label": "a", "box": [0.1, 0.2, 0.5, 0.6]}],
        "a 0.3 0.4 0.4 0.4",
        [{"value": PERCENT, "original_width": 80, "original_height": 60}],
        "[{'label': 'a', 'box': (8, 12, 40, 36)}]",
        {"boxes": np.array([[8, 12, 40, 36]]), "labels": np.array(["a"])},
        [{"LabelName": "a", "XMin": 0.1, "XMax": 0.5, "YMin": 0.2, "YMax": 0.6}],
        [{"tag": "a", "x_min": 8, "y_min": 12, "width": 32, "height": 24}],
        [{"label": "a", "cx": 24, "cy": 24, "w": 32, "h": 24}],
        [{"label": "a", "score": 0.9, "box": {"xmin": 8, "ymin": 12, "xmax": 40, "ymax": 36}}],
        [{"label": "a", "coordinates": {"x": 24, "y": 24, "width": 32, "height": 24}}],
        {"shapes": [{"label": "a", "points": [[8, 12], [40, 36]]}], "imagePath": "1.jpg"},
        {"annotation": {"object": [{"name": "a", "bndbox": {"xmin": "8", "ymin": "12", "xmax": "40", "ymax": "36"}}]}},
        "<annotation><object><name>a</name><bndbox><xmin>8</xmin><ymin>12</ymin><xmax>40</xmax><ymax>36</ymax></bndbox>"
        "</object></annotation>",
        "a 0.3 0.4 0.4 0.4 0.87",
    ],
    ids=str,
)
def test_boxes_of_every_form_are_the_same(cell: Any) -> None:
    found = read_boxes(cell, (60, 80))
    assert found is not None
    assert [(box.label, tuple(round(number, 6) for number in box.box)) for box in found] == WANTED
    assert detect_target_kind("cells", [cell] * 3, None)[0] == "boxes"


def test_shares_of_the_picture_are_told() -> None:
    cells = [[{"label": "a", "box": [0.1, 0.2, 0.5, 0.6 + row / 100]}] for row in range(20)]
    kind, reason = detect_target_kind("cells", cells, None, inputs=frozenset({"image"}))
    assert (kind, "shares of the picture" in reason) == ("boxes", True)


def test_lists_of_sentences_are_captions_and_lists_of_labels_are_not() -> None:
    captions = [[f"a man number {row} walks his dog", f"somebody with dog {row} outdoors"] for row in range(40)]
    assert detect_target_kind("c", captions, None)[0] == "caption"
    assert detect_target_kind("c", [["red", "big"], ["red"]] * 20, None)[0] == "categories"


def test_records_that_only_look_like_boxes_are_none() -> None:
    assert not is_box({"label": "cat", "coordinates": {}})
