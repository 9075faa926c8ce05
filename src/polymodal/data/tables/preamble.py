"""What stands above the header of a file of delimited text: comments, a title, Excel's line ``sep=;``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import BinaryIO

from polymodal.data.tables.title_rows import MAX_TITLES, count_titles

DELIMITERS = (",", ";", "\t", "|")
"""Separators of fields; of several that a header has, the one that makes the most fields."""
SEPARATOR_LINE = b"sep="
EMPTY_FIELDS = b' \t\r\n,;|"'
MAX_PREAMBLE, MAX_PREAMBLE_LINES = 2**16, 100


def find_header(file: BinaryIO, start: int) -> tuple[int, int]:
    """Find the header: behind blank lines, a line ``sep=;``, comments and a title above it.

    A line that starts with ``#`` is the header, not a comment, if it has as many separators as the first line below
    that does not start so.

    Args:
        file: A file of delimited text.
        start: Where its text begins, behind a byte order mark.

    Returns:
        Where the header begins, and the number of lines of a title above it.
    """
    file.seek(start)
    lines = [file.readline(MAX_PREAMBLE) for _ in range(MAX_PREAMBLE_LINES)]
    first = next((line for line in lines if line.strip() and not line.startswith(b"#")), b"")
    place = next((at for at, line in enumerate(lines) if not _is_preamble(line, first)), len(lines))
    num_titles = _num_title_lines(lines[place:])
    return start + sum(map(len, lines[: place + num_titles])), num_titles


def _is_preamble(line: bytes, first: bytes) -> bool:
    is_comment = line.startswith(b"#") and bool(first) and _num_marks(line) != _num_marks(first)
    return not line.strip() or is_comment or declared_delimiter(line) is not None


def _num_title_lines(lines: Sequence[bytes]) -> int:
    """Count lines of a title above the header, with the blank lines among and below them."""
    filled = [at for at, line in enumerate(lines) if line.strip(EMPTY_FIELDS)][:MAX_TITLES]
    texts = [lines[at].decode("utf-8", "replace").replace("\r", " ").strip() for at in filled]
    tables = [[_fields(text, mark) for text in texts] for mark in DELIMITERS]
    rows = max(tables, key=lambda rows: sum(map(len, rows)))
    num_titles = count_titles(rows)
    return filled[num_titles] if num_titles else 0


def _fields(line: str, mark: str) -> list[str]:
    return next(csv.reader([line], delimiter=mark, skipinitialspace=True))


def _num_marks(line: bytes) -> int:
    return max(line.count(mark.encode()) for mark in DELIMITERS)


def declared_delimiter(line: bytes) -> str | None:
    """Return the separator that Excel's line ``sep=;`` names; None of any other first line."""
    line = line.strip().strip(b'"').lower()
    return chr(line[4]) if line.startswith(SEPARATOR_LINE) and len(line) == len(SEPARATOR_LINE) + 1 else None
