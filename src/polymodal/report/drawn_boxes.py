"""True and predicted boxes drawn on their image, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.arrays import Cell
from polymodal.metrics.detection import match_boxes
from polymodal.modalities.image_size import image_size
from polymodal.report.thumbnails import image_uri

SIDE = 480
"""Longest side of the drawn image, in pixels."""
TEXT_SIZE = 11
NUM_COLOURS = 8
MAX_CAPTIONED_BOXES = 8
"""Up to this number of predicted boxes all are labelled; with more, only wrong and missed ones."""
LINES = "solid: found, dashed: missed, dotted: wrong, thin: the truth of those found"


@dataclass(frozen=True)
class DrawnBoxes:
    """An image with boxes, as a cell of the gallery.

    Attributes:
        image: The raw cell of the image.
        truth: True boxes, ``{"label", "box"}`` in pixels of the image.
        predictions: Predicted boxes, ``{"label", "box", "score"}``.
        labels: All labels there are, so that a label has one colour in every image.
    """

    image: Cell
    truth: Sequence[Any]
    predictions: Sequence[Any]
    labels: Sequence[str] = ()


def draw_boxes(drawn: DrawnBoxes, title: str, folder: Path | None) -> Markup:
    """Draw an image with its boxes, one colour a label: solid where found, dashed where missed, dotted where wrong.

    Args:
        drawn: The image and its boxes.
        title: Accessible title.
        folder: Base folder of relative paths; None: paths are not opened.

    Returns:
        SVG and a legend.

    Raises:
        CellReadError: If the image cannot be read.
    """
    uri, shown_width, shown_height = image_uri(drawn.image, folder, SIDE)
    height, width = image_size(drawn.image, folder) or (shown_height, shown_width)
    image = Markup('<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(uri, width, height)
    svg = Markup('<svg class="boxes" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        width, height, title, image, Markup("").join(_BoxDrawing(drawn, width, height).shapes())
    )
    return svg + _legend(drawn)


class _BoxDrawing:
    """The boxes of one image as shapes, in pixels of the image."""

    def __init__(self, drawn: DrawnBoxes, width: int, height: int) -> None:
        self.drawn, self.width = drawn, width
        self.unit = max(width, height) / SIDE
        self.labels = _labels(drawn)

    def shapes(self) -> list[Markup]:
        is_found, is_correct = match_boxes(self.drawn.truth, self.drawn.predictions)
        kinds = [
            ("seen" if found_it else "missed", box) for found_it, box in zip(is_found, self.drawn.truth, strict=True)
        ]
        kinds += [
            ("found" if is_right else "wrong", box)
            for is_right, box in zip(is_correct, self.drawn.predictions, strict=True)
        ]
        order = ("seen", "found", "wrong", "missed")
        return [self._shape(kind, box) for kind, box in sorted(kinds, key=lambda pair: order.index(pair[0]))]

    def _shape(self, kind: str, box: Any) -> Markup:
        left, top, is_correct, bottom = box["box"]
        frame = Markup('x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"')
        frame = frame.format(left, top, is_correct - left, bottom - top)
        lines = Markup('<rect class="under" {0}/><rect class="{1}" {0}/>').format(frame, kind)
        caption = self._caption(kind, box)
        colour = self.labels.index(str(box["label"])) % NUM_COLOURS + 1
        return Markup('<g class="c{}">{}{}</g>').format(
            colour, lines, self._text(caption, left, top) if caption else ""
        )

    def _caption(self, kind: str, box: Any) -> str:
        if kind == "missed":
            return f"missed {box['label']}"
        is_named = kind == "wrong" or (kind == "found" and len(self.drawn.predictions) <= MAX_CAPTIONED_BOXES)
        return f"{box['label']} {100 * box.get('score', 1.0):.0f}%" if is_named else ""

    def _text(self, caption: str, left: float, top: float) -> Markup:
        size = TEXT_SIZE * self.unit
        length = 0.66 * size * len(caption)
        x, y = max(min(left + 2 * self.unit, self.width - length), 0.0), max(top - 3 * self.unit, size)
        return Markup('<text x="{:.1f}" y="{:.1f}" font-size="{:.1f}">{}</text>').format(x, y, size, caption)


def _labels(drawn: DrawnBoxes) -> list[str]:
    occurring = sorted(str(box["label"]) for box in [*drawn.truth, *drawn.predictions])
    return list(dict.fromkeys([*map(str, drawn.labels), *occurring]))


def _legend(drawn: DrawnBoxes) -> Markup:
    is_found, is_correct = match_boxes(drawn.truth, drawn.predictions)
    entries = [Markup("<li>{}</li>").format(LINES)]
    for number, label in enumerate(_labels(drawn)):
        found_flags = [
            found_it for found_it, box in zip(is_found, drawn.truth, strict=True) if str(box["label"]) == label
        ]
        correct_flags = [
            is_right for is_right, box in zip(is_correct, drawn.predictions, strict=True) if str(box["label"]) == label
        ]
        if found_flags or correct_flags:
            counts = f"{sum(found_flags)} of {len(found_flags)} found" + (
                f", {correct_flags.count(False)} wrong" if not all(correct_flags) else ""
            )
            entry = Markup('<li><span class="swatch c{}"></span><b>{}</b> {}</li>')
            entries.append(entry.format(number % NUM_COLOURS + 1, label, counts))
    return Markup('<ul class="key">{}</ul>').format(Markup("").join(entries))
