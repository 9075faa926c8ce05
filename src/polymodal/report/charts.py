"""Charts as inline SVG, styled by the report's style sheet.

No plotting library is needed: a chart is a few kilobytes and follows the page's light or dark theme.
Every text goes through ``Markup.format``, which escapes it. What a mark says about itself is its ``title``: browsers
show it, and the page's script shows it at once, also where the pointer is only near.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polymodal.report.markers import MARKERS
from polymodal.report.wording import is_number

NUM_COLOURS = 8
"""Series colours (``.s1`` ... ``.s8``) in the style sheet."""

MAX_MARKED = 40
"""Lines of more points are drawn without markers; the pointer finds their points all the same."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a line chart.

    Attributes:
        name: Its label in the legend.
        points: ``(x, y)`` in data units; points that are not finite are left out.
        tips: What the pointer shows at each point, after the line's name; None: both values.
    """

    name: str
    points: Sequence[Point]
    tips: Sequence[str] | None = None


@dataclass(frozen=True)
class PlotArea:
    """The plot area of a chart and its data range.

    Attributes:
        x_range: Minimum and maximum x.
        y_range: Minimum and maximum y.
        width: Width of the whole drawing, in SVG units.
        height: Height of the whole drawing, in SVG units.
    """

    x_range: Point
    y_range: Point
    width: int = 460
    height: int = 250

    left, right, top, bottom = 58, 20, 10, 40

    def x(self, value: float) -> float:
        """Return the x coordinate of a data value."""
        low, high = self.x_range
        return round(self.left + (value - low) / (high - low) * (self.width - self.left - self.right), 1)

    def y(self, value: float) -> float:
        """Return the y coordinate of a data value."""
        low, high = self.y_range
        share = (value - low) / (high - low)
        return round(self.height - self.bottom - share * (self.height - self.top - self.bottom), 1)


def nice_ticks(low: float, high: float, num: int = 6) -> list[float]:
    """Return round numbers between two values.

    Args:
        low: Least value.
        high: Greatest value.
        num: Approximate number of ticks.

    Returns:
        Multiples of 1, 2, 2.5 or 5 times a power of ten, ascending.
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(num, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def padded_range(values: Sequence[float], share: float = 0.06) -> Point:
    """Return a range that contains all values with padding; its width is never zero.

    Args:
        values: Finite numbers, at least one.
        share: Padding on each side, as a share of the range.

    Returns:
        Minimum and maximum to show.
    """
    low, high = min(values), max(values)
    padding = (high - low) * share or abs(high) * 0.1 or 0.5
    return low - padding, high + padding


def format_tick(value: float) -> str:
    """Format a tick label."""
    if abs(value) >= 1e6:
        return f"{value:.3g}".replace("e+0", "e").replace("-", "−")
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}").replace("-", "−")


def _short(value: float) -> str:
    return format_tick(float(f"{value:.4g}"))


def _svg(plot: PlotArea, title: str, *parts: Markup) -> Markup:
    head = Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" aria-label="{}">').format(
        plot.width, plot.height, title
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _text(x: float, y: float, text: str, anchor: str = "middle", rotate: bool = False) -> Markup:
    turn = Markup(' transform="rotate(-90 {} {})"').format(x, y) if rotate else Markup("")
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(x, y, anchor, turn, text)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _axes(plot: PlotArea, x_label: str, y_label: str, x_ticks: Sequence[float], percent: bool = False) -> Markup:
    base, end = plot.height - plot.bottom, plot.width - plot.right
    parts = []
    for tick in nice_ticks(*plot.y_range):
        parts += [_line("grid", plot.left, plot.y(tick), end, plot.y(tick))]
        parts += [_text(plot.left - 6, plot.y(tick) + 4, format_tick(tick), "end")]
    for tick in x_ticks:
        parts += [_text(plot.x(tick), base + 16, f"{100 * tick:.0f}%" if percent else format_tick(tick))]
    parts += [_line("axis", plot.left, base, end, base)]
    parts += [_text((plot.left + end) / 2, plot.height - 6, x_label)]
    parts += [_text(12, (plot.top + base) / 2, y_label, rotate=True)] if y_label else []
    return Markup("").join(parts)


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup("")
    swatch = '<svg class="swatch" viewBox="0 0 30 10" aria-hidden="true"><path class="line s{}" d="M1 5H29"/>{}</svg>'
    item = Markup("<li>" + swatch + "{}</li>")
    items = [item.format(i % NUM_COLOURS + 1, _mark(i, 15, 5, ""), name) for i, name in enumerate(names)]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _mark(index: int, x: float, y: float, tip: str, radius: float = 3.0) -> Markup:
    title = Markup("<title>{}</title>").format(tip) if tip else Markup("")
    path = MARKERS[index % len(MARKERS)](x, y, radius)
    return Markup('<path class="dot s{}" d="{}">{}</path>').format(index % NUM_COLOURS + 1, path, title)


def _draw_line(plot: PlotArea, index: int, line: Line, format_x: Callable[[float], str]) -> Markup:
    positions = [(plot.x(x), plot.y(y)) for x, y in line.points]
    path = "".join(f"{'L' if place else 'M'}{x} {y}" for place, (x, y) in enumerate(positions))
    tips = line.tips or [f"{format_x(x)}: {_short(y)}" for x, y in line.points]
    names = [f"{line.name}, {tip}" if line.name else tip for tip in tips]
    marks = [_mark(index, x, y, tip) for (x, y), tip in zip(positions, names, strict=True)]
    drawn = Markup('<path class="line s{}" d="{}"/>').format(index % NUM_COLOURS + 1, path)
    kind = "marks" if len(marks) <= MAX_MARKED else "marks faint"
    return drawn + Markup('<g class="{}">{}</g>').format(kind, Markup("").join(marks))


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    mark: tuple[float, str] | None = None,
    reference: tuple[float, str] | None = None,
    percent: bool = False,
    unit_square: bool = False,
    diagonal: bool = False,
) -> Markup:
    """Draw a line chart.

    Args:
        lines: The lines; those without a finite point are left out.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        mark: Position of a vertical reference line, and its label.
        reference: Position of a horizontal reference line, and its label.
        percent: Whether x is a share, formatted in percent.
        unit_square: Whether both axes go from 0 to 1, for ROC and precision-recall curves.
        diagonal: Whether a dashed diagonal is drawn.

    Returns:
        Legend and SVG; empty if there is no point to draw.
    """
    shown = [line for line in map(_finite, lines) if line.points]
    if not shown:
        return Markup("")
    xs = [x for line in shown for x, _ in line.points]
    ys = [y for line in shown for _, y in line.points] + ([reference[0]] if reference else [])
    x_range = (min(xs), max(xs)) if max(xs) > min(xs) else (min(xs) - 0.5, max(xs) + 0.5)
    plot = PlotArea((0.0, 1.0), (0.0, 1.02), height=320) if unit_square else PlotArea(x_range, padded_range(ys))
    x_range = plot.x_range
    ticks = [tick for tick in nice_ticks(*x_range) if percent or unit_square or tick == int(tick)]
    parts = [_axes(plot, x_label, y_label, ticks, percent)]

    def format_x(value: float) -> str:
        return f"{100 * value:.0f}%" if percent else f"{x_label} {format_tick(value)}"

    if diagonal:
        parts += [_line("reference", plot.x(x_range[0]), plot.y(x_range[0]), plot.x(x_range[1]), plot.y(x_range[1]))]
    if reference:
        level = plot.y(reference[0])
        parts += [_line("reference", plot.left, level, plot.width - plot.right, level)]
        parts += [
            _text(plot.left + 5, level - 5, reference[1], "start")
            if unit_square
            else _text(plot.width - plot.right, level - 5, reference[1], "end")
        ]
    if mark:
        position = plot.x(mark[0])
        parts += [_line("reference", position, plot.top, position, plot.height - plot.bottom)]
        is_right_half = mark[0] > sum(x_range) / 2
        parts += [
            _text(position + (-5 if is_right_half else 5), plot.top + 10, mark[1], "end" if is_right_half else "start")
        ]
    parts += [_draw_line(plot, index, line, format_x) for index, line in enumerate(shown)]
    return _legend([line.name for line in shown]) + _svg(plot, title, *parts)


def _finite(line: Line) -> Line:
    kept = [place for place, (x, y) in enumerate(line.points) if is_number(x) and is_number(y)]
    tips = None if line.tips is None else [line.tips[place] for place in kept]
    return Line(line.name, [line.points[place] for place in kept], tips)


def residual_chart(
    points: Sequence[Point], *, title: str, x_label: str, y_label: str, rows: Sequence[int] | None = None
) -> Markup:
    """Draw residuals against a column, with a line at zero.

    Args:
        points: ``(value of the column, residual)``.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        rows: Row of each point, for the pointer.

    Returns:
        The SVG.
    """
    x_range, y_range = padded_range([x for x, _ in points]), padded_range([0.0, *(y for _, y in points)])
    plot = PlotArea(x_range, y_range, height=220)
    zero = plot.y(0.0)
    return _svg(
        plot,
        title,
        _axes(plot, x_label, y_label, nice_ticks(*x_range)),
        _line("reference", plot.left, zero, plot.width - plot.right, zero),
        _cloud(plot, points, (x_label, y_label), rows),
    )


def _cloud(plot: PlotArea, points: Sequence[Point], labels: tuple[str, str], rows: Sequence[int] | None) -> Markup:
    dot = Markup('<circle cx="{}" cy="{}" r="2.4"><title>{}</title></circle>')
    tips = [f"{labels[0]} {_short(x)}, {labels[1]} {_short(y)}" for x, y in points]
    tips = tips if rows is None else [f"row {row:,}: {tip}" for row, tip in zip(rows, tips, strict=True)]
    dots = [dot.format(plot.x(x), plot.y(y), tip) for (x, y), tip in zip(points, tips, strict=True)]
    return Markup('<g class="cloud">{}</g>').format(Markup("").join(dots))


def scatter_chart(
    points: Sequence[Point], *, title: str, x_label: str, y_label: str, rows: Sequence[int] | None = None
) -> Markup:
    """Draw a scatter chart with the diagonal.

    Args:
        points: ``(x, y)`` in one unit.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        rows: Row of each point, for the pointer.

    Returns:
        The SVG.
    """
    bounds = padded_range([value for point in points for value in point])
    plot = PlotArea(bounds, bounds, height=320)
    return _svg(
        plot,
        title,
        _axes(plot, x_label, y_label, nice_ticks(*bounds)),
        _line("reference", plot.x(bounds[0]), plot.y(bounds[0]), plot.x(bounds[1]), plot.y(bounds[1])),
        _cloud(plot, points, (x_label, y_label), rows),
    )


def histogram(values: Sequence[float], *, title: str, x_label: str, num_bins: int = 25, height: int = 320) -> Markup:
    """Draw a histogram with a reference line at zero.

    Args:
        values: Finite numbers, at least one.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.
        num_bins: Number of bins.
        height: Height of the drawing, in SVG units.

    Returns:
        The SVG.
    """
    low, high = padded_range([*values, 0.0], share=0.01)
    step = (high - low) / num_bins
    counts = [0] * num_bins
    for value in values:
        counts[min(int((value - low) / step), num_bins - 1)] += 1
    plot = PlotArea((low, high), (0.0, max(counts) * 1.06), height=height)
    base = plot.height - plot.bottom
    edges = [plot.x(low + index * step) for index in range(num_bins + 1)]
    tips = [f"{_short(low + i * step)} to {_short(low + (i + 1) * step)}" for i in range(num_bins)]
    bars = [
        _bar(edges[i], edges[i + 1], plot.y(count), base, f"{tips[i]}: {count:,} rows")
        for i, count in enumerate(counts)
    ]
    zero = _line("reference", plot.x(0), plot.top, plot.x(0), base)
    return _svg(plot, title, _axes(plot, x_label, "rows", nice_ticks(low, high)), *bars, zero)


def _bar(left: float, right: float, top: float, base: float, tip: str) -> Markup:
    width, height = round(max(right - left - 1, 0.5), 1), round(max(base - top, 0), 1)
    bar = '<rect class="bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    return Markup(bar).format(left, top, width, height, tip)


def count_chart(counts: Sequence[int], *, title: str, x_label: str) -> Markup:
    """Draw a bar chart of counts in descending order.

    Args:
        counts: One count per class.
        title: Accessible title of the chart.
        x_label: Name of the horizontal axis.

    Returns:
        The SVG.
    """
    ordered = sorted(counts, reverse=True)
    plot = PlotArea((0.0, float(len(ordered))), (0.0, max(*ordered, 1) * 1.06), height=180)
    base = plot.height - plot.bottom
    bars = [_bar(plot.x(i), plot.x(i + 1), plot.y(count), base, f"{count:,} rows") for i, count in enumerate(ordered)]
    return _svg(plot, title, _axes(plot, x_label, "rows", []), *bars)


def _calibration_tip(entry: dict[str, float]) -> str:
    sure, right = (f"{100 * entry[name]:.0f}%" for name in ("confidence", "accuracy"))
    return f"{entry['count']:,} rows: {sure} sure, {right} right"


def calibration_chart(bins: Sequence[dict[str, float]], *, title: str) -> Markup:
    """Draw a reliability diagram: accuracy against confidence; the area of a dot is proportional to its rows.

    Args:
        bins: ``confidence``, ``accuracy`` (both 0 to 1) and ``count`` each.
        title: Accessible title of the chart.

    Returns:
        The SVG.
    """
    occupied = [entry for entry in bins if entry["count"]]
    plot = PlotArea((0.0, 1.0), (0.0, 1.04), height=320)
    max_count = max((entry["count"] for entry in occupied), default=1)
    positions = [(plot.x(entry["confidence"]), plot.y(entry["accuracy"])) for entry in occupied]
    path = " ".join(f"{'L' if step else 'M'}{x} {y}" for step, (x, y) in enumerate(positions))
    dots = [
        Markup('<circle class="dot s1" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
            x, y, round(3 + 8 * math.sqrt(entry["count"] / max_count), 1), _calibration_tip(entry)
        )
        for (x, y), entry in zip(positions, occupied, strict=True)
    ]
    return _svg(
        plot,
        title,
        _axes(plot, "how sure the model is", "how often it is right", nice_ticks(0, 1), percent=True),
        _line("reference", plot.x(0), plot.y(0), plot.x(1), plot.y(1)),
        Markup('<path class="line s1" d="{}"/>').format(path),
        *dots,
    )
