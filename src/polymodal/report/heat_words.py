"""Heat on the words of a text, and tables of parts with a bar each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from polymodal.explain.explanation import Part
from polymodal.report.effect_bars import signed_bar
from polymodal.report.gallery import breakable
from polymodal.report.heat import LISTED_PARTS, Heat, strongest_first

TEXT_LENGTH = 3000
"""Characters of a text that are shown; later words are in the list of parts alone."""
MOST_MIXED = 55
"""Percentage of colour behind the strongest word: its letters stay readable."""


def draw_words(text: str, parts: Sequence[Part], heat: Heat) -> Markup:
    """Colour and underline the parts of a text.

    Args:
        text: The cell's text.
        parts: Parts with ``start`` and ``end`` in characters of the text.
        heat: The scale.

    Returns:
        Safe HTML.
    """
    drawn, place = [], 0
    for part in sorted(parts, key=lambda part: int(part.place["start"])):
        start, end = int(part.place["start"]), min(int(part.place["end"]), TEXT_LENGTH)
        if start < place or end <= start:  # overlaps the part before it, or lies behind what is shown
            continue
        drawn += [Markup("{}").format(text[place:start]), _word(text[start:end], part.value, heat)]
        place = end
    drawn.append(Markup("{}").format(text[place:TEXT_LENGTH]))
    body = Markup('<blockquote class="words" dir="auto">{}</blockquote>').format(Markup("").join(drawn))
    left_out = len(text) - TEXT_LENGTH
    more = Markup('<span class="note">{:,} more characters are not shown.</span>')
    return body + more.format(left_out) if left_out > 0 else body


def _word(word: str, value: float, heat: Heat) -> Markup:
    side = heat.side(value)
    if not side:
        return Markup("{}").format(word)
    mixed = round(MOST_MIXED * heat.strength(value))
    marked = '<span class="word {}" style="--p:{}%" title="{}">{}</span>'
    return Markup(marked).format(side, mixed, heat.text(value), word)


def parts_table(
    parts: Sequence[Part], heat: Heat, what: str, value_of: Callable[[Part], Markup | str] | None = None, fold: int = 12
) -> Markup:
    """List parts with a bar each, the strongest first.

    Args:
        parts: The parts.
        heat: The scale.
        what: What the parts are, for the table's head.
        value_of: Returns what stands in the table for a part, such as a column's cell; None: no such column.
        fold: More parts are shown where the reader asks for them.

    Returns:
        Safe HTML.
    """
    ordered = strongest_first(parts)
    shown, rest = ordered[:fold], ordered[fold:LISTED_PARTS]
    table = _table(shown, heat, what, value_of)
    if rest:
        more = "<details><summary>{} more</summary>{}</details>"
        table += Markup(more).format(len(rest), _table(rest, heat, what, value_of))
    weak = len(ordered) - len(shown) - len(rest)
    note = Markup('<span class="note">{:,} weaker ones are in the JSON file.</span>')
    return table + note.format(weak) if weak else table


def _table(parts: Sequence[Part], heat: Heat, what: str, value_of: Callable[[Part], Markup | str] | None) -> Markup:
    head = Markup('<thead><tr><th scope="col">{}</th>{}<th scope="col" class="plot">{}</th>{}</tr></thead>').format(
        what,
        Markup('<th scope="col">cell</th>') if value_of else "",
        Markup('<span class="hidden">effect as a bar</span>'),
        Markup('<th scope="col" class="num">{}</th>').format(heat.number_head),
    )
    row = '<tr><th scope="row">{}</th>{}<td class="plot">{}</td><td class="num">{}</td></tr>'
    rows = [
        Markup(row).format(
            breakable(part.label),
            Markup("<td>{}</td>").format(value_of(part)) if value_of else "",
            signed_bar(part.value, heat.limit, f"{part.label}: {heat.text(part.value)}"),
            heat.number(part.value),
        )
        for part in parts
    ]
    return Markup('<table class="effects-of">{}<tbody>{}</tbody></table>').format(head, Markup("").join(rows))
