"""Cells that hold labelled boxes: ``[{"label": ..., "box": [x_min, y_min, x_max, y_max]}, ...]``, as lists or JSON.

The forms of other programs are read as well: COCO's annotations and Hugging Face's objects (``bbox`` as left, top,
width and height, ``category`` or ``category_id``), torchvision's ``{"boxes", "labels"}``, corners by name as in Pascal
VOC (``xmin`` ... ``ymax``) and its XML, LabelMe's shapes, YOLO's lines (label, center, width, height in shares of the
picture) and Label Studio's rectangles in per cent. Shares and per cent become pixels where the picture's size is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, is_absent, quote
from polymodal.modalities.box_forms import (
    BOX_LISTS,
    LABEL_LISTS,
    are_boxes,
    boxes_of_xml,
    boxes_of_yolo,
    boxes_within,
    first_of,
    from_left_top_size,
    with_corners,
)
from polymodal.modalities.category import category_text
from polymodal.modalities.json_text import load_list

Corners = tuple[float, float, float, float]
FORM = 'expected a list of {"label": ..., "box": [x_min, y_min, x_max, y_max]}, in pixels'


class LabelledBox(NamedTuple):
    """One box of a cell.

    Attributes:
        label: Its label as text.
        raw: The label as it stood in the cell.
        box: x_min, y_min, x_max, y_max in pixels.
    """

    label: str
    raw: Cell
    box: Corners


def read_boxes(cell: Cell, size: tuple[int, int] | None = None) -> list[LabelledBox] | None:
    """Read a cell of boxes.

    Args:
        cell: A list of ``{"label", "box"}``, the mapping of lists ``{"labels", "boxes"}``, one box, or JSON of them;
            an empty list means: nothing to see.
        size: Height and width of the image, to whose border boxes are cut; None: not known.

    Returns:
        The boxes, or None where the cell is absent.

    Raises:
        CellReadError: If the cell holds no such boxes, or one that is inverted, empty or outside the image.
    """
    if is_absent(cell):
        return None
    content = _parse(cell) if isinstance(cell, str) else cell
    entries = [with_corners(entry) for entry in _entries(content)]
    return [_read_box(number, entry, size) for number, entry in enumerate(entries, start=1)]


def _parse(text: str) -> Any:
    for read in (boxes_of_yolo, boxes_of_xml):
        if (boxes := read(text)) is not None:
            return boxes
    try:
        return load_list(text)
    except ValueError:
        raise CellReadError(f"{quote(text)} is not JSON; {FORM}") from None


def _entries(content: Any) -> Sequence[Any]:
    content = boxes_within(content) if isinstance(content, Mapping) else content
    if isinstance(content, Mapping):
        if not are_boxes(content):
            return [content]
        corners = first_of(content, BOX_LISTS)
        labels, boxes = list(content[first_of(content, LABEL_LISTS)]), list(content[corners])
        if corners == "bbox":
            boxes = [from_left_top_size(box) for box in boxes]
        if len(labels) != len(boxes):
            raise CellReadError(f"holds {len(labels)} labels for {len(boxes)} boxes; expected one label a box")
        return [{"label": label, "box": box} for label, box in zip(labels, boxes, strict=True)]
    if isinstance(content, list | tuple | np.ndarray):
        return list(content)
    raise CellReadError(f"is of type {type(content).__name__}; {FORM}")


def _read_box(number: int, entry: Any, size: tuple[int, int] | None) -> LabelledBox:
    if not isinstance(entry, Mapping) or not {"label"} <= set(entry) or not {"box", "share"} & set(entry):
        raise CellReadError(f"box {number} is {quote(str(entry))}; {FORM}")
    text = "" if is_absent(entry["label"]) else category_text(entry["label"]).strip()
    if not text:
        raise CellReadError(f"box {number} has no label; {FORM}")
    corners = _corners(number, entry.get("box", entry.get("share")))
    if "share" in entry and size is not None:
        height, width = size
        corners = corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height
    return LabelledBox(text, entry["label"], corners if size is None else _cut(number, corners, size))


def _corners(number: int, box: Any) -> Corners:
    try:
        values = [float(value) for value in box]
    except (TypeError, ValueError, OverflowError):
        values = []
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise CellReadError(f"box {number} is {quote(str(box))}; expected four numbers: x_min, y_min, x_max, y_max")
    left, top, right, bottom = values
    for name, low, high in (("x", left, right), ("y", top, bottom)):
        if high <= low:
            wanted = f"{name}_max must be above {name}_min"
            raise CellReadError(f"box {number} goes from {name} {low:g} to {high:g}; {wanted}")
    return left, top, right, bottom


def _cut(number: int, box: Corners, size: tuple[int, int]) -> Corners:
    height, width = size
    left, top, right, bottom = box
    cut = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        shown = ", ".join(f"{value:g}" for value in box)
        raise CellReadError(f"box {number} ({shown}) lies outside its picture of {width} x {height} pixels")
    return cut
