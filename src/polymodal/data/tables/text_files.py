"""Readers of CSV, TSV and JSON Lines files in chunks of rows."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from polymodal.arrays import Cell
from polymodal.data.tables.cells import check_names, clean_cell
from polymodal.data.tables.other_files import START_BYTES, check_kind
from polymodal.data.tables.preamble import DELIMITERS, declared_delimiter, find_header
from polymodal.errors import TableError, list_names, warn
from polymodal.modalities.json_text import clean_nested, load_json

Columns = dict[str, list[Cell]]

BLOCK_BYTES = 2**20
"""Approximate size of a chunk in bytes."""
ROWS_AT_ONCE = 64
MAX_LINE = 2**27
"""Maximum number of bytes of a line of JSON, whose numbers become Python objects of up to ten times the size."""
MAX_CELL = 2**30
"""Maximum number of characters of a cell."""
RARE_DELIMITERS = (":", "~", "^", "\x01", "\x1f", "¦")
"""Separators where none of those makes two fields and one of these makes as many of each of the first lines."""
SAMPLE_LINES = 10
BAR, SHOWN_NAMES = "|", 6
BYTE_ORDER_MARK = codecs.BOM_UTF8


def read_delimited(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Columns]:
    """Read a CSV or TSV file, with every cell as a string.

    Args:
        path: The file, in UTF-8. The separator is the one of ``DELIMITERS`` that makes the most fields of the header,
            or what a line ``sep=;`` above it names; comments above the header that start with ``#``,
            and a title, are left out.
        block_bytes: Approximate size of a chunk in bytes.

    Yields:
        Column name to cells of the next rows; an empty or blank cell is None.

    Raises:
        TableError: If the file is not UTF-8, is empty, has no rows, rows of unequal length or two columns of one name.
    """
    if not _check_text(path):
        raise TableError(f"{path.name} is empty. Expected a header line and at least one row below it.")
    try:
        delimiter = _delimiter(path)
        names = _header(path, delimiter)
        _tell_rare(path, delimiter, names)
        _tell_title(path, names)
    except csv.Error as error:
        raise TableError(f"The header of {path.name} cannot be read: {error}. Expected column names.") from None
    num_rows = 0
    for rows in _blocks(path, delimiter, len(names), block_bytes):
        num_rows += len(rows)
        columns = zip(*rows, strict=True)
        yield {name: _text_cells(cells) for name, cells in zip(names, columns, strict=True)}
    check_rows(num_rows, path.name)


def _text_cells(cells: Iterable[str]) -> list[Cell]:
    return [cell if cell and not cell.isspace() else None for cell in cells]


def _check_text(path: Path) -> bool:
    """Check that a file is UTF-8; return whether it contains anything but whitespace."""
    decoder, position, has_text = codecs.getincrementaldecoder("utf-8")(), 0, False
    with path.open("rb") as file:
        check_kind(path, file.read(START_BYTES))
        file.seek(0)
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise TableError(f"{path.name} is a UTF-16 file. Save it as UTF-8 (in Excel: 'CSV UTF-8') and try again.")
        _skip_mark(file)
        block = None
        while block != b"":
            block = file.read(BLOCK_BYTES)
            position += len(block)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, error, position - len(error.object) + error.start) from None
            has_text = has_text or bool(text.strip())
    return has_text


def _skip_mark(file: BinaryIO) -> None:
    """Seek to the beginning of the text, after a byte order mark."""
    file.seek(0)
    if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)


def _not_utf8(path: Path, error: UnicodeDecodeError, offset: int) -> TableError:
    return TableError(
        f"{path.name} is not a UTF-8 file: byte 0x{error.object[error.start]:02x} at offset {offset:,} "
        f"({_row_at(path, offset)}) is not valid. Save it as UTF-8 and try again, for example with "
        f"`iconv -f latin1 -t utf-8 {path.name}`."
    )


def _row_at(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        _skip_mark(file)
        start = file.tell()
        try:
            text = io.TextIOWrapper(file, encoding="latin-1", newline="")
            records = sum(1 for _ in _records(_lines_until(text, offset + 1), ","))
        except csv.Error:
            return f"line {_newlines(path, start + offset) + 1}"
    return "the header" if records <= 1 else f"row {records - 1}"


def _lines_until(stream: TextIO, limit: int) -> Iterator[str]:
    for line in stream:
        yield line[:limit]
        limit -= len(line)
        if limit <= 0:
            return


def _newlines(path: Path, end: int) -> int:
    with path.open("rb") as file:
        return sum(file.read(min(BLOCK_BYTES, end - at)).count(b"\n") for at in range(0, end, BLOCK_BYTES))


def _open_text(path: Path) -> TextIO:
    """Open a file for the csv module, without blank lines at its beginning."""
    file = path.open("rb")
    _skip_blank_lines(file)
    return io.TextIOWrapper(file, encoding="utf-8", newline="")


def _skip_blank_lines(file: BinaryIO) -> None:
    _skip_mark(file)
    start = file.tell()
    file.seek(find_header(file, start)[0])


def _records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    for record in csv.reader(lines, delimiter=delimiter):
        if record:
            yield record


def _delimiter(path: Path) -> str:
    if path.suffix.lower() in {".tsv", ".tab"}:
        return "\t"
    declared = _declared_delimiter(path)
    if declared is not None:
        return declared
    with _open_text(path) as file:
        lines = [line for line in islice(file, SAMPLE_LINES) if line.strip()]
    counts = {mark: len(next(_records(lines[:1], mark), [])) for mark in DELIMITERS}
    if max(counts.values()) == 1 and (rare := [mark for mark in RARE_DELIMITERS if _splits_evenly(lines, mark)]):
        return rare[0]
    return max(DELIMITERS, key=lambda mark: counts[mark])


def _splits_evenly(lines: Sequence[str], mark: str) -> bool:
    counts = {line.count(mark) for line in lines}
    return len(lines) > 1 and len(counts) == 1 and counts != {0}


def _tell_rare(path: Path, delimiter: str, names: Sequence[str]) -> None:
    """Warn of a separator that neither the file's ending nor a line of it names and that is rare."""
    if delimiter in (BAR, *RARE_DELIMITERS) and path.suffix.lower() != ".psv" and _declared_delimiter(path) is None:
        shown = f" {BAR} ".join(names[:SHOWN_NAMES]) + (f" {BAR} ..." if len(names) > SHOWN_NAMES else "")
        warn(f"{path.name} is read with the separator {delimiter!r} and has the columns {shown} .")


def _declared_delimiter(path: Path) -> str | None:
    with path.open("rb") as file:
        _skip_mark(file)
        return declared_delimiter(file.readline(16))


def _tell_title(path: Path, names: Sequence[str]) -> None:
    with path.open("rb") as file:
        _skip_mark(file)
        num_lines = find_header(file, file.tell())[1]
    if num_lines:
        warn(
            f"{path.name} has {_count(num_lines, 'line')} above its names, which {list_names(names, SHOWN_NAMES)} are."
        )


def _header(path: Path, delimiter: str) -> list[str]:
    with _open_text(path) as lines:
        header = [name.strip() for name in next(_records(lines, delimiter))]
    names = [name or f"unnamed_{position}" for position, name in enumerate(header, start=1)]
    if any("\0" in name for name in names):
        raise TableError(f"{path.name} has bytes of zero among its names: a UTF-16 or a binary file. Save it as UTF-8.")
    check_names(names, path.name)
    return names


def _blocks(path: Path, delimiter: str, num_columns: int, block_bytes: int) -> Iterator[list[list[str]]]:
    """Yield the rows below the header; a blank line is an absent cell if there is one column, else it is skipped."""
    with _open_text(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        next(reader)
        records = (record or [""] for record in reader if record or num_columns == 1)
        num_rows = 0
        while rows := _next_rows(records, lines.buffer, block_bytes, path.name):
            _check_fields(rows, num_columns, num_rows, path.name)
            num_rows += len(rows)
            yield rows


def _next_rows(records: Iterator[list[str]], file: BinaryIO, block_bytes: int, table: str) -> list[list[str]]:
    """Read rows until a block of the file is consumed; cells may exceed the csv module's default limit."""
    rows: list[list[str]] = []
    end = file.tell() + block_bytes
    limit = csv.field_size_limit(MAX_CELL)
    try:
        while some := list(islice(records, ROWS_AT_ONCE)):
            rows += some
            if file.tell() >= end:
                break
    except csv.Error as error:
        raise TableError(f"{table} cannot be read as a table: {error}. Check its quotes.") from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _check_fields(rows: list[list[str]], expected: int, num_before: int, table: str) -> None:
    for number, row in enumerate(rows, start=num_before + 1):
        if len(row) != expected:
            raise TableError(
                f"Row {number} of {table} has {_count(len(row), 'field')}, expected {expected} as in the header. "
                "Add or remove fields there, or put a field that holds the separator in double quotes."
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def check_rows(num_rows: int, table: str) -> None:
    """Check that a table has rows.

    Args:
        num_rows: How many there are.
        table: The table's name, for the message.

    Raises:
        TableError: If there is none.
    """
    if num_rows == 0:
        raise TableError(f"{table} has column names but no rows. Expected at least one row.")


def first_line(error: Exception) -> str:
    """Return the first line of another library's message.

    Args:
        error: What it raised.

    Returns:
        The line without its full stop.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def read_jsonl(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Columns]:
    """Read a file with one JSON object a line.

    Args:
        path: The file, in UTF-8; blank lines are skipped.
        block_bytes: Approximate size of a chunk in bytes.

    Yields:
        Column name to cells of the next rows; a key that a row lacks is an absent cell. Columns that only later rows
        have are missing.

    Raises:
        TableError: If a line is not a JSON object, or there is none.
    """
    _check_text(path)
    names: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    num_rows = size = 0
    for number, line in _json_lines(path):
        num_rows += 1
        size += len(line)
        rows.append(_json_row(line, num_rows, number, path.name))
        if size >= block_bytes and (names or any(rows)):  # rows without any name wait for one
            yield _named(rows, names)
            rows, size = [], 0
    check_rows(num_rows, path.name)
    if rows:
        yield _named(rows, names)


def _json_lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        _skip_mark(file)
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            if len(line) > MAX_LINE:
                raise TableError(
                    f"{path.name} has a line {number} of more than {MAX_LINE:,} bytes. Expected one JSON object a "
                    "line; put long lists into files, such as .npy, and write their paths."
                )
            text = line.decode("utf-8").removesuffix("\n")
            if text.strip():
                yield number, text


def _named(rows: Sequence[dict[str, Any]], names: dict[str, None]) -> Columns:
    """Convert rows to columns, with the columns of earlier rows first."""
    found = records_columns(rows)
    names |= dict.fromkeys(found)
    return {name: found[name] if name in found else [None] * len(rows) for name in names}


def _json_row(line: str, row: int, number: int, table: str) -> dict[str, Any]:
    where = f"Row {row} of {table} (line {number})"
    try:
        parsed = load_json(line)
    except ValueError as error:
        raise TableError(f"{where} is not valid JSON: {error}. Expected one JSON object a line.") from None
    if not isinstance(parsed, dict):
        raise TableError(f"{where} holds a JSON {type(parsed).__name__}. Expected one JSON object a line.")
    return parsed


def records_columns(rows: Iterable[dict[str, Any]]) -> Columns:
    """Convert one dict per row to columns.

    Args:
        rows: The rows; a key that a row lacks is an absent cell.

    Returns:
        Column name to cells, in the order in which the names first appear.
    """
    rows = list(rows)
    names = dict.fromkeys(key for row in rows for key in row)
    try:
        return {clean_nested(str(name)): [clean_cell(row.get(name)) for row in rows] for name in names}
    except ValueError as error:
        raise TableError(f"A cell cannot be read: {error}.") from None
