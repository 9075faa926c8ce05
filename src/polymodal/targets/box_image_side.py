"""The image size at which the boxes of a table can be detected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polymodal.errors import warn
from polymodal.modalities.box_cells import LabelledBox

MAX_SIDE = 320
"""Upper bound of the image size that is chosen, in pixels."""
MIN_SIDE = 128
SIDE_STEP = 32
SMALL_BOX_SIDE = 18.0
"""Pixels along the sides of the median box of the smallest label, in the resized images."""


BORDER, FEW_OUTSIDE = 0.02, 0.05
"""How far boxes may reach out of a picture, and the share of boxes of which more is not told."""


def choose_image_side(rows: Sequence[list[LabelledBox] | str | None], sizes: Sequence[tuple[int, int] | None]) -> int:
    """Choose the image size at which the median box of the smallest label is ``SMALL_BOX_SIDE`` pixels wide.

    Args:
        rows: Boxes of each row; others than lists are left out.
        sizes: Height and width of each row's image; None where it is not known.

    Returns:
        Pixels of the longer side.
    """
    sides: dict[str, list[float]] = {}
    for boxes, size in zip(rows, sizes, strict=True):
        if not isinstance(boxes, list) or size is None:
            continue
        for box in boxes:
            left, top, right, bottom = box.box
            sides.setdefault(box.label, []).append(((right - left) * (bottom - top)) ** 0.5 / max(size))
    if not sides:
        return MIN_SIDE
    smallest = min(float(np.median(found)) for found in sides.values())
    wanted = int(-(-SMALL_BOX_SIDE / max(smallest, 1e-6) // SIDE_STEP) * SIDE_STEP)
    return min(max(wanted, MIN_SIDE), MAX_SIDE)


def tell_boxes_outside(rows: Sequence[list[LabelledBox] | str | None], sizes: Sequence[tuple[int, int] | None]) -> None:
    """Warn of boxes that reach out of their pictures, as those do whose numbers stand for something else.

    Args:
        rows: The boxes of each row, not cut to the picture; a reason where they cannot be read.
        sizes: Height and width of each row's image, None where unknown.
    """
    known = [(row, size) for row, size in zip(rows, sizes, strict=False) if isinstance(row, list) and size]
    pairs = [(box.box, size) for row, size in known for box in row]
    outside = sum(
        right > (1 + BORDER) * width + 1 or bottom > (1 + BORDER) * height + 1
        for (_, _, right, bottom), (height, width) in pairs
    )
    if outside > FEW_OUTSIDE * len(pairs):
        warn(
            f"{outside} of {len(pairs)} boxes reach out of their pictures and are cut off there. `bbox` is read as "
            "left, top, width and height, `box` as x_min, y_min, x_max, y_max: call corners `box`, and give pixels of "
            "these pictures, not of larger ones."
        )
