"""The chart of a compression: what each model loses against what it costs, as inline SVG or as a file of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from polymodal.report.charts import PlotArea, format_tick, nice_ticks, padded_range
from polymodal.report.markers import MARKERS

CLIPPED_LIMITS, LEAST_CLIPPED = 6.0, 3.0
"""A model that loses more than so many times what is allowed, or so many points, is drawn at the upper edge: it is of
no use, and would flatten all others."""
STYLE = """<style>
svg { background: #fff; font: 12px system-ui, sans-serif; }
text { fill: #444; } .grid { stroke: #e6e6e6; } .axis { stroke: #888; }
.reference { stroke: #b00; stroke-dasharray: 4 3; } .whisker { stroke: #999; }
.front { fill: none; stroke: #999; stroke-dasharray: 2 3; }
.dot { stroke: #fff; } .chosen { stroke: #000; stroke-width: 2; }
.s1 { fill: #4269d0; } .s2 { fill: #d48a00; } .s3 { fill: #3a8a4d; } .s4 { fill: #a463c9; } .s5 { fill: #d6455d; }
</style>"""


@dataclass(frozen=True, kw_only=True)
class ParetoPoint:
    """One model of the chart.

    Attributes:
        x: What it costs; above 0.
        y: Points lost.
        low: Lower end of the interval of the points lost.
        high: Upper end.
        kind: How it was made; each kind has a colour.
        tip: What the pointer shows.
        is_chosen: Whether it is the chosen one.
        is_front: Whether it is on the Pareto front.
    """

    x: float
    y: float
    low: float
    high: float
    kind: str
    tip: str
    is_chosen: bool = False
    is_front: bool = False


def pareto_chart(
    points: Sequence[ParetoPoint],
    *,
    title: str,
    x_label: str,
    y_label: str,
    y_limit: float,
    x_limit: float | None = None,
) -> Markup:
    """Draw points lost against a cost on a logarithmic axis.

    Args:
        points: The models, at least one.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        y_limit: Most points that may be lost, a line.
        x_limit: Most that it may cost, a line; None: there is no limit.

    Returns:
        Legend and SVG.
    """
    finite = [point for point in points if math.isfinite(point.y) and point.x > 0]
    if not finite:
        return Markup("")
    xs = [math.log10(point.x) for point in finite] + ([math.log10(x_limit)] if x_limit else [])
    most = max(CLIPPED_LIMITS * y_limit, LEAST_CLIPPED)
    finite = [replace(point, y=min(point.y, most)) for point in finite]
    y_range = padded_range([*(point.y for point in finite), y_limit, 0.0], share=0.12)
    plot = PlotArea(padded_range(xs), y_range, width=620, height=300)
    kinds = list(dict.fromkeys(point.kind for point in points))
    parts = [_axes(plot, x_label, y_label), _limits(plot, y_limit, x_limit), _front(plot, finite)]
    parts += [_dot(plot, point, kinds.index(point.kind) + 1) for point in finite]
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}">').format(
        plot.width, plot.height, title
    )
    return _legend(kinds) + head + Markup("").join(parts) + Markup("</svg>")


def standalone_svg(chart: Markup) -> str:
    """Turn a chart into an SVG file.

    Args:
        chart: What ``pareto_chart`` returned.

    Returns:
        The SVG with its own styles.
    """
    svg = str(chart)[str(chart).index("<svg") :] if "<svg" in chart else "<svg>"
    if "</svg>" not in svg:
        svg += "</svg>"
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    end = svg.index(">") + 1
    return f"{svg[:end]}{STYLE}{svg[end:]}\n"


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between two logarithms."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _axes(plot: PlotArea, x_label: str, y_label: str) -> Markup:
    base, end = plot.height - plot.bottom, plot.width - plot.right
    parts = []
    for tick in nice_ticks(*plot.y_range):
        parts += [_line("grid", plot.left, plot.y(tick), end, plot.y(tick))]
        parts += [_text(plot.left - 6, plot.y(tick) + 4, format_tick(tick), "end")]
    parts += [_text(plot.x(math.log10(t)), base + 16, format_tick(t), "middle") for t in _log_ticks(*plot.x_range)]
    parts += [_line("axis", plot.left, base, end, base)]
    parts += [_text((plot.left + end) / 2, plot.height - 6, x_label, "middle")]
    middle = (plot.top + base) / 2
    label = '<text x="12" y="{}" text-anchor="middle" transform="rotate(-90 12 {})">{}</text>'
    return Markup("").join([*parts, Markup(label).format(middle, middle, y_label)])


def _limits(plot: PlotArea, y_limit: float, x_limit: float | None) -> Markup:
    base, end, level = plot.height - plot.bottom, plot.width - plot.right, plot.y(y_limit)
    parts = [_line("reference", plot.left, level, end, level), _text(end, level - 5, "allowed", "end")]
    if x_limit:
        place = plot.x(math.log10(x_limit))
        parts += [_line("reference", place, plot.top, place, base), _text(place - 5, plot.top + 10, "limit", "end")]
    return Markup("").join(parts)


def _front(plot: PlotArea, points: Sequence[ParetoPoint]) -> Markup:
    """Connect the points that lose least for what they cost on this axis."""
    path, least = [], math.inf
    for point in sorted(points, key=lambda one: (one.x, one.y)):
        if point.y < least:
            least = point.y
            path.append(_place(plot, point))
    steps = " ".join(f"{'L' if step else 'M'}{x} {y}" for step, (x, y) in enumerate(path))
    return Markup('<path class="front line reference" d="{}"/>').format(steps)


def _place(plot: PlotArea, point: ParetoPoint) -> tuple[float, float]:
    return plot.x(math.log10(point.x)), plot.y(point.y)


def _dot(plot: PlotArea, point: ParetoPoint, colour: int) -> Markup:
    x, y = _place(plot, point)
    low, high = (plot.y(min(max(bound, plot.y_range[0]), plot.y_range[1])) for bound in (point.low, point.high))
    whisker = _line("whisker axis", x, low, x, high) if point.is_chosen or point.is_front else Markup("")
    mark = '<path class="dot s{}{}" d="{}"><title>{}</title></path>'
    name, shape = " chosen" if point.is_chosen else "", MARKERS[(colour - 1) % len(MARKERS)]
    return whisker + Markup(mark).format(colour, name, shape(x, y, 6.5 if point.is_chosen else 4.5), point.tip)


def _legend(kinds: Sequence[str]) -> Markup:
    swatch = (
        '<li><svg class="swatch" viewBox="0 0 30 10" aria-hidden="true"><path class="dot s{}" d="{}"/></svg>{}</li>'
    )
    marks = [MARKERS[place % len(MARKERS)](15, 5, 3.5) for place in range(len(kinds))]
    entries = [Markup(swatch).format(place + 1, mark, kinds[place]) for place, mark in enumerate(marks)]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(entries))


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
