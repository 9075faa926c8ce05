"""Stretches of a longer clip or video: a media cell with ``start`` and ``end`` in seconds, as AudioSet names them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, ColumnGroup, is_absent, read_cells
from polymodal.modalities.number import parse_number

START_NAME = re.compile(r"(.*[_\s.-])?(start|begin|onset|from)([_\s.-]?(time|s|sec|secs|seconds|ms))?", re.IGNORECASE)
END_NAME = re.compile(r"(.*[_\s.-])?(end|stop|offset|to|until)([_\s.-]?(time|s|sec|secs|seconds|ms))?", re.IGNORECASE)
NEARLY_ALL = 0.95
SAMPLE = 1000


class Span(NamedTuple):
    """A stretch of time in seconds from the beginning of a clip; the end may be infinite."""

    start_s: float
    end_s: float


def span_of(cell: Cell) -> Span | None:
    """Return the stretch that a media cell names.

    Args:
        cell: A media cell; a record with ``start`` and ``end`` in seconds names a stretch.

    Returns:
        The stretch; None for the whole clip.

    Raises:
        CellReadError: If the end is not behind the start.
    """
    if isinstance(cell, str | bytes) or not isinstance(cell, Mapping) or not {"start", "end"} & set(cell):
        return None
    start, end = (None if is_absent(cell.get(key)) else parse_number(cell[key]) for key in ("start", "end"))
    span = Span(max(start or 0.0, 0.0), math.inf if end is None else end)
    if span.end_s <= span.start_s:
        raise CellReadError(
            f"has a stretch from {span.start_s:g} s to {span.end_s:g} s; expected an end behind its start"
        )
    return span


def cell_of_parts(scale: float, parts: Cell) -> Cell:
    """Make a media cell of a clip and its stretch.

    Args:
        scale: Seconds of one unit of start and end.
        parts: The clip, its start and its end, as a tuple; None where all are absent.

    Returns:
        The clip with ``start`` and ``end`` in seconds; None where it is absent.
    """
    if parts is None or is_absent(parts[0]):
        return None
    clip, *times = parts
    record = dict(clip) if isinstance(clip, Mapping) else {"bytes" if isinstance(clip, bytes) else "path": clip}
    return record | {name: _seconds(cell, scale) for name, cell in zip(("start", "end"), times, strict=True)}


def _seconds(cell: Cell, scale: float) -> Cell:
    try:
        number = None if is_absent(cell) else parse_number(cell)
    except CellReadError:
        return cell
    return None if number is None else number * scale


def find_stretch(columns: Mapping[str, Sequence[Cell]], media: str) -> ColumnGroup | None:
    """Find two columns of numbers that are the start and the end of a stretch of a media column.

    Args:
        columns: Name to all cells of the columns of numbers.
        media: Name of the only media column that has stretches.

    Returns:
        The three columns as one; None without such columns.
    """
    for start in (name for name in columns if START_NAME.fullmatch(name)):
        end = next((name for name in columns if name != start and _is_end(start, name)), None)
        if end is not None and _are_spans(columns[start], columns[end]):
            reason = f"{start!r} and {end!r} are a stretch of {media!r} by name: from start to end in {_unit(start)}"
            return ColumnGroup(name=f"{media}.stretch", columns=(media, start, end), reason=reason)
    return None


def seconds_of_unit(name: str) -> float:
    """Return the seconds of one unit of a column of times, by its name: 0.001 for milliseconds, else 1."""
    return 0.001 if re.search(r"ms$", name, re.IGNORECASE) else 1.0


def _unit(name: str) -> str:
    return "milliseconds" if seconds_of_unit(name) < 1 else "seconds"


def _is_end(start: str, name: str) -> bool:
    first, last = START_NAME.fullmatch(start), END_NAME.fullmatch(name)
    return first is not None and last is not None and (first[1] or "") == (last[1] or "")


def _are_spans(starts: Sequence[Cell], ends: Sequence[Cell]) -> bool:
    step = -(-len(starts) // SAMPLE) or 1
    pairs = list(zip(*(read_cells(cells[::step], parse_number)[0] for cells in (starts, ends)), strict=True))
    known = [(start, end) for start, end in pairs if start is not None and end is not None]
    inside = sum(0 <= start < end for start, end in known)
    return len(known) > 0 and inside >= NEARLY_ALL * len(known)
