from __future__ import annotations

import re
from typing import Any

import numpy as np

from polymodal.report.drawn_boxes import MAX_CAPTIONED_BOXES, DrawnBoxes
from polymodal.report.gallery import GalleryCell, GalleryRow, render_cell, render_row

PICTURE = np.zeros((120, 640, 3), np.uint8)
TRUTH = [{"label": "cat", "box": [10, 10, 60, 60]}, {"label": "owl", "box": [300, 20, 340, 80]}]
FOUND = [
    {"label": "cat", "box": [12, 11, 60, 61], "score": 0.87},
    {"label": "cat", "box": [500, 10, 560, 60], "score": 0.41},
]


def drawn(truth: Any, found: Any, labels: Any = ()) -> str:
    return str(render_cell(GalleryCell("photo", "boxes", DrawnBoxes(PICTURE, truth, found, labels)), None))


def test_found_missed_and_wrong_boxes_are_told_apart() -> None:
    html = drawn(TRUTH, FOUND)
    for kind, number in (("seen", 1), ("found", 1), ("wrong", 1), ("missed", 1)):
        assert html.count(f'<rect class="{kind}"') == number
    assert 'viewBox="0 0 640 120"' in html
    assert '<rect class="missed" x="300.0" y="20.0" width="40.0" height="60.0"/>' in html
    assert "cat 87%" in html
    assert "cat 41%" in html
    assert "missed owl" in html
    assert "1 of 1 found, 1 wrong" in html
    assert "0 of 1 found" in html


def test_a_label_has_one_colour_in_every_picture() -> None:
    labels = ["cat", "owl"]
    both, owl = drawn(TRUTH, [], labels), drawn(TRUTH[1:], [], labels)
    for html in (both, owl):
        assert '<span class="swatch c2"></span><b>owl</b>' in html
        assert re.search(r'<g class="c2">(?!.*<g).*missed owl', html)
    assert "<b>cat</b>" not in owl


def test_of_many_boxes_only_mistakes_are_named() -> None:
    many = [{"label": "cat", "box": [60 * i, 0, 60 * i + 40, 50], "score": 0.9} for i in range(MAX_CAPTIONED_BOXES + 1)]
    assert "cat 90%" not in drawn(many, many)
    assert "cat 90%" in drawn(many[:MAX_CAPTIONED_BOXES], many[:MAX_CAPTIONED_BOXES])
    assert drawn([], many).count("cat 90%") == MAX_CAPTIONED_BOXES + 1


def test_labels_are_escaped_and_words_stay_inside() -> None:
    html = drawn([], [{"label": "<b>x</b>", "box": [600, 2, 640, 20], "score": 1.0}])
    assert "<b>x</b>" not in html.replace("<b>&lt;b&gt;", "")
    assert float(re.search(r'<text x="([\d.]+)"', html)[1]) < 600  # type: ignore[index]


def test_nothing_to_draw_is_a_picture_and_a_broken_one_says_so() -> None:
    assert "<image" in drawn([], [])
    cell = GalleryCell("photo", "boxes", DrawnBoxes(b"nonsense", TRUTH, FOUND))
    assert "unreadable" in render_cell(cell, None)
    whole = GalleryCell("photo", "boxes", DrawnBoxes(PICTURE, TRUTH, FOUND))
    assert "<svg" in render_row(GalleryRow(1, "", "", None, (whole,)), None)
