"""Charts of two distributions, one over the other: the training rows and new rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from polymodal.report.charts import Point, format_tick, nice_ticks

WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 8, 38
MAX_TICKS = 5


def pair_histogram(
    edges: Sequence[float],
    before: Sequence[float],
    after: Sequence[float],
    *,
    title: str,
    x_label: str,
    write: Callable[[float], str] = format_tick,
) -> Markup:
    """Draw two histograms in the same bins: the first one filled, the second one as an outline.

    Args:
        edges: Edges of the bins, rising, one more than bins.
        before: Share of the first sample in each bin.
        after: Share of the second sample in each bin.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.
        write: Writes a value of the horizontal axis.

    Returns:
        The SVG.
    """
    scale, top = (edges[0], edges[-1]), max(*before, *after, 0.01) * 1.06
    base = HEIGHT - BOTTOM
    lefts = [_x(edge, scale) for edge in edges]
    bars, outline = [], f"M{lefts[0]} {base}"
    for number, (first, second) in enumerate(zip(before, after, strict=True)):
        left, right = lefts[number], lefts[number + 1]
        tip = f"{write(edges[number])} to {write(edges[number + 1])}: training {first:.1%}, new {second:.1%}"
        bars.append(_bar(left, right, _y(first, top), _y(max(first, second), top), base, tip))
        outline += f"V{_y(second, top)}H{right}"
    axis = _axes(scale, top, x_label, write)
    line = Markup('<path class="after" d="{}V{}"/>').format(outline, base)
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}">').format(WIDTH, HEIGHT, title)
    return head + axis + Markup("").join(bars) + line + Markup("</svg>")


def _x(value: float, scale: Point) -> float:
    return round(LEFT + (value - scale[0]) / (scale[1] - scale[0]) * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - share / top * (HEIGHT - TOP - BOTTOM), 1)


def _bar(left: float, right: float, first: float, highest: float, base: float, tip: str) -> Markup:
    """Draw a filled bar, and around both values what the pointer finds."""
    width = round(max(right - left - 0.6, 0.5), 1)
    drawn = '<rect class="before" x="{}" y="{}" width="{}" height="{}"/>'
    found = '<rect class="touch" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    return Markup(drawn).format(left, first, width, round(base - first, 1)) + Markup(found).format(
        left, highest, width, round(max(base - highest, 1), 1), tip
    )


def _axes(scale: Point, top: float, x_label: str, write: Callable[[float], str]) -> Markup:
    base, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in nice_ticks(0.0, top, num=4):
        level = _y(tick, top)
        parts.append(Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, level, end, level))
        parts.append(_text(LEFT - 5, level + 4, f"{100 * tick:.3g}%", "end"))
    for tick in _ticks(scale, write):
        parts.append(_text(_x(tick, scale), base + 15, write(tick), "middle"))
    parts.append(Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, base, end, base))
    parts.append(_text((LEFT + end) / 2, HEIGHT - 5, x_label, "middle"))
    return Markup("").join(parts)


def _ticks(scale: Point, write: Callable[[float], str]) -> list[float]:
    """Return round positions, fewer where their texts are long."""
    ticks = nice_ticks(*scale, num=MAX_TICKS)
    longest = max((len(write(tick)) for tick in ticks), default=0)
    room = max(1, (WIDTH - LEFT - RIGHT) // max(7 * longest + 12, 1))
    return ticks[:: -(-len(ticks) // room)]


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(round(x, 1), y, anchor, text)
