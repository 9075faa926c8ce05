from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from polymodal.metrics import Measure, intervals_of, measure_rows, score_of
from polymodal.metrics.detection import BoxRows, box_iou, box_label_scores, box_quality, count_labels, match_boxes

Rows = list[list[dict[str, Any]]]


def measure_boxes(truth: Rows, found: Rows) -> Measure:
    return measure_rows("boxes", BoxRows(truth, found))


def random_boxes(rows: int, noise: float, seed: int) -> tuple[Rows, Rows]:
    """Return true boxes and found ones: shifted, doubled, missed and mislabelled."""
    random = np.random.default_rng(seed)
    truth: Rows = [[] for _ in range(rows)]
    found: Rows = [[] for _ in range(rows)]
    for row in range(rows):
        for _ in range(random.integers(0, 12)):
            low, sides = random.uniform(0, 200, 2), random.uniform(10, 60, 2)
            box, label = np.array([*low, *(low + sides)]), "abc"[random.integers(3)]
            truth[row].append({"label": label, "box": box.tolist()})
            for _ in range(random.integers(0, 3)):
                moved = box + random.normal(0, noise, 4)
                said = "abc"[random.integers(3)] if random.random() < 0.1 else label
                if (moved[2:] > moved[:2]).all():
                    found[row].append({"label": said, "box": moved.tolist(), "score": float(random.random())})
    return truth, found


def coco_scores(truth: Rows, found: Rows) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entry(row: int, box: dict[str, Any]) -> dict[str, Any]:
        left, top, right, bottom = box["box"]
        place = {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
        return {"image_id": row + 1, "category_id": "abc".index(box["label"]) + 1, **place}

    true = [entry(row, box) | {"iscrowd": 0} for row, boxes in enumerate(truth) for box in boxes]
    said = [entry(row, box) | {"score": box["score"]} for row, boxes in enumerate(found) for box in boxes]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "info": {},
            "images": [{"id": row + 1} for row in range(len(truth))],
            "categories": [{"id": number + 1, "name": name} for number, name in enumerate("abc")],
            "annotations": [box | {"id": number + 1} for number, box in enumerate(true)],
        }
        known.createIndex()
        judge = COCOeval(known, known.loadRes(said), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {"map": float(judge.stats[0]), "map_50": float(judge.stats[1])}


@pytest.mark.parametrize(("noise", "seed"), [(1.0, 0), (4.0, 1), (4.0, 2), (9.0, 3)])
def test_average_precision_is_that_of_pycocotools(noise: float, seed: int) -> None:
    truth, found = random_boxes(40, noise, seed)
    expected = coco_scores(truth, found)
    assert score_of(measure_boxes(truth, found), 40) == pytest.approx(expected, abs=1e-9)
    labels = box_label_scores(truth, found)
    assert np.mean([entry["ap_50"] for entry in labels]) == pytest.approx(expected["map_50"], abs=1e-9)
    assert np.mean([entry["ap"] for entry in labels]) == pytest.approx(expected["map"], abs=1e-9)
    assert sum(entry["support"] for entry in labels) == sum(map(len, truth))


def test_a_row_of_weight_two_counts_like_the_row_twice() -> None:
    truth, found = random_boxes(30, 3.0, 5)
    weights = np.random.default_rng(0).integers(0, 3, 30)
    rows = np.repeat(np.arange(30), weights)
    weighted = measure_boxes(truth, found)(weights[None].astype(float))
    repeated = score_of(measure_boxes([truth[row] for row in rows], [found[row] for row in rows]), len(rows))
    assert {name: float(value[0]) for name, value in weighted.items()} == pytest.approx(repeated, abs=1e-9)


def test_intervals_lie_around_the_score_and_many_resamples_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = random_boxes(40, 3.0, 6)
    measure, value = measure_boxes(truth, found), score_of(measure_boxes(truth, found), 40)["map_50"]
    low, high = intervals_of(measure, 40)["map_50"]
    assert low < value < high
    monkeypatch.setattr("polymodal.metrics.detection.MAX_BLOCK_VALUES", 200)
    assert intervals_of(measure_boxes(truth, found), 40)["map_50"] == [low, high]


BOX = {"label": "a", "box": [0, 0, 10, 10]}


@pytest.mark.parametrize(
    ("truth", "found", "score"),
    [
        ([[BOX]], [[BOX | {"score": 0.4}]], 1.0),
        ([[BOX]], [[]], 0.0),
        ([[BOX]], [[BOX | {"label": "b"}]], 0.0),
        ([[BOX], []], [[BOX | {"score": 0.4}], [BOX | {"score": 0.3}]], 1.0),  # a surer right one comes first
        ([[BOX], []], [[BOX | {"score": 0.3}], [BOX | {"score": 0.4}]], 0.5),
        ([[BOX]], [[BOX | {"score": 0.9}, BOX | {"score": 0.3}]], 1.0),  # found twice, but late
        ([[BOX, BOX | {"label": "b"}]], [[BOX]], 0.5),
    ],
)
def test_average_precision_of_small_cases(truth: Rows, found: Rows, score: float) -> None:
    assert score_of(measure_boxes(truth, found), len(truth))["map_50"] == pytest.approx(score)


def test_without_any_true_box_there_is_no_score() -> None:
    assert score_of(measure_boxes([[], []], [[BOX], []]), 2) == {}
    assert score_of(measure_boxes([[], []], [[], []]), 2) == {}
    assert intervals_of(measure_boxes([[], []], [[BOX], []]), 2) == {}


def test_overlap_is_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    expected = [[1, 1 / 3, 0, 0], [1 / 3, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(box_iou(boxes, boxes), expected)


def test_each_true_box_is_taken_once_by_the_surest() -> None:
    found = [BOX | {"score": 0.2}, BOX | {"score": 0.9, "box": [1, 0, 10, 10]}, BOX | {"score": 0.8, "label": "b"}]
    assert match_boxes([BOX], found) == ([True], [False, True, False])


def test_a_row_is_graded_by_the_boxes_that_are_likely_right() -> None:
    truth = [[BOX], [BOX], [], []]
    found = [[BOX | {"score": 0.9}], [BOX | {"score": 0.05}], [BOX | {"score": 0.9}], []]
    assert box_quality(truth, found).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_boxes_are_counted_in_words() -> None:
    assert count_labels([BOX, BOX, {"label": "b", "box": [0, 0, 1, 1]}]) == "2 a, 1 b"
    assert count_labels([]) == "no box"
