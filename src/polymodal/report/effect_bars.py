"""Bars of effects as inline SVG for table cells: steps from the prior to the answer, signed bars, shares of a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polymodal.explain.explanation import RowExplanation
from polymodal.report.charts import Point, padded_range
from polymodal.report.wording import is_number

MAX_STEPS = 15
"""Steps of a waterfall; of more streams the least important ones are one step together."""


@dataclass(frozen=True)
class Step:
    """One stream's step of a waterfall.

    Attributes:
        stream: The stream.
        start: The scalar before it.
        end: The scalar after it.
    """

    stream: str
    start: float
    end: float

    @property
    def effect(self) -> float:
        """What it changes."""
        return self.end - self.start


def waterfall_steps(row: RowExplanation) -> list[Step]:
    """Return the steps from the prior to the explained scalar, the largest first.

    Args:
        row: The row.

    Returns:
        One step a stream, at most ``MAX_STEPS``.
    """
    effects = sorted(row.streams.items(), key=lambda pair: -abs(pair[1]))
    if len(effects) > MAX_STEPS:
        rest = effects[MAX_STEPS - 1 :]
        effects = [*effects[: MAX_STEPS - 1], (f"{len(rest):,} more streams", sum(effect for _, effect in rest))]
    steps, place = [], row.prior
    for stream, effect in effects:
        steps.append(Step(stream, place, place + effect))
        place += effect
    return steps


def waterfall_scale(row: RowExplanation, unit: str) -> Point:
    """Return the axis of a waterfall.

    Args:
        row: The row.
        unit: Unit of the scalar; a probability's axis goes no further than 0 and 1.

    Returns:
        Minimum and maximum.
    """
    places = [row.prior, row.value, *(step.end for step in waterfall_steps(row))]
    low, high = padded_range([place for place in places if is_number(place)] or [0.0, 1.0], share=0.08)
    if unit == "probability" and min(places) >= 0 and max(places) <= 1:
        return max(low, 0.0), min(high, 1.0)
    return low, high


def step_bar(start: float, end: float, scale: Point, tip: str) -> Markup:
    """Draw a step of a waterfall.

    Args:
        start: The scalar before it.
        end: The scalar after it.
        scale: Minimum and maximum of the axis.
        tip: What the pointer shows.

    Returns:
        The SVG.
    """
    return _bar_svg(_percent(start, scale), _percent(end, scale), tip)


def level_mark(value: float, scale: Point, tip: str) -> Markup:
    """Draw a level of a waterfall, its prior or its end.

    Args:
        value: The scalar.
        scale: Minimum and maximum of the axis.
        tip: What the pointer shows.

    Returns:
        The SVG.
    """
    place = _percent(value, scale)
    mark = Markup('<rect class="level" x="{}%" y="3" width="3" height="16"><title>{}</title></rect>').format(place, tip)
    return _svg(mark, place, place)


def signed_bar(value: float, limit: float, tip: str) -> Markup:
    """Draw an effect as a bar to the right of the middle, or to the left where it is negative.

    Args:
        value: The effect.
        limit: Absolute value at the edge.
        tip: What the pointer shows.

    Returns:
        The SVG.
    """
    return _bar_svg(50.0, _percent(value, (-limit, limit)), tip)


def _bar_svg(start: float, end: float, tip: str) -> Markup:
    side, left, width = ("for" if end >= start else "against"), min(start, end), max(abs(end - start), 0.4)
    bar = Markup('<rect class="effect {}" x="{}%" y="4" width="{}%" height="14" rx="1.5"><title>{}</title></rect>')
    hatch = Markup('<line class="hatch" x1="{}%" x2="{}%" y1="11" y2="11"/>').format(left, round(left + width, 2))
    drawn = bar.format(side, left, round(width, 2), tip)
    return _svg(drawn + (hatch if side == "against" else Markup("")), start, end)


def _svg(body: Markup, start: float, end: float) -> Markup:
    line = Markup('<line class="track" x1="0" x2="100%" y1="11" y2="11"/>')
    origin = Markup('<line class="origin" x1="{0}%" x2="{0}%" y1="0" y2="22"/>').format(start) if end != start else ""
    return Markup('<svg class="whiskers effects" aria-hidden="true">{}{}{}</svg>').format(line, origin, body)


def stacked_bar(shares: Sequence[tuple[str, float]], title: str) -> Markup:
    """Draw shares of a whole beside each other, each with a pattern of its own.

    Args:
        shares: Name and share of each; negative ones count as 0.
        title: Accessible title.

    Returns:
        The SVG.
    """
    total = sum(max(share, 0.0) for _, share in shares) or 1.0
    left, drawn = 0.0, []
    for number, (name, share) in enumerate(shares, start=1):
        width = 100 * max(share, 0.0) / total
        bar = '<rect class="stack k{}" x="{}%" y="3" width="{}%" height="16"><title>{}: {:.0f}%</title></rect>'
        drawn.append(Markup(bar).format(number, round(left, 2), round(width, 2), name, width))
        left += width
    head = '<svg class="whiskers stacked" role="img" aria-label="{}">{}</svg>'
    return Markup(head).format(title, Markup("").join(drawn))


def _percent(value: float, scale: Point) -> float:
    if not is_number(value):
        return 0.0
    share = 100 * (value - scale[0]) / (scale[1] - scale[0])
    return round(min(max(share, 0.0), 100.0), 2)
