"""Cells that hold labelled boxes: ``[{"label": ..., "box": [x_min, y_min, x_max, y_max]}, ...]``, as lists or JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, is_absent, quote
from polymodal.modalities.category import category_text
from polymodal.modalities.json_text import load_json

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
    return [_read_box(number, entry, size) for number, entry in enumerate(_entries(content), start=1)]


def _parse(text: str) -> Any:
    try:
        return load_json(text)
    except ValueError:
        raise CellReadError(f"{quote(text)} is not JSON; {FORM}") from None


def _entries(content: Any) -> Sequence[Any]:
    if isinstance(content, Mapping):
        if not {"boxes", "labels"} <= set(content):
            return [content]
        labels, boxes = list(content["labels"]), list(content["boxes"])
        if len(labels) != len(boxes):
            raise CellReadError(f"holds {len(labels)} labels for {len(boxes)} boxes; expected one label a box")
        return [{"label": label, "box": box} for label, box in zip(labels, boxes, strict=True)]
    if isinstance(content, list | tuple | np.ndarray):
        return list(content)
    raise CellReadError(f"is of type {type(content).__name__}; {FORM}")


def _read_box(number: int, entry: Any, size: tuple[int, int] | None) -> LabelledBox:
    if not isinstance(entry, Mapping) or not {"label", "box"} <= set(entry):
        raise CellReadError(f"box {number} is {quote(str(entry))}; {FORM}")
    text = "" if is_absent(entry["label"]) else category_text(entry["label"]).strip()
    if not text:
        raise CellReadError(f"box {number} has no label; {FORM}")
    corners = _corners(number, entry["box"])
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
