"""Small charts as inline SVG: a score with its interval for a table cell, a vector, the loudness of a sound."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from polymodal.report.charts import Point, format_tick, nice_ticks, padded_range
from polymodal.report.markers import MARKERS

MARKER_OF_KIND = {"final": 0, "fusion": 3, "stream": 1, "baseline": 2}
"""Kind of member to the shape of its dot, a place in ``MARKERS``."""


def whisker(value: float, low: float | None, high: float | None, scale: Point, kind: str, tip: str = "") -> Markup:
    """Draw a score with its interval, for a table cell.

    Args:
        value: The score.
        low: Lower end of its interval, or None.
        high: Upper end of its interval, or None.
        scale: Minimum and maximum of the axis; a score outside is drawn as an arrow at the edge.
        kind: CSS class and shape of the dot: ``final``, ``fusion``, ``stream`` or ``baseline``.
        tip: What the pointer shows.

    Returns:
        The SVG.
    """
    position, left, right = (None if v is None else _percent(v, scale) for v in (value, low, high))
    assert position is not None
    body = Markup('<line class="track" x1="0" x2="100%" y1="11" y2="11"/>')
    if left is not None and right is not None:
        body += Markup('<line class="whisker" x1="{}%" x2="{}%" y1="11" y2="11"/>').format(left, right)
    if scale[0] <= value <= scale[1]:
        dot = '<svg x="{}%" y="11" overflow="visible"><path class="dot" d="{}"><title>{}</title></path></svg>'
        body += Markup(dot).format(position, MARKERS[MARKER_OF_KIND[kind]](0.0, 0.0, 4.6), tip)
    else:
        arrow, anchor = ("◂", "start") if value < scale[0] else ("▸", "end")
        body += Markup('<text x="{}%" y="16" text-anchor="{}">{}</text>').format(position, anchor, arrow)
    return Markup('<svg class="whiskers {}" aria-hidden="true">{}</svg>').format(kind, body)


def whisker_axis(scale: Point) -> Markup:
    """Draw the axis of a column of whiskers.

    Args:
        scale: Minimum and maximum of the axis.

    Returns:
        The SVG.
    """
    texts = [
        Markup('<text x="{}%" y="14" text-anchor="middle">{}</text>').format(_percent(tick, scale), format_tick(tick))
        for tick in nice_ticks(*scale, num=5)
        if 5 <= _percent(tick, scale) <= 95
    ]
    return Markup('<svg class="whiskers axis" aria-hidden="true">{}</svg>').format(Markup("").join(texts))


def _percent(value: float, scale: Point) -> float:
    share = 100 * (value - scale[0]) / (scale[1] - scale[0])
    return round(min(max(share, 0.0), 100.0), 2)


def sparkline(values: Sequence[float], *, title: str) -> Markup:
    """Draw a vector as a sparkline.

    Args:
        values: Finite numbers, at least one.
        title: Accessible title of the line.

    Returns:
        The SVG.
    """
    low, high = padded_range(values)
    step = 240 / max(len(values) - 1, 1)
    points = " ".join(f"{i * step:.1f},{44 - 40 * (v - low) / (high - low):.1f}" for i, v in enumerate(values))
    return Markup(
        '<svg class="spark" role="img" viewBox="0 0 240 48" preserveAspectRatio="none" aria-label="{}">'
        '<polyline class="line s1" points="{}"/></svg>'
    ).format(title, points)


def waveform(peaks: Sequence[float], *, title: str) -> Markup:
    """Draw the waveform of an audio clip as mirrored bars.

    Args:
        peaks: Maximum absolute sample of each segment, 0 to 1.
        title: Accessible title of the drawing.

    Returns:
        The SVG.
    """
    path = "".join(f"M{i * 2 + 1} {24 - 22 * peak:.1f}V{24 + 22 * peak + 0.5:.1f}" for i, peak in enumerate(peaks))
    return Markup(
        '<svg class="wave" role="img" viewBox="0 0 {} 48" preserveAspectRatio="none" aria-label="{}">'
        '<path d="{}"/></svg>'
    ).format(len(peaks) * 2, title, path)
