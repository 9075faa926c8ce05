"""Reads text files of measurements as loggers write them: comments, units, decimal commas, time stamps (numpy)."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.date_text import ORDERS, DateOrder, find_order, read_date
from polymodal.modalities.number_words import MISSING_WORDS

COMMENT_MARKS = ("#", "%", "//", "@", '"#')
DELIMITERS = (";", "\t", ",", "|")
BLANKS = re.compile(r"[ \t]+")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
UNEVEN = 0.01
"""Steps of time that differ by more than this share of their mean are brought to even steps."""
MAX_HEADER_LINES, SAMPLE_LINES = 3, 20
NO_COMMENT = ("#n/a", "#na", "#value!", "#div/0!", "#ref!", "#num!")
"""What a spreadsheet writes for a number that is missing, at the beginning of a line."""
TIME_NAME = re.compile(
    r"(?:time|t|ts|time ?stamp|epoch|seconds?|secs?|elapsed(?: time)?|zeit)"
    r"(?:[ _]?(?:s|ms|us|sec|seconds)|\s*[\[(].*[\])])?",
    re.IGNORECASE,
)
INDEX_NAME = re.compile(r"|unnamed: 0|index|idx|sample|sample ?no\.?|row|frame", re.IGNORECASE)
DAY_S = 86_400.0


def load_logger_file(content: bytes) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read a text file of measurements.

    Comment lines, names of columns and a line of units are left out. A column of dates or times is not a channel:
    where its steps are uneven, the others are interpolated to even ones.

    Args:
        content: The whole file: fields separated by semicolons, tabs, commas, bars or blanks.

    Returns:
        float64 ``[rows, columns]``, an empty field as NaN; and the columns' names, none without a line of them.

    Raises:
        CellReadError: If it is no text, has lines of different lengths, or a field is no number.
    """
    lines = [line for line in decode_text(content).splitlines() if line.strip()]
    lines = [line for line in lines if not _is_comment(line)]
    rows, has_commas = _split(lines)
    rows = _without_preamble(rows)
    start = next((at for at, row in enumerate(rows[: MAX_HEADER_LINES + 1]) if _is_data(row, has_commas)), None)
    if start is None:
        raise CellReadError("is no file of numbers; expected .npy, .npz, .csv or .parquet")
    measured = (at for at, row in enumerate(rows[1:start], start=1) if any(map(_is_number, row)))
    start = next(measured, start)  # a row with numbers is no line of units, though a word in it stands for no number
    names, rows = rows[0] if start else [], rows[start:]
    widths = Counter(map(len, rows))
    if len(widths) > 1:
        wrong = next(at for at, row in enumerate(rows, start=1) if len(row) != len(rows[0]))
        raise CellReadError(
            f"has lines of different lengths: its row {wrong} has {len(rows[wrong - 1])} fields, "
            f"the first {len(rows[0])}"
        )
    columns = list(zip(*rows, strict=True))
    is_time = [_is_time(cells) for cells in columns]
    if all(is_time):
        raise CellReadError("holds dates or times alone; expected numbers beside them")
    values = [_numbers(cells, _name(names, at)) for at, cells in enumerate(columns) if not is_time[at]]
    times = [_seconds(cells) for at, cells in enumerate(columns) if is_time[at]]
    kept = [name for at, name in enumerate(names) if at < len(is_time) and not is_time[at]]
    is_named = len(names) == len(columns)
    return _even_steps(np.stack(values, axis=1), _moments(times)), tuple(kept if is_named else ())


def without_time(values: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Leave out columns that are the time of the rows, or number them, by their names.

    Args:
        values: Numbers ``[rows, columns]``.
        names: The columns' names; none where they have none.

    Returns:
        The other columns, at even steps of a time whose steps are uneven, and their names; all columns where none is
        such a column, or no other is left.
    """
    counted = [at for at, name in enumerate(names) if values.ndim == 2 and _counts(name, values[:, at])]
    if not counted or len(counted) == len(names):
        return values, tuple(names)
    times = [values[:, at].astype(np.float64) for at in counted if TIME_NAME.fullmatch(names[at])]
    kept = tuple(name for at, name in enumerate(names) if at not in counted)
    return _even_steps(np.delete(values, counted, axis=1), times[0] if times else None), kept


def decode_text(content: bytes) -> str:
    """Decode text in UTF-8, UTF-16 or, where it is neither, Windows' Western code page.

    Args:
        content: The whole file.

    Returns:
        Its text.

    Raises:
        CellReadError: If it is no text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:4096]:
        raise CellReadError("is no file of numbers; expected .npy, .npz, .csv or .parquet")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _split(lines: Sequence[str]) -> tuple[list[list[str]], bool]:
    """Split lines into fields; say whether commas are decimal marks."""
    sample = lines[-SAMPLE_LINES:]
    mark = next((mark for mark in DELIMITERS if 2 * sum(mark in line for line in sample) >= max(len(sample), 1)), None)
    if mark is None or (mark == "," and all(DECIMAL_COMMA.fullmatch(f) for line in sample for f in line.split())):
        rows = [BLANKS.split(line.strip()) for line in lines]
    else:
        is_quoted = any('"' in line for line in lines)
        split = (
            csv.reader(lines, delimiter=mark, skipinitialspace=True) if is_quoted else (x.split(mark) for x in lines)
        )
        rows = [[field.strip().strip('"') for field in row] for row in split]
        if (
            len(rows) > 1 and all(row[-1] == "" for row in rows[1:][-SAMPLE_LINES:]) and len(rows[-1]) > 1
        ):  # a mark behind the last field
            rows = [row[:-1] if row[-1] == "" else row for row in rows]
    fields = [field for row in rows[-SAMPLE_LINES:] for field in row]
    return rows, mark != "," and any(map(DECIMAL_COMMA.fullmatch, fields))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENT_MARKS) and not line.lstrip().lower().startswith(NO_COMMENT)


def _without_preamble(rows: list[list[str]]) -> list[list[str]]:
    """Leave out lines above the names that have another number of fields than the last lines."""
    width = Counter(map(len, rows[-SAMPLE_LINES:])).most_common(1)
    first = next((at for at, row in enumerate(rows) if width and len(row) == width[0][0]), 0)
    return rows[first:] if first < len(rows) - 1 else rows


def _is_data(row: Sequence[str], has_commas: bool) -> bool:
    fields = [field.replace(",", ".") if has_commas else field for field in row]
    return any(map(_is_number, fields)) and all(_is_number(f) or _is_blank(f) or _is_date(f) for f in fields)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _is_blank(text: str) -> bool:
    return not text or text.lower() in MISSING_WORDS


def _is_date(text: str) -> bool:
    if _is_number(text):
        return False
    return any(_reads_as_date(text, order) for order in ORDERS)


def _reads_as_date(text: str, order: DateOrder) -> bool:
    try:
        read_date(text, order=order)
    except (ValueError, OverflowError):
        return False
    return True


def _is_time(cells: Sequence[str]) -> bool:
    present = [cell for cell in cells if not _is_blank(cell)]
    return bool(present) and all(map(_is_date, present))


def _name(names: Sequence[str], at: int) -> str:
    return f"its column {at + 1}" + (f" ({quote(names[at])})" if at < len(names) else "")


def _numbers(cells: Sequence[str], name: str) -> NDArray[np.float64]:
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if _is_blank(cell):
            continue
        if not _is_number(cell):
            raise CellReadError(f"is no file of numbers: {name} holds {quote(cell)}")
        values[row] = float(cell.replace(",", "."))
    return values


def _seconds(cells: Sequence[str]) -> NDArray[np.float64]:
    order = find_order(cells) or "MDY"
    seconds = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        try:
            if not _is_blank(cell):
                moment = read_date(cell, order=order)
                seconds[row] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return np.arange(len(cells), dtype=np.float64)
    return seconds


def _counts(name: str, values: NDArray[Any]) -> bool:
    """Tell whether numbers are the time by their name, or number the rows, and rise from row to row."""
    steps = np.diff(values.astype(np.float64))
    is_index = INDEX_NAME.fullmatch(name) is not None and bool((steps == 1).all())
    return len(steps) > 0 and (is_index or (TIME_NAME.fullmatch(name) is not None and bool((steps > 0).all())))


def _moments(times: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Return the time of each row, of the first column that tells it or of one of days and one of times of day."""
    if len(times) == 2 and (times[1] < DAY_S).all() and (np.mod(times[0], DAY_S) == 0).all():
        return np.asarray(times[0] + times[1])
    return times[0] if times else None


def _even_steps(values: NDArray[np.float64], seconds: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Interpolate to even steps where time is known, rises and does not rise evenly."""
    if seconds is None or len(seconds) < 3 or not np.isfinite(seconds).all():
        return values
    steps = np.diff(seconds)
    if (steps <= 0).any() or np.ptp(steps) <= UNEVEN * steps.mean():
        return values
    even = np.linspace(seconds[0], seconds[-1], len(seconds))
    return np.stack([np.interp(even, seconds, channel) for channel in values.T], axis=1)
