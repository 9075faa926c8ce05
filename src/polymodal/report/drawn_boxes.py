"""Boxes drawn on their picture, for the report: what was looked for and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.arrays import Cell
from polymodal.metrics.detection import match_boxes
from polymodal.modalities.image_size import image_size
from polymodal.report.thumbnails import picture_uri

SIDE = 480
"""Longest side of the drawn picture, in pixels."""
TEXT_SIZE = 11
NUM_COLOURS = 8
FEW = 8
"""Up to so many found boxes all bear their label; of more, only the wrong and the missed ones do."""
LINES = "solid: found, dashed: missed, dotted: wrong, thin: the truth of those found"


@dataclass(frozen=True)
class DrawnBoxes:
    """A picture with boxes, as a cell of the gallery.

    Attributes:
        picture: The raw cell of the picture.
        truth: True boxes, ``{"label", "box"}`` in pixels of the picture.
        found: Found boxes, ``{"label", "box", "score"}``.
        labels: All labels there are, so that a label has one colour in every picture.
    """

    picture: Cell
    truth: Sequence[Any]
    found: Sequence[Any]
    labels: Sequence[str] = ()


def draw_boxes(drawn: DrawnBoxes, title: str, folder: Path | None) -> Markup:
    """Draw a picture with its boxes, one colour a label: solid where found, dashed where missed, dotted where wrong.

    Args:
        drawn: The picture and its boxes.
        title: What it shows, for those who cannot see it.
        folder: Base folder of relative paths; None: paths are not opened.

    Returns:
        SVG and a legend.

    Raises:
        CellReadError: If the picture cannot be read.
    """
    uri, shown_width, shown_height = picture_uri(drawn.picture, folder, SIDE)
    height, width = image_size(drawn.picture, folder) or (shown_height, shown_width)
    image = Markup('<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(uri, width, height)
    svg = Markup('<svg class="boxes" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        width, height, title, image, Markup("").join(_Drawing(drawn, width, height).shapes())
    )
    return svg + _legend(drawn)


class _Drawing:
    """The boxes of one picture as shapes, in pixels of the picture."""

    def __init__(self, drawn: DrawnBoxes, width: int, height: int) -> None:
        self.drawn, self.width = drawn, width
        self.unit = max(width, height) / SIDE
        self.labels = _labels(drawn)

    def shapes(self) -> list[Markup]:
        seen, right = match_boxes(self.drawn.truth, self.drawn.found)
        kinds = [("seen" if was else "missed", box) for was, box in zip(seen, self.drawn.truth, strict=True)]
        kinds += [
            ("found" if is_right else "wrong", box) for is_right, box in zip(right, self.drawn.found, strict=True)
        ]
        order = ("seen", "found", "wrong", "missed")
        return [self._shape(kind, box) for kind, box in sorted(kinds, key=lambda pair: order.index(pair[0]))]

    def _shape(self, kind: str, box: Any) -> Markup:
        left, top, right, bottom = box["box"]
        frame = Markup('x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"')
        frame = frame.format(left, top, right - left, bottom - top)
        lines = Markup('<rect class="under" {0}/><rect class="{1}" {0}/>').format(frame, kind)
        words = self._words(kind, box)
        colour = self.labels.index(str(box["label"])) % NUM_COLOURS + 1
        return Markup('<g class="c{}">{}{}</g>').format(colour, lines, self._text(words, left, top) if words else "")

    def _words(self, kind: str, box: Any) -> str:
        if kind == "missed":
            return f"missed {box['label']}"
        is_named = kind == "wrong" or (kind == "found" and len(self.drawn.found) <= FEW)
        return f"{box['label']} {100 * box.get('score', 1.0):.0f}%" if is_named else ""

    def _text(self, words: str, left: float, top: float) -> Markup:
        size = TEXT_SIZE * self.unit
        length = 0.66 * size * len(words)
        x, y = max(min(left + 2 * self.unit, self.width - length), 0.0), max(top - 3 * self.unit, size)
        return Markup('<text x="{:.1f}" y="{:.1f}" font-size="{:.1f}">{}</text>').format(x, y, size, words)


def _labels(drawn: DrawnBoxes) -> list[str]:
    met = sorted(str(box["label"]) for box in [*drawn.truth, *drawn.found])
    return list(dict.fromkeys([*map(str, drawn.labels), *met]))


def _legend(drawn: DrawnBoxes) -> Markup:
    seen, right = match_boxes(drawn.truth, drawn.found)
    entries = [Markup("<li>{}</li>").format(LINES)]
    for number, label in enumerate(_labels(drawn)):
        hits = [was for was, box in zip(seen, drawn.truth, strict=True) if str(box["label"]) == label]
        own = [is_right for is_right, box in zip(right, drawn.found, strict=True) if str(box["label"]) == label]
        if hits or own:
            counts = f"{sum(hits)} of {len(hits)} found" + (f", {own.count(False)} wrong" if not all(own) else "")
            entry = Markup('<li><span class="swatch c{}"></span><b>{}</b> {}</li>')
            entries.append(entry.format(number % NUM_COLOURS + 1, label, counts))
    return Markup('<ul class="key">{}</ul>').format(Markup("").join(entries))
