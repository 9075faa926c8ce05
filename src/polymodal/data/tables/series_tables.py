"""Table files of the time-series archives: ``.ts`` of sktime and aeon, and Weka's ``.arff``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.cells import check_names, clean_cell
from polymodal.data.tables.text_files import Columns, check_rows
from polymodal.errors import TableError
from polymodal.modalities.base import quote

TRANSPORT_STREAM = 0x47
ATTRIBUTE = re.compile(r"""\s*@\w+\s+(?:'([^']*)'|"([^"]*)"|([^\s{]+))(?:\s+|(?=\{))(\{.*|\w+.*)""")
"""A line of an attribute: its name, in quotes or not, and its type."""
FIELD = re.compile(r"""(?:^|,)\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,]*))\s*(?=,|$)""")
NUMBERS = ("numeric", "real", "integer")
SERIES, LABEL, TARGET = "series", "label", "target"
ROWS_AT_ONCE = 256


def read_ts(path: Path) -> Iterator[Columns]:
    """Read a ``.ts`` file: one series a line, its channels and its label divided by colons.

    Args:
        path: The file, in UTF-8.

    Yields:
        ``series``, float64 arrays ``[time, channels]`` with NaN for ``?``; and ``label`` or, where the header says so,
        ``target``, a number.

    Raises:
        TableError: If it is a video, has no ``@data``, or a line is wrong.
    """
    with path.open("rb") as file:
        if file.read(1) == bytes([TRANSPORT_STREAM]):
            raise TableError(f"{path.name} is a video (MPEG transport stream), not a table. Name it in a table's cell.")
    with _utf8_lines(path) as lines:
        yield from _cases(lines, path.name)


@contextmanager
def _utf8_lines(path: Path) -> Iterator[TextIO]:
    """Open a file in UTF-8; what is not is one sentence."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield lines
    except UnicodeDecodeError:
        raise TableError(f"{path.name} is not a UTF-8 file. Save it as UTF-8 and try again.") from None


def _cases(lines: TextIO, name: str) -> Iterator[Columns]:
    header, at = _header(lines, name)
    label = LABEL if header.get("classlabel", "").startswith("true") else ""
    label = label or (TARGET if header.get("targetlabel", "").startswith("true") else "")
    rows: list[tuple[Cell, Cell]] = []
    count = 0
    for line in lines:
        at += 1
        if line.strip() and not line.startswith(("#", "%")):
            count += 1
            rows.append(_case(line.strip(), bool(label), f"Row {count} of {name} (line {at})"))
        if len(rows) == ROWS_AT_ONCE:
            yield _columns(rows, label)
            rows = []
    check_rows(count, name)
    if rows:
        yield _columns(rows, label)


def _header(lines: TextIO, name: str) -> tuple[dict[str, str], int]:
    header: dict[str, str] = {}
    for at, line in enumerate(lines, start=1):
        words = line.strip().lower().split(maxsplit=1)
        if not words or words[0].startswith(("#", "%")):
            continue
        if not words[0].startswith("@"):
            break
        header[words[0][1:]] = words[1] if len(words) > 1 else ""
        if words[0] == "@data":
            if header.get("timestamps", "").startswith("true"):
                raise TableError(f"{name} has a time stamp beside each value, which is not read. Write values alone.")
            return header, at
    raise TableError(f"{name} is no .ts file of series: it has no line @data. Expected sktime's or aeon's form.")


def _case(line: str, has_label: bool, where: str) -> tuple[Cell, Cell]:
    parts = line.split(":")
    label = parts.pop().strip() if has_label else None
    try:
        channels = [_values(part) for part in parts]
    except ValueError as error:
        reason = quote(str(error), 100)
        raise TableError(f"{where} cannot be read: {reason}. Expected numbers between commas.") from None
    if not channels or len({len(channel) for channel in channels}) > 1:
        lengths = ", ".join(str(len(channel)) for channel in channels[:8]) or "none"
        raise TableError(f"{where} has channels of different lengths ({lengths}). Expected one length in a row.")
    return np.stack(channels, axis=1), clean_cell(label)


def _values(text: str) -> NDArray[np.float64]:
    return np.array([np.nan if value.strip() in {"?", "NaN", ""} else float(value) for value in text.split(",")])


def _columns(rows: list[tuple[Cell, Cell]], label: str) -> Columns:
    columns: Columns = {SERIES: [series for series, _ in rows]}
    if label:
        columns[label] = [float(value) if label == TARGET and value is not None else value for _, value in rows]
    return columns


def read_arff(path: Path) -> Iterator[Columns]:
    """Read a ``.arff`` file of numbers, labels, texts and dates.

    Args:
        path: The file, in UTF-8.

    Yields:
        Attribute to cells of the next rows: numbers as such, the rest as text; ``?`` is None.

    Raises:
        TableError: If it has no ``@data``, a line is wrong, or it is sparse or has relations.
    """
    with _utf8_lines(path) as lines:
        yield from _arff_rows(lines, path.name)


def _arff_rows(lines: TextIO, name: str) -> Iterator[Columns]:
    attributes, at = _attributes(lines, name)
    check_names([attribute for attribute, _ in attributes], name)
    rows: list[list[Cell]] = []
    count = 0
    for line in lines:
        at += 1
        if line.strip() and not line.lstrip().startswith("%"):
            count += 1
            rows.append(_arff_cells(line.strip(), attributes, f"Row {count} of {name} (line {at})"))
        if len(rows) == ROWS_AT_ONCE:
            yield _by_attribute(rows, attributes)
            rows = []
    check_rows(count, name)
    if rows:
        yield _by_attribute(rows, attributes)


def _attributes(lines: TextIO, name: str) -> tuple[list[tuple[str, str]], int]:
    """Return each attribute's name and type, and the number of the line ``@data``."""
    attributes: list[tuple[str, str]] = []
    for at, line in enumerate(lines, start=1):
        word = line.split(maxsplit=1)[0].lower() if line.strip() else ""
        if word == "@data" and attributes:
            return attributes, at
        if word == "@attribute":
            found = ATTRIBUTE.match(line)
            kind = found[4].strip().lower() if found else ""
            if found is None or kind == "relational":
                what = "relations are not read" if kind else "it has no name or no type"
                raise TableError(f"{name} cannot be read: the attribute in line {at} is wrong, for {what}.")
            attributes.append((found[1] or found[2] or found[3], kind))
    raise TableError(f"{name} cannot be read as an .arff file: it has no attributes, or no line @data behind them.")


def _arff_cells(line: str, attributes: Sequence[tuple[str, str]], where: str) -> list[Cell]:
    if line.startswith("{"):
        raise TableError(f"{where} cannot be read: sparse rows are not. Write every value.")
    fields = [(found[1], found[2], found[3]) for found in FIELD.finditer(line)]
    if len(fields) != len(attributes):
        raise TableError(f"{where} has {len(fields)} values, but there are {len(attributes)} attributes.")
    return [_arff_cell(field, kind, where) for field, (_, kind) in zip(fields, attributes, strict=True)]


def _arff_cell(field: tuple[str | None, str | None, str], kind: str, where: str) -> Cell:
    quoted = next((text for text in field[:2] if text is not None), None)
    if quoted is not None:
        return clean_cell(re.sub(r"\\(.)", r"\1", quoted))
    text = field[2].strip()
    if text in {"?", ""}:
        return None
    if not kind.startswith(NUMBERS):
        return clean_cell(text)
    try:
        return clean_cell(float(text))
    except ValueError:
        raise TableError(f"{where} cannot be read: {quote(text)} is no number, which its attribute is.") from None


def _by_attribute(rows: Sequence[Sequence[Cell]], attributes: Sequence[tuple[str, str]]) -> Columns:
    return {name: [row[place] for row in rows] for place, (name, _) in enumerate(attributes)}
