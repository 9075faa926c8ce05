"""Charts of an explanation as SVG files of their own, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from polymodal.explain.explanation import RowExplanation, TargetSummary
from polymodal.report.answers import format_answer
from polymodal.report.charts import Point, nice_ticks
from polymodal.report.effect_bars import MAX_STEPS, waterfall_scale, waterfall_steps
from polymodal.report.heat import SHARES, effect_text, scalar_text

WIDTH, LEFT, RIGHT, ROW, TOP = 640, 190, 110, 26, 34
"""Width of a chart, of its names and of its numbers, height of a line and of the title, in SVG units."""
NAME_LENGTH = 26
STYLE = (
    "text{font:13px sans-serif;fill:#1b2430}.title{font-weight:600}.tick,.level-name{fill:#566273}.tick{font-size:11px}"
    ".for{fill:#d05a00}.against{fill:#1668bd}.lines{stroke:#fff;stroke-width:1.4;fill:none}.level{fill:#1b2430}"
    ".grid{stroke:#dfe3e8;stroke-width:.8}.whisker{stroke:#1b2430;stroke-width:1.4}"
)


def waterfall_svg(row: RowExplanation, unit: str) -> str:
    """Draw how the streams lead from the prior to the answer.

    Args:
        row: The row.
        unit: Unit of the scalar.

    Returns:
        An SVG file.
    """
    scale = waterfall_scale(row, unit)
    title = f"Row {row.row}, {row.target}: {row.explained if unit in SHARES else format_answer(row.answer)}"
    lines = [_level("without any input", row.prior, scalar_text(row.prior, unit), scale, 0)]
    for number, step in enumerate(waterfall_steps(row), start=1):
        lines.append(_bar(step.stream, (step.start, step.end), effect_text(step.effect, unit), scale, number))
    last = len(lines)
    lines.append(_level("this row", row.value, scalar_text(row.value, unit), scale, last))
    return _chart(title, lines, scale, last + 1, unit)


def importance_svg(summary: TargetSummary, unit: str) -> str:
    """Draw the mean size of each stream's effect with its interval, of the most important streams.

    Args:
        summary: The summary of a target.
        unit: Unit of the scalar.

    Returns:
        An SVG file.
    """
    ordered = sorted(summary.importance.items(), key=lambda pair: -pair[1]["mean"])[:MAX_STEPS]
    scale = (0.0, max((entry["high"] for _, entry in ordered), default=0.0) * 1.05 or 1.0)
    lines = []
    for number, (stream, entry) in enumerate(ordered):
        text = effect_text(entry["mean"], unit).removeprefix("+")
        low, high, middle = _x(entry["low"], scale), _x(entry["high"], scale), TOP + (number + 0.5) * ROW
        whisker = Markup('<line class="whisker" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(low, high, middle, middle)
        lines.append(_bar(stream, (0.0, entry["mean"]), text, scale, number) + whisker)
    title = f"{summary.target}: mean size of the Shapley values over {summary.rows:,} rows, 95% intervals"
    return _chart(title, lines, scale, len(ordered), unit)


def _chart(title: str, lines: Sequence[Markup], scale: Point, num_lines: int, unit: str) -> str:
    bottom = TOP + num_lines * ROW
    factor = 100 if unit in SHARES else 1
    ticks = [_tick(tick, _x(tick / factor, scale), bottom) for tick in nice_ticks(scale[0] * factor, scale[1] * factor)]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><style>{2}</style>'
    drawn = Markup(head).format(WIDTH, bottom + 24, Markup(STYLE))
    drawn += Markup('<text class="title" x="8" y="20">{}</text>').format(_cut(title, 84))
    return str(drawn + Markup("").join([*ticks, *lines]) + Markup("</svg>\n"))


def _tick(value: float, x: float, bottom: float) -> Markup:
    line = '<path class="grid" d="M{0} {1}V{2}"/><text class="tick" x="{0}" y="{3}" text-anchor="middle">{4:g}</text>'
    return Markup(line).format(x, TOP, bottom, bottom + 15, value)


def _level(name: str, value: float, text: str, scale: Point, number: int) -> Markup:
    mark = Markup('<rect class="level" x="{}" y="{}" width="3" height="{}"/>')
    drawn = mark.format(_x(value, scale) - 1.5, TOP + number * ROW + 4, ROW - 8)
    return _texts(name, text, number, "level-name") + drawn


def _bar(name: str, ends: Point, text: str, scale: Point, number: int) -> Markup:
    start, end = (_x(place, scale) for place in ends)
    left, width, top = min(start, end), max(abs(end - start), 1.0), TOP + number * ROW + 5
    side = "for" if ends[1] >= ends[0] else "against"
    bar = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>'
    drawn = Markup(bar).format(side, left, top, round(width, 1), ROW - 10)
    if side == "against":
        path = "".join(f"M{left + place:.1f} {top + ROW - 10}l5-{ROW - 10}" for place in range(2, int(width) - 5, 7))
        drawn += Markup('<path class="lines" d="{}"/>').format(path)
    return _texts(name, text, number, "") + drawn


def _texts(name: str, text: str, number: int, kind: str) -> Markup:
    y = TOP + (number + 0.5) * ROW + 4.5
    left = Markup('<text class="{}" x="{}" y="{}" text-anchor="end">{}</text>')
    right = Markup('<text x="{}" y="{}" text-anchor="end">{}</text>')
    return left.format(kind, LEFT - 10, y, _cut(name, NAME_LENGTH)) + right.format(WIDTH - 8, y, text)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _x(value: float, scale: Point) -> float:
    share = (value - scale[0]) / (scale[1] - scale[0])
    return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)
