"""The forms in which other programs write labelled boxes, brought to one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

LABEL_KEYS = (
    *("label", "category", "class", "name", "categoryname", "categoryid", "classname", "labels", "labelname"),
    *("displayname", "tagname", "classtitle", "tag", "object", "cls", "type"),
)
LABEL_LISTS, BOX_LISTS = ("labels", "category", "categories", "class", "label"), ("boxes", "bbox", "bboxes")
CORNER_NAMES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("minx", "miny", "maxx", "maxy"),
    ("startx", "starty", "endx", "endy"),
)
SIZE_NAMES = (
    ("x", "y", "width", "height"),
    ("left", "top", "width", "height"),
    ("x", "y", "w", "h"),
    ("xmin", "ymin", "width", "height"),
    ("x1", "y1", "w", "h"),
)
CENTER_NAMES = (
    ("cx", "cy", "w", "h"),
    ("cx", "cy", "width", "height"),
    ("xcenter", "ycenter", "width", "height"),
    ("centerx", "centery", "width", "height"),
    ("xc", "yc", "w", "h"),
)
CREATE_ML_NAMES = ("x", "y", "width", "height")
CORNER_KEYS = ("box", "boundingbox", "xyxy", "rect", "rectangle", "box2d")
PART_KEYS = ("value", "bndbox", "bbox", "shapeattributes", "regionattributes", *CORNER_KEYS)
"""Records within the record of a box that hold its corners or its label, as in Pascal VOC and Label Studio."""
LIST_KEYS = ("objects", "object", "shapes", "regions", "result", "annotations", "annotation", "predictions")
"""Keys of an object under which LabelMe, Label Studio, Pascal VOC and others list the boxes of a picture."""
PERCENT_KEYS = ("rectanglelabels", "originalwidth")
"""Keys of Label Studio, whose numbers are per cent of the picture."""
LINE_END = re.compile(r"\r?\n|[;|]")
NO_LETTER = re.compile(r"[^a-z0-9]")
SLACK = 1e-3
"""How far shares of a picture may lie outside 0 to 1."""
YOLO_LINE = re.compile(r"\s*\S+(?:\s+(?:0?\.\d+|[01](?:\.\d*)?(?:[eE]-\d+)?)){4,5}\s*")


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
        True for ``{"boxes", "labels"}`` and ``{"bbox", "category"}`` of lists, and for lists of boxes within a record.
    """
    if not isinstance(record, Mapping):
        return False
    if isinstance(found := boxes_within(record), list):
        return bool(found) and all(map(is_box, found))
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
    record = _plain_keys(entry)
    for key in PART_KEYS:
        if isinstance(record.get(key), Mapping):
            part = _plain_keys(record.pop(key))
            record = {**record, **part}
    label = record.get("rectanglelabels") or record.get(first_of(record, LABEL_KEYS))
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    corners, is_share = _corners_of(record)
    if corners is None or label is None:
        return entry
    if any(key in record for key in PERCENT_KEYS):
        corners, is_share = [number / 100 for number in corners], True
    is_share = is_share or _are_shares(corners)
    return {"label": label, "share" if is_share else "box": corners}


def boxes_within(content: Mapping[str, Any]) -> Any:
    """Find the list of boxes in the record of a picture.

    Args:
        content: Such as ``{"shapes": [...]}`` of LabelMe, or ``{"annotation": {"object": [...]}}`` of Pascal VOC.

    Returns:
        The list; the record itself where it names none.
    """
    found = content.get(first_of(content, LIST_KEYS))
    if isinstance(found, Mapping):
        return boxes_within(found)
    return found if isinstance(found, list) and all(isinstance(box, Mapping) for box in found) else content


def boxes_of_xml(text: str) -> list[dict[str, Any]] | None:
    """Read the boxes of an annotation of Pascal VOC.

    Args:
        text: Its XML. Declarations of types and entities are refused.

    Returns:
        One record a box; None where it is no such annotation.
    """
    if not text.lstrip().startswith("<") or "<!" in text:
        return None
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    boxes = [(found.findtext("name"), found.find("bndbox")) for found in root.iter("object")]
    return [{"label": name, **{part.tag: part.text for part in box}} for name, box in boxes if box is not None]


def boxes_of_yolo(text: str) -> list[dict[str, Any]] | None:
    """Read the lines of YOLO: a label, center, width and height in shares of the picture, and maybe a confidence.

    Args:
        text: Lines, or what stands for them in a cell: parts between semicolons or bars.

    Returns:
        One record a box; None where it is none.
    """
    lines = LINE_END.split(text.strip())
    if not all(map(YOLO_LINE.fullmatch, lines)):
        return None
    return [{"label": words[0], "yolo": words[1:5]} for words in map(str.split, lines)]


def are_written_boxes(texts: Sequence[str]) -> bool:
    """Tell whether texts are boxes in Pascal VOC's XML or YOLO's lines.

    Args:
        texts: Some cells.

    Returns:
        True where all are. Lines of numbers alone are boxes only where a cell has several of them.
    """
    if all(boxes_of_xml(text) for text in texts):
        return True
    boxes = [boxes_of_yolo(text) for text in texts]
    return all(boxes) and any(len(found) > 1 or not found[0]["label"].isdigit() for found in boxes if found)


def _plain_keys(record: Mapping[str, Any]) -> dict[str, Any]:
    """Write keys in one way: ``XMin``, ``x_min`` and ``bbox_xmin`` are ``xmin``."""
    plain = {NO_LETTER.sub("", str(key).lower()): value for key, value in record.items()}
    return {key.removeprefix("bbox") or key: value for key, value in plain.items()}


def _corners_of(record: Mapping[str, Any]) -> tuple[Any, bool]:
    if "yolo" in record:
        return _from_center(record["yolo"]), True
    if isinstance(points := record.get("points"), list):
        return _extent(points), False
    if key := first_of(record, CORNER_KEYS):
        return record[key], False
    if key := first_of(record, ("bbox", "xywh")):
        return from_left_top_size(record[key]), False
    centered = record.get("coordinates")  # of CreateML
    if isinstance(centered, Mapping) and set(CREATE_ML_NAMES) <= set(centered):
        return _from_center([centered[name] for name in CREATE_ML_NAMES]), False
    for forms, convert in ((CORNER_NAMES, list), (CENTER_NAMES, _from_center), (SIZE_NAMES, from_left_top_size)):
        for names in forms:
            if all(name in record for name in names):
                return convert([record[name] for name in names]), False
    return None, False


def _from_center(box: Sequence[Any]) -> list[float]:
    x, y, width, height = map(float, box)
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def _extent(points: Sequence[Any]) -> list[float] | None:
    """Return the smallest box around points of a polygon, or two corners."""
    try:
        places = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        return None
    return [*places.min(axis=0).tolist(), *places.max(axis=0).tolist()] if len(places) > 1 else None


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
