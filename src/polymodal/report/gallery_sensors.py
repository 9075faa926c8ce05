"""Small drawings of sensor series and point clouds for the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.report.charts import padded_range

WIDTH, HEIGHT = 240, 48
SIDE = 118
"""Side of each of the two views of a cloud, in the drawing's units."""
MAX_CHANNELS = 6
MAX_STEPS = 240
MAX_POINTS = 400
TAILS = (0.5, 99.5)
"""Points beyond these percentiles of an axis are left out of the drawing, so that the others fill it."""


def draw_series(cell: Cell, folder: Path | None, column: str) -> Markup:
    """Draw the channels of a series over each other, each over its own range, broken where samples are missing.

    Args:
        cell: The raw cell.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        The SVG and a line about its size.
    """
    from polymodal.modalities.series import read_series

    values = read_series(cell, folder)
    values = values if len(values) >= values.shape[1] else values.T
    length, channels = values.shape
    about = f"{length:,} samples of {_count(channels, 'channel')}"
    picked = values[:: -(-length // MAX_STEPS), :MAX_CHANNELS]
    lines = [_line(picked[:, place], place + 1) for place in range(picked.shape[1])]
    drawing = Markup(
        '<svg class="spark" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, f"{about} in column {column}", Markup("").join(lines))
    return drawing + Markup('<span class="note">{}</span>').format(about)


def _line(values: NDArray[np.float64], number: int) -> Markup:
    present = np.isfinite(values)
    low, high = padded_range(values[present].tolist() or [0.0])
    step = WIDTH / max(len(values) - 1, 1)
    heights = np.where(present, HEIGHT - 4 - (HEIGHT - 8) * (np.where(present, values, low) - low) / (high - low), 0)
    begins = present & ~np.concatenate([[False], present[:-1]])
    places = [
        f"{'M' if begins[i] else 'L'}{i * step:.1f} {heights[i]:.1f}{'h.1' if begins[i] else ''}"
        for i in np.flatnonzero(present)
    ]
    return Markup('<path class="line s{}" d="{}"/>').format(number, "".join(places))


def draw_points(cell: Cell, folder: Path | None, column: str) -> Markup:
    """Draw a cloud, or all clouds of a sequence together, from above and from the side.

    Args:
        cell: The raw cell.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        The SVG and a line about its size.
    """
    from polymodal.modalities.point_clouds import read_point_clouds

    frames = read_point_clouds(cell, folder)
    points = np.concatenate([frame[:, :3] for frame in frames])
    points = points[np.isfinite(points).all(axis=1)]
    about = f"{_count(len(points), 'point')}" + (f" in {len(frames)} frames" if len(frames) > 1 else "")
    axes = [(0, 1), (0, 2)] if points.shape[1] > 2 else [(0, 1)]
    shown = points[:: max(1, -(-len(points) // MAX_POINTS))]
    views = [_view(shown[:, pair], place * (SIDE + 4)) for place, pair in enumerate(axes)]
    title = f"{about} in column {column}: x and y from above" + (", x and z from the side" if len(axes) > 1 else "")
    drawing = Markup('<svg class="dots" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>').format(
        2 * SIDE + 4, SIDE, title, Markup("").join(views)
    )
    return drawing + Markup('<span class="note">{}; from above{}</span>').format(
        about, " and from the side" if len(axes) > 1 else ""
    )


def _view(places: NDArray[np.float64], left: int) -> Markup:
    """Draw two coordinates at one scale, the first to the right, the second upwards."""
    low, high = np.percentile(places, TAILS, axis=0)
    inside = ((places >= low) & (places <= high)).all(axis=1)
    reach = max(float((high - low).max()), 1e-9)
    scaled = (places[inside] - (low + high) / 2) / reach * (SIDE - 8)
    dots = "".join(f"M{left + SIDE / 2 + x:.1f} {SIDE / 2 - y:.1f}h.1" for x, y in scaled)
    frame = Markup('<rect x="{}" y="0" width="{}" height="{}" rx="3"/>').format(left, SIDE, SIDE)
    return frame + Markup('<path d="{}"/>').format(dots)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
