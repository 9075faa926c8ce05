"""Heat of an explanation: how strongly a part speaks for an answer or against it, as colour, shape and text.

For and against differ by shape as well as by colour: parts that speak for the answer are plain and underlined solid,
those against are hatched and underlined dotted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polymodal.explain.explanation import CellParts, Part, RowExplanation
from polymodal.report.wording import format_number, is_number

SHARES = frozenset({"probability", "confidence"})
"""Units whose differences are told in percentage points."""
LEAST_SHARE = 0.05
"""Full colour stands for at least this share of the row's largest stream, so that parts of no weight stay pale."""
LEAST_STRENGTH = 0.5
NEUTRAL = 0.02
"""Parts below this share of full colour are drawn without heat."""
NAMED_PARTS = 3
"""So many parts for and against are named in a sentence."""
LISTED_PARTS = 40


SIDES = {
    "share": {"for": "For it:", "against": "Against it:"},
    "number": {"for": "Raises it:", "against": "Lowers it:"},
}


@dataclass(frozen=True)
class Heat:
    """The scale of one cell.

    Attributes:
        limit: Absolute value that is drawn in full colour, above 0.
        unit: Unit of the values, as in ``Explanation.units``.
    """

    limit: float
    unit: str

    def strength(self, value: float) -> float:
        """Return how strong the colour of a value is, 0 to 1; 0 where it is not a number."""
        return min(abs(value) / self.limit, 1.0) if is_number(value) else 0.0

    def side(self, value: float) -> str:
        """Return ``for`` or ``against``; empty for values without heat."""
        if self.strength(value) < NEUTRAL:
            return ""
        return "for" if value > 0 else "against"

    def text(self, value: float) -> str:
        """Return a value with its sign and unit, such as ``+12.3 points``."""
        return effect_text(value, self.unit)

    def number(self, value: float) -> str:
        """Return a value with its sign, in the unit of ``number_head``."""
        return self.text(value).removesuffix(" points")

    @property
    def number_head(self) -> str:
        """Head of a table's column of ``number``."""
        return "points" if self.unit in SHARES else "effect"


def fit_heat(row: RowExplanation, cell: CellParts, unit: str) -> Heat:
    """Fit the scale of a cell to its strongest part.

    Args:
        row: The row.
        cell: One of its cells.
        unit: Unit of the values.

    Returns:
        The scale.
    """
    strongest = max((abs(part.value) for part in cell.parts if is_number(part.value)), default=0.0)
    return Heat(max(strongest, LEAST_SHARE * largest_effect(row)) or 1.0, unit)


def largest_effect(row: RowExplanation) -> float:
    """Return the absolute effect of the stream that changes the answer of a row most.

    Args:
        row: The row.

    Returns:
        At least 0.
    """
    return max((abs(effect) for effect in row.streams.values() if is_number(effect)), default=0.0)


def effect_text(value: float, unit: str) -> str:
    """Format a change of the explained scalar with its sign: probabilities in percentage points.

    Args:
        value: The change.
        unit: Unit of the scalar.

    Returns:
        Such as ``+12.3 points``, ``−0.4 points`` or ``+5.2``.
    """
    if not is_number(value):
        return "–"
    text = f"{100 * value:.1f}" if unit in SHARES else format_number(float(f"{value:.3g}"))
    text = text.replace("-", "−")
    is_zero = not text.strip("−0.")
    sign = "+" if value > 0 and not is_zero else ""
    return sign + (text.removeprefix("−") if is_zero else text) + (" points" if unit in SHARES else "")


def scalar_text(value: float, unit: str) -> str:
    """Format the explained scalar: probabilities in percent.

    Args:
        value: The scalar.
        unit: Its unit.

    Returns:
        Such as ``92.3%`` or ``41.5``.
    """
    if unit not in SHARES or not is_number(value):
        return format_number(value)
    percent = 100 * value
    return f"{percent:.1f}%" if 0.05 <= percent < 99.95 else "< 0.1%" if percent < 0.05 else "> 99.9%"


def name_parts(cell: CellParts, heat: Heat) -> Markup:
    """Name the strongest parts, the text equivalent of the drawing.

    Args:
        cell: The cell.
        heat: Its scale.

    Returns:
        Safe HTML.
    """
    if not has_weight(cell, heat):
        hint = Markup(" <code>--method owen</code> shares out what they do together.")
        return Markup('<p class="named">No part alone changes the answer much.{}</p>').format(
            hint if cell.method == "occlusion" else ""
        )
    ordered = strongest_first(cell.parts)
    sentences = [
        Markup('<span class="side {}">{}</span> {}').format(side, title, _named(parts, heat))
        for side, title in SIDES["share" if heat.unit in SHARES else "number"].items()
        if (parts := [part for part in ordered if heat.side(part.value) == side][:NAMED_PARTS])
    ]
    return Markup('<p class="named">{}</p>').format(Markup(" ").join(sentences))


def has_weight(cell: CellParts, heat: Heat) -> bool:
    """Whether a part reaches half of full colour: where none does, no part is of weight beside the row's streams.

    Args:
        cell: The cell.
        heat: Its scale.

    Returns:
        True or False.
    """
    return any(heat.strength(part.value) >= LEAST_STRENGTH for part in cell.parts)


def _named(parts: Sequence[Part], heat: Heat) -> Markup:
    items = [Markup("<b>{}</b> {}").format(part.label, heat.text(part.value)) for part in parts]
    return Markup(", ").join(items) + "."


def strongest_first(parts: Sequence[Part]) -> list[Part]:
    """Return parts by their absolute value, the strongest first.

    Args:
        parts: The parts.

    Returns:
        A new list; parts without a number come last.
    """
    return sorted(parts, key=lambda part: -abs(part.value) if is_number(part.value) else 0.0)
