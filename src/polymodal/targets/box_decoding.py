"""Boxes of one row from the scores and boxes of all locations: threshold and non-maximum suppression.

Shape legend: P locations, L labels, A candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.detection import box_iou, confident_boxes
from polymodal.targets.predictions import StructuredPrediction

CANDIDATES_PER_BOX = 4
"""Non-maximum suppression gets so many times ``max_boxes`` candidates."""


def decode_boxes(
    scores_PL: NDArray[np.float32],
    boxes_P4: NDArray[np.float32],
    labels: Sequence[str],
    *,
    max_boxes: int,
    score_threshold: float,
    overlap_threshold: float,
) -> StructuredPrediction:
    """Choose the boxes of a row.

    Args:
        scores_PL: Score of each label at each location.
        boxes_P4: Box of each location.
        labels: Names of the labels.
        max_boxes: Maximum number of boxes.
        score_threshold: Minimum score of a box.
        overlap_threshold: Threshold of the intersection over union in non-maximum suppression.

    Returns:
        Lists of label, box and score, the most confident first. The confidence is the mean score of the confident
        boxes, or, without one, how far the largest score is from 1.
    """
    flat = scores_PL.ravel()
    candidates = np.argsort(-flat, kind="stable")[: CANDIDATES_PER_BOX * max_boxes]
    candidates = candidates[flat[candidates] >= score_threshold]
    place, label = np.divmod(candidates, len(labels))
    kept = non_maximum_suppression(boxes_P4[place], label, overlap_threshold)[:max_boxes]
    found = [
        {
            "label": labels[label[at]],
            "box": [float(side) for side in boxes_P4[place[at]]],
            "score": round(float(flat[candidates[at]]), 4),
        }
        for at in kept
    ]
    scores = [box["score"] for box in confident_boxes(found)]
    return StructuredPrediction(found, float(np.mean(scores)) if scores else 1 - float(flat.max(initial=0.0)))


def non_maximum_suppression(boxes: NDArray[np.float32], labels: NDArray[np.int64], most: float) -> NDArray[np.int64]:
    """Remove each box that overlaps a box of the same label with a higher score.

    Args:
        boxes: ``[A, 4]``, by descending score.
        labels: int64 ``[A]``.
        most: Intersection over union up to which both boxes are kept.

    Returns:
        Indices of the boxes that are kept, in order.
    """
    clash = (box_iou(boxes, boxes) > most) & (labels[:, None] == labels[None])
    stays = np.ones(len(boxes), dtype=np.bool_)
    for place in range(len(boxes)):
        if stays[place]:
            stays[place + 1 :] &= ~clash[place, place + 1 :]
    return np.flatnonzero(stays)
