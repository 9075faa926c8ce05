"""A small map of the world with one place on it, for the report's gallery."""

from __future__ import annotations

from markupsafe import Markup

from polymodal.arrays import Cell
from polymodal.modalities.geo import read_place

LEFT, TOP, WIDTH, HEIGHT = 32, 4, 216, 108
"""The map in the drawing's units; 0.6 of them are a degree."""
UNITS_PER_DEGREE = WIDTH / 360
LABELLED = (-120, 0, 120)

LAND = (
    "M-78-7l-6-1-4-5-16-5-11-14 6 9-3-2-12-15-1-8 2 1 0-2-11-9-13-3-5 2 1-2-7 5-7 2 8-5-8-1 4-5-7-1 6 0-5-2 10-3 61 4"
    " 2-2-2-2 2-1 7 5 1-3 5 1-13 8 2 4 10 2 2 4 0-4 3-2-1-5 4 0 6 4 3-2 9 7-4 3-6 0-5 3 6-2 1 3 4 0-5 3 0-2-2 0-9 8 0"
    "-2 0 3-5 5 1 6-6-5-11 3 1 8 9-3-2 6 6 1 1 6 5 0 5-3 0 3 2-3 8 1 5 5 6 2 1 4 15 5-6 17-7 3-6 9-4 0 0 4-7 3 2 2-4"
    " 3 1 2-5 6-4-2-1-5 3-5-1 1 4-23-11-14 0-5 4-5zM-180-69l10 3-10 1zM-105-73l4 3-12 2-4-2 4 0-6-2zM-117-74l-3 3-6-1"
    " 1-2zM-106-76l-6 2-6-1 3-2zM-82-74l-15-3 17 2zM-97-80l5-1 6 2-7 1zM-49 78l6 2-11 1zM-75 72l5-3 2 2zM-75 53l10 2"
    "-4 1zM-8-4l-10-11 2-9 10-12 16-1 0 3 9 4 3-3 12 2 2-6-8 0-2-2 8-3 8 0-5-3 2-2-5 3-3-3-3 4 1 2-6 1 1 2-2 2-3-6-6"
    "-4 6 6-3 2-7-6-6 1-5 6-7 0 0-6 8-1-4-5 13-5 1-3 2-1 0 4 9 0 2-3 2 0-1-2 6-1-8-1 1-2 3-2-1-1-6 3 1 3-3 4-3 1-3-4"
    "-4 0-1-3 14-8 9-1 13 4-8 0 4 3 7-2-1-3 3 2 15-3 8 2-2-3 3-2 3 1-1 6 3-2-2-3 2-2 6 1-1-2 24-4 10 2-4 2 17 0 4 3 9"
    "-2 40 4 0 4-2 0 1 3-15 2-2 5-5 4-1-6 8-5-7 1-2 2-13 0-7 4 6 3-3 6-10 6 1 5-3 1-1-6-4 1 1-2-4 2 4 2-3 2 3 7-6 5"
    "-10 3 3 7-4 4-5-4-1 4 5 8-6-7-1-9-3 1-3-7-11 7-2 8-5-13-3 0-4-4-9-1-1-1-5-1-1-2-2 0 4 6 4-2 4 4-5 5-12 4-8-16-1"
    " 1-2-2 11 18 8 1-12 16 1 11-5 4 1 4-10 10-8 0-3-7-3-9 2-7-5-10 0-5-5-2zM-56-50l3 1 0 2-6-1 4-4zM-24-66l10 1-5 2z"
    "M-86-74l17 3 2 2-2 0 7 2-2 2-4-1 3 3-4 1-10-3 5 0 1-3-17-4zM-63-82l36-2 6 1-11 1 20 1-7 1 1 3-3 0 2 3-6 2 3 1-4"
    " 1 4 0-18 5-3 5-9-4-2-3 3-3-4 0 3-1-4-1-3-3-14-3zM-92-82l13-1 17 0-14 4-5 3-9 0 5-2-3 0 3-1-2-1 5 0zM180 85l0 5"
    "-360 0 1-6 36 1-11-1 1-2-4-1 10-1-11-3 23-3 35 1-4-2 29 1 8-2-1-5 4-2 6-2-8 5 5 6-16 3 3 1-4 1 20 4 29-3-7-2 29"
    "-7 46-1 16-4 14 2-1 4 2 0 18-6 32 1 15-2 36 7-7 4 3 3-7 2zM-5-50l2-4-3-3 3-2 4 8zM10-80l12 1-6 2zM49 12l-2 13-3"
    " 0 0-9zM105 7l8 0 3 1zM104 1l2 5-11-12 3 1zM119-5l-3 9-6-1-1-4 8-6zM56-75l10-2 3 0-11 3-3 2 3 1-6 0zM100-80l-2 1"
    "-7-1 5-1zM167 46l7-5-3 5zM175 42l0-5-2-3 6 4zM131 32l-16 2-1-12 7-2 5-6 4 1 2-4 5 1-1 3 4 3 3-7 3 8 7 7-3 11-4 2"
    "-5-1-4-3 1-2-2 2zM141 3l7 3 3 5-6-3-7 0 0-3-8-4 4 0 1 2zM120-1l4 1-4 0 3 1-1 1 1 3-2-2-2 2zM140-35l-9 1-1 3-1-2"
    " 7-3 5-5z"
)
"""Outlines in whole degrees, x to the east and y to the south: Natural Earth 1:110m (public domain), simplified."""


def draw_place(cell: Cell, column: str) -> Markup:
    """Draw a place on a map of the world whose parallels and meridians are straight (plate carrée).

    Args:
        cell: The raw cell.
        column: Name of the column.

    Returns:
        The SVG and a note with latitude and longitude.

    Raises:
        CellReadError: If the cell is no place.
    """
    latitude, longitude = read_place(cell) or (0.0, 0.0)
    about = f"{_side(latitude, 'N', 'S')}, {_side(longitude, 'E', 'W')}"
    land = Markup('<path class="land" transform="translate({} {}) scale({})" d="{}"/>').format(
        _x(0), _y(0), UNITS_PER_DEGREE, LAND
    )
    dot = Markup('<circle cx="{}" cy="{}" r="4.5"/>').format(_x(longitude), _y(latitude))
    drawing = Markup('<svg class="chart place" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>').format(
        LEFT + WIDTH + 5, TOP + HEIGHT + 15, f"{about} in column {column}", _sea() + land + _graticule() + dot
    )
    return drawing + Markup('<span class="note">{}</span>').format(about)


def _sea() -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}"/>').format(LEFT, TOP, WIDTH, HEIGHT)


def _graticule() -> Markup:
    meridians = [f"M{_x(degrees)} {TOP}v{HEIGHT}" for degrees in range(-150, 180, 30)]
    parallels = [f"M{LEFT} {_y(degrees)}h{WIDTH}" for degrees in range(-60, 90, 30)]
    lines = Markup('<path class="grid" d="{}"/>').format("".join(meridians + parallels))
    below = [_label(_x(degrees), TOP + HEIGHT + 12, degrees, "E", "W", "middle") for degrees in LABELLED]
    beside = [_label(LEFT - 4, _y(degrees) + 4, degrees, "N", "S", "end") for degrees in (-60, 0, 60)]
    return lines + Markup("").join(below + beside)


def _label(x: float, y: float, degrees: int, positive: str, negative: str, anchor: str) -> Markup:
    letter = "" if not degrees else positive if degrees > 0 else negative
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}°{}</text>').format(x, y, anchor, abs(degrees), letter)


def _side(degrees: float, positive: str, negative: str) -> str:
    return f"{abs(degrees):.4f}".rstrip("0").rstrip(".") + f"° {negative if degrees < 0 else positive}"


def _x(longitude: float) -> float:
    return round(LEFT + (longitude + 180) * UNITS_PER_DEGREE, 1)


def _y(latitude: float) -> float:
    return round(TOP + (90 - latitude) * UNITS_PER_DEGREE, 1)
