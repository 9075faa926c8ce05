"""The forms in which other programs write labelled boxes, brought to one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

LABEL_KEYS = ("label", "category", "class", "name", "category_name", "category_id", "class_name", "labels")
LABEL_LISTS, BOX_LISTS = ("labels", "category", "categories", "class", "label"), ("boxes", "bbox", "bboxes")
CORNER_NAMES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
SIZE_NAMES = (("x", "y", "width", "height"), ("left", "top", "width", "height"), ("x", "y", "w", "h"))
PERCENT_KEYS = ("rectanglelabels", "original_width")
"""Keys of Label Studio, whose numbers are per cent of the picture."""
SLACK = 1e-3
"""How far shares of a picture may lie outside 0 to 1."""
YOLO_LINE = re.compile(r"\s*\S+(?:\s+(?:0?\.\d+|[01](?:\.\d*)?(?:[eE]-\d+)?)){4}\s*")


def first_of(record: Mapping[str, Any], keys: Collection[str]) -> str:
    """Return the first of some keys that a record has; "" without one."""
    return next((key for key in keys if key in record), "")


def is_box(record: Any) -> bool:
    """Tell whether a record is one labelled box, in any form.

    Args:
        record: A value of JSON.

    Returns:
        True where it has a label and corners.
    """
    found = with_corners(record)
    return isinstance(found, Mapping) and "label" in found and bool({"box", "share"} & set(found))


def are_boxes(record: Any) -> bool:
    """Tell whether a record has a list of boxes and a list of their labels.

    Args:
        record: A value of JSON.

    Returns:
        True for ``{"boxes", "labels"}`` and ``{"bbox", "category"}`` of lists.
    """
    if not isinstance(record, Mapping):
        return False
    boxes, labels = record.get(first_of(record, BOX_LISTS)), record.get(first_of(record, LABEL_LISTS))
    if boxes is None or not _is_list(boxes) or not _is_list(labels):
        return False
    return all(_is_list(box) and len(box) == 4 for box in boxes)


def with_corners(entry: Any) -> Any:
    """Bring a record of one box to ``{"label", "box"}``, or ``{"label", "share"}`` for shares of the picture.

    Args:
        entry: A record of any form.

    Returns:
        The record with corners; anything else as it is.
    """
    if not isinstance(entry, Mapping):
        return entry
    entry = {**entry, **entry["value"]} if isinstance(entry.get("value"), Mapping) else entry
    entry = {**entry, **entry["bndbox"]} if isinstance(entry.get("bndbox"), Mapping) else entry
    is_percent = any(key in entry for key in PERCENT_KEYS)
    label = entry.get("rectanglelabels") or entry.get(first_of(entry, LABEL_KEYS))
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    corners, is_share = _corners_of(entry)
    if corners is None or label is None:
        return entry
    if is_percent:
        corners, is_share = [number / 100 for number in corners], True
    is_share = is_share or _are_shares(corners)
    return {"label": label, "share" if is_share else "box": corners}


def _corners_of(entry: Mapping[str, Any]) -> tuple[Any, bool]:
    if "box" in entry:
        return entry["box"], False
    if "bbox" in entry:
        return from_left_top_size(entry["bbox"]), False
    if "yolo" in entry:
        x, y, width, height = map(float, entry["yolo"])
        return [x - width / 2, y - height / 2, x + width / 2, y + height / 2], True
    for names in CORNER_NAMES:
        if all(name in entry for name in names):
            return [entry[name] for name in names], False
    for names in SIZE_NAMES:
        if all(name in entry for name in names):
            return from_left_top_size([entry[name] for name in names]), False
    return None, False


def from_left_top_size(box: Any) -> Any:
    """Turn left, top, width and height into corners.

    Args:
        box: Four numbers, as COCO has them.

    Returns:
        ``[x_min, y_min, x_max, y_max]``; anything else as it is.
    """
    try:
        left, top, width, height = map(float, box)
    except (TypeError, ValueError):
        return box
    return [left, top, left + width, top + height]


def _are_shares(corners: Any) -> bool:
    """Tell whether corners are shares of the picture: all within 0 and 1, and not all whole."""
    try:
        numbers = [float(number) for number in corners]
    except (TypeError, ValueError):
        return False
    within = all(math.isfinite(number) and -SLACK <= number <= 1 + SLACK for number in numbers)
    return within and any(number not in (0.0, 1.0) for number in numbers)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
