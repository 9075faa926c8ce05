"""Drawings of sensor series and point clouds for the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.report.charts import padded_range

WIDTH, HEIGHT = 240, 48
SIDE = 118
"""Side of each of the two projections, in SVG units."""
MAX_CHANNELS = 6
MAX_STEPS = 240
MAX_POINTS = 400
OUTLIER_PERCENTILES = (0.5, 99.5)
"""Points beyond these percentiles of an axis are left out of the drawing."""


def draw_series(cell: Cell, folder: Path | None, column: str) -> Markup:
    """Draw the channels of a series on top of each other, each scaled to its range, with gaps at missing samples.

    Args:
        cell: The raw cell.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        The SVG and a note on its size.
    """
    from polymodal.modalities.series import read_series

    values = read_series(cell, folder)
    values = values if len(values) >= values.shape[1] else values.T
    length, channels = values.shape
    about = f"{length:,} samples of {_count(channels, 'channel')}"
    subsampled = values[:: -(-length // MAX_STEPS), :MAX_CHANNELS]
    lines = [series_line(subsampled[:, place], place + 1) for place in range(subsampled.shape[1])]
    drawing = Markup(
        '<svg class="spark" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, f"{about} in column {column}", Markup("").join(lines))
    return drawing + Markup('<span class="note">{}</span>').format(about)


def series_line(values: NDArray[np.float64], number: int) -> Markup:
    """Draw one channel of a series as a line, with gaps at missing samples.

    Args:
        values: float64 ``[steps]``.
        number: Number of its colour and dash, from 1.

    Returns:
        An SVG path in a drawing of ``WIDTH`` by ``HEIGHT``.
    """
    present = np.isfinite(values)
    low, high = padded_range(values[present].tolist() or [0.0])
    step = WIDTH / max(len(values) - 1, 1)
    heights = np.where(present, HEIGHT - 4 - (HEIGHT - 8) * (np.where(present, values, low) - low) / (high - low), 0)
    starts_segment = present & ~np.concatenate([[False], present[:-1]])
    coordinates = [
        f"{'M' if starts_segment[i] else 'L'}{i * step:.1f} {heights[i]:.1f}{'h.1' if starts_segment[i] else ''}"
        for i in np.flatnonzero(present)
    ]
    return Markup('<path class="line s{}" d="{}"/>').format(number, "".join(coordinates))


def draw_points(cell: Cell, folder: Path | None, column: str) -> Markup:
    """Draw the points of all frames, from above and from the side.

    Args:
        cell: The raw cell.
        folder: Base folder of relative paths; None: paths are not opened.
        column: Name of the column.

    Returns:
        The SVG and a note on its size.
    """
    from polymodal.modalities.point_clouds import read_point_clouds

    frames = read_point_clouds(cell, folder)
    points = np.concatenate([frame[:, :3] for frame in frames])
    points = points[np.isfinite(points).all(axis=1)]
    about = f"{_count(len(points), 'point')}" + (f" in {len(frames)} frames" if len(frames) > 1 else "")
    axes = [(0, 1), (0, 2)] if points.shape[1] > 2 else [(0, 1)]
    subsampled = points[:: max(1, -(-len(points) // MAX_POINTS))]
    projections = [_projection(subsampled[:, pair], place * (SIDE + 4)) for place, pair in enumerate(axes)]
    title = f"{about} in column {column}: x and y from above" + (", x and z from the side" if len(axes) > 1 else "")
    drawing = Markup('<svg class="dots" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>').format(
        2 * SIDE + 4, SIDE, title, Markup("").join(projections)
    )
    return drawing + Markup('<span class="note">{}; from above{}</span>').format(
        about, " and from the side" if len(axes) > 1 else ""
    )


def _projection(coordinates: NDArray[np.float64], left: int) -> Markup:
    """Draw a scatter of two coordinates at the same scale."""
    low, high = np.percentile(coordinates, OUTLIER_PERCENTILES, axis=0)
    inside = ((coordinates >= low) & (coordinates <= high)).all(axis=1)
    value_range = max(float((high - low).max()), 1e-9)
    scaled = (coordinates[inside] - (low + high) / 2) / value_range * (SIDE - 8)
    dots = "".join(f"M{left + SIDE / 2 + x:.1f} {SIDE / 2 - y:.1f}h.1" for x, y in scaled)
    frame = Markup('<rect x="{}" y="0" width="{}" height="{}" rx="3"/>').format(left, SIDE, SIDE)
    return frame + Markup('<path d="{}"/>').format(dots)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
