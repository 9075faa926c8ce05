"""Heat behind the channels of a series, on the points of a cloud and behind the numbers of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import Part
from polymodal.report.gallery_sensors import (
    HEIGHT,
    MAX_POINTS,
    MAX_STEPS,
    OUTLIER_PERCENTILES,
    SIDE,
    WIDTH,
    series_line,
)
from polymodal.report.heat import Heat

MAX_CHANNELS = 12
"""Channels of a series that are drawn: those with the most heat."""
MOST_OPAQUE = 0.7
LEAST_OPAQUE = 0.35
"""Of a point with heat."""
MARK = 2.2
"""Half the length of the strokes of a point that speaks against the answer, in SVG units."""


def draw_series_heat(cell: Cell, parts: Sequence[Part], heat: Heat, folder: Path | None) -> Markup:
    """Draw the channels of a series below each other, with heat behind each.

    Args:
        cell: The raw cell.
        parts: Parts with ``steps`` and ``channel``; those without a channel lie behind all.
        heat: The scale.
        folder: Base folder of relative paths; None: paths are not opened.

    Returns:
        Safe HTML.

    Raises:
        CellReadError: If there is no readable series.
    """
    from polymodal.modalities.series import read_series

    values = read_series(cell, folder)
    values = values if len(values) >= values.shape[1] else values.T
    by_channel = _by_channel(parts, values.shape[1])
    strongest = sorted(by_channel, key=lambda channel: -sum(abs(part.value) for part in by_channel[channel]))
    shown = sorted(strongest[:MAX_CHANNELS])
    lanes = [_lane(f"channel {channel}", values[:, channel], by_channel[channel], heat) for channel in shown]
    about = f"{len(values):,} samples" + (
        f"; the {len(shown)} of {values.shape[1]} channels with the most heat" if len(shown) < values.shape[1] else ""
    )
    note = Markup('<span class="note">{}</span>').format(about)
    return Markup('<div class="heated lanes">{}</div>{}').format(Markup("").join(lanes), note)


def _by_channel(parts: Sequence[Part], num_channels: int) -> dict[int, list[Part]]:
    """Return the parts of each channel, from 0; a part of several channels lies behind each of them."""
    found: dict[int, list[Part]] = {channel: [] for channel in range(num_channels)}
    for part in parts:
        for channel in _channels(part, num_channels):
            found[channel].append(part)
    return found


def _channels(part: Part, num_channels: int) -> range:
    """Return the channels of a part: a number from 0, the first and the last of several as ``2-5``, or all."""
    first, _, last = str(part.place.get("channel", f"0-{num_channels}")).partition("-")
    return range(int(first), min(int(last or first) + 1, num_channels))


def _lane(name: str, values: NDArray[np.float64], parts: Sequence[Part], heat: Heat) -> Markup:
    spans = [_span(part, "steps") for part in parts]
    drawn = _behind(spans, float(len(values)), heat) + series_line(values[:: -(-len(values) // MAX_STEPS)], 6)
    svg = '<svg class="spark over" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    drawing = Markup(svg).format(WIDTH, HEIGHT, f"{name}, with heat", drawn)
    return Markup('<div class="lane"><span class="column">{}</span>{}</div>').format(name, drawing)


def _span(part: Part, key: str) -> tuple[Part, float, float]:
    start, end = part.place[key]
    return part, float(start), float(end)


def _behind(spans: Sequence[tuple[Part, float, float]], length: float, heat: Heat) -> Markup:
    drawn = []
    for part, start, end in spans:
        side = heat.side(part.value)
        left, right = (round(WIDTH * min(edge / length, 1.0), 2) for edge in (start, end))
        opacity = round(MOST_OPAQUE * heat.strength(part.value), 2) if side else 0
        rect = '<rect class="{}" x="{}" y="0" width="{}" height="{}" fill-opacity="{}"><title>{}: {}</title></rect>'
        tip = heat.text(part.value)
        drawn.append(Markup(rect).format(side, left, round(right - left, 2), HEIGHT, opacity, part.label, tip))
        if side == "against":
            line = Markup('<path class="lines" d="M{} {}L{} 0" stroke-opacity="{}"/>')
            drawn.append(line.format(left, HEIGHT, right, opacity))
    return Markup('<g class="parts">{}</g>').format(Markup("").join(drawn))


def draw_vector_heat(cell: Cell, parts: Sequence[Part], heat: Heat, folder: Path | None, column: str) -> Markup:
    """Draw the numbers of a vector as a line, with heat behind its ranges.

    Args:
        cell: The raw cell.
        parts: Parts with ``range``.
        heat: The scale.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        Safe HTML.

    Raises:
        CellReadError: If there is no readable vector.
    """
    from polymodal.modalities.vector import read_vector

    numbers = read_vector(cell, folder)
    spans = [_span(part, "range") for part in parts]
    drawn = _behind(spans, float(numbers.size), heat) + series_line(numbers[:: -(-numbers.size // MAX_STEPS)], 6)
    svg = '<svg class="spark over" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    label = f"{numbers.size} numbers in column {column}, with heat"
    drawing = Markup(svg).format(WIDTH, HEIGHT, label, drawn)
    note = Markup('<span class="note">{} numbers</span>').format(numbers.size)
    return Markup('<div class="heated lanes">{}</div>{}').format(drawing, note)


def draw_points_heat(cell: Cell, parts: Sequence[Part], heat: Heat, folder: Path | None, column: str) -> Markup:
    """Draw the points of all frames from above and from the side: dots where they speak for it, crosses against.

    Args:
        cell: The raw cell.
        parts: Parts with a ``box`` of coordinates, two corners.
        heat: The scale.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        Safe HTML.

    Raises:
        CellReadError: If there are no readable points.
    """
    from polymodal.modalities.point_clouds import read_point_clouds

    frames = read_point_clouds(cell, folder)
    points = np.concatenate([frame[:, :3] for frame in frames])
    points = points[np.isfinite(points).all(axis=1)]
    drawn_points = points[:: max(1, -(-len(points) // (2 * MAX_POINTS)))]
    left_out = f"{len(drawn_points):,} of {len(points):,} points; " if len(drawn_points) < len(points) else ""
    points = drawn_points
    groups = _groups(points, parts)
    axes = [(0, 1), (0, 2)] if points.shape[1] > 2 else [(0, 1)]
    drawn = [_projection(points, pair, groups, heat, place * (SIDE + 4)) for place, pair in enumerate(axes)]
    about = "x and y from above" + (", x and z from the side" if len(axes) > 1 else "")
    title = f"Points in column {column} with heat: {about}"
    svg = '<svg class="dots over" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>'
    drawing = Markup(svg).format(len(axes) * (SIDE + 4) - 4, SIDE, title, Markup("").join(drawn))
    note = Markup('<span class="note">{}{}; dots speak for it, crosses against it, grey: neither</span>')
    note = note.format(left_out, about)
    return Markup('<div class="heated cloud-heat">{}</div>{}').format(drawing, note)


def _groups(points: NDArray[np.float64], parts: Sequence[Part]) -> list[tuple[Part | None, NDArray[np.bool_]]]:
    """Return the points of each part, and those of none; a point on the edge of two belongs to the first."""
    free, groups = np.ones(len(points), bool), []
    for part in parts:
        low, high = (np.asarray(corner, np.float64)[: points.shape[1]] for corner in part.place["box"])
        inside = free & ((points[:, : len(low)] >= low) & (points[:, : len(high)] <= high)).all(axis=1)
        groups.append((part, inside))
        free &= ~inside
    return [(None, free), *groups]


def _projection(
    points: NDArray[np.float64],
    axes: tuple[int, int],
    groups: Sequence[tuple[Part | None, NDArray[np.bool_]]],
    heat: Heat,
    left: int,
) -> Markup:
    coordinates = points[:, axes]
    low, high = np.percentile(coordinates, OUTLIER_PERCENTILES, axis=0)
    visible = ((coordinates >= low) & (coordinates <= high)).all(axis=1)
    extent = max(float((high - low).max()), 1e-9)
    scaled = (coordinates - (low + high) / 2) / extent * (SIDE - 8)
    frame = Markup('<rect class="ground" x="{}" y="0" width="{}" height="{}" rx="3"/>').format(left, SIDE, SIDE)
    drawn = [_points(scaled[members & visible], part, heat, left) for part, members in groups]
    return frame + Markup("").join(drawn)


def _points(places: NDArray[np.float64], part: Part | None, heat: Heat, left: int) -> Markup:
    if not len(places):
        return Markup("")
    side = heat.side(part.value) if part else ""
    shape = f"m-{MARK / 2} -{MARK / 2}l{MARK} {MARK}m-{MARK} 0l{MARK} -{MARK}" if side == "against" else "h.1"
    path = "".join(f"M{left + SIDE / 2 + x:.1f} {SIDE / 2 - y:.1f}{shape}" for x, y in places)
    opacity = round(LEAST_OPAQUE + MOST_OPAQUE * heat.strength(part.value), 2) if part and side else 0.4
    tip = f"{part.label}: {heat.text(part.value)}" if part else "in no part"
    drawn = '<path class="points {}" d="{}" stroke-opacity="{}"><title>{}</title></path>'
    return Markup(drawn).format(side, path, min(opacity, 1.0), tip)
