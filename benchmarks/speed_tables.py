"""Parts of the speed benchmark and the lines they write."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]
"""Side to measurement, as plain JSON."""


@dataclass(frozen=True)
class Line:
    """A line of the table: a ratio of two numbers of a pair.

    Attributes:
        what: Its first cell.
        goal: What the ratio must reach: its beginning says whether ``at most`` or ``at least``.
        ours: Side and number of the numerator, as ``first.wall_s``.
        theirs: The same of the denominator.
    """

    what: str
    goal: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class Part:
    """One comparison.

    Attributes:
        measure: Runs the sides of one pair; a string says why it cannot.
        lines: What the table says of it.
        note: What was compared.
    """

    measure: Callable[[int], Result | str]
    lines: tuple[Line, ...]
    note: str


def number_of(found: Result, path: str) -> float:
    """Return a number of a pair.

    Args:
        found: The pair.
        path: Side and number, as ``first.wall_s``.

    Returns:
        The number.
    """
    side, name = path.split(".")
    return float(found[side][name])


def row(line: Line, found: list[Result]) -> str:
    """Return a line of the table.

    Args:
        line: What to compare.
        found: All pairs.

    Returns:
        Markdown.
    """
    ours, theirs = ([number_of(one, path) for one in found] for path in (line.ours, line.theirs))
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
    unit = " s" if line.ours.endswith("_s") else "/s"
    sides = (
        f"{path.split('.')[0]} {statistics.median(n):.3g}{unit}"
        for path, n in ((line.ours, ours), (line.theirs, theirs))
    )
    return "| " + " | ".join([line.what, spread, line.goal or "–", *sides, str(len(found))]) + " |"
