"""Multipart bodies: a row as JSON text with a file for each media column, or a table as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from polymodal.serving.json_body import first_twice, parse_json
from polymodal.serving.request_error import RequestError
from polymodal.serving.settings import Limits

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

ROW, TABLE, OPTIONS = "row", "table", "options"
MAX_PARTS = 200
MARKS_A_VALUE = 4
"""Commas and line ends of a table, also those of its texts, for each value that the server takes."""
MAX_PART_HEADER_BYTES = 4096
BOUNDARY = re.compile(rb"[\w'()+,./:=? -]{1,70}")


class _Parts:
    """Collects the parts of a body.

    Attributes:
        found: Name of a part to its bytes.
    """

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self._content = bytearray()
        self._name, self._header, self._value, self._header_bytes = "", b"", b"", 0

    def callbacks(self, on_end: Callable[[], None]) -> MultipartCallbacks:
        """Return what the parser calls.

        Args:
            on_end: Called at the last boundary.

        Returns:
            The functions by their events.
        """
        return {
            "on_end": on_end,
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
        }

    def _begin(self) -> None:
        if len(self.found) >= MAX_PARTS:
            raise RequestError(413, f"The body has more than {MAX_PARTS} parts, this server's limit.")
        self._content = bytearray()
        self._name, self._header, self._value, self._header_bytes = "", b"", b"", 0

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._count_header(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, num_bytes: int) -> None:
        self._header_bytes += num_bytes
        if self._header_bytes > MAX_PART_HEADER_BYTES:
            raise RequestError(413, f"A part's header is longer than {MAX_PART_HEADER_BYTES:,} bytes.")

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header, self._value = b"", b""

    def _end(self) -> None:
        if not self._name:
            raise RequestError(
                400, 'A part of the body has no name. Expected Content-Disposition: form-data; name="...".'
            )
        if self._name in self.found:
            raise RequestError(400, f"The part {self._name[:60]!r} stands twice in the body.")
        self.found[self._name] = bytes(self._content)


def parse_multipart(body: bytes, content_type: str, limits: Limits) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
    """Parse a multipart body.

    Args:
        body: Its bytes.
        content_type: The header with the boundary.
        limits: What the server takes.

    Returns:
        Its rows, and the fields of the part ``options``, which is JSON.

    Raises:
        RequestError: If it is damaged or beyond the limits, or has neither rows nor files.
    """
    parts = _split(body, content_type)
    options = parse_json(parts.pop(OPTIONS), limits) if OPTIONS in parts else {}
    if TABLE in parts:
        content = parts.pop(TABLE)
        if parts:
            other = next(iter(parts))
            raise RequestError(422, f"The body has a part {TABLE!r} and a part {other[:60]!r}. Send one or the other.")
        return _read_csv(content, limits), options
    row = parse_json(parts.pop(ROW), limits) if ROW in parts else {}
    for name in parts:
        if row.get(name) is not None:
            raise RequestError(422, f"The column {name[:60]!r} is a file and stands in {ROW!r} too. Send it once.")
    if not row and not parts:
        raise RequestError(422, f"The body has no part {ROW!r}, no part {TABLE!r} and no file of a column.")
    return [{**row, **parts}], options


def _split(body: bytes, content_type: str) -> dict[str, bytes]:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not BOUNDARY.fullmatch(boundary):
        raise RequestError(400, "The header Content-Type has no boundary that separates the parts of the body.")
    parts, is_ended = _Parts(), False

    def end() -> None:
        nonlocal is_ended
        is_ended = True

    parser = MultipartParser(boundary, parts.callbacks(end))
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError:
        raise RequestError(400, "The body is no multipart form: a part is damaged.") from None
    if not is_ended:
        raise RequestError(400, "The body is no multipart form: it is cut off before its last boundary.")
    return parts.found


def _read_csv(content: bytes, limits: Limits) -> list[Mapping[str, Any]]:
    """Read a table; an empty field is an absent cell."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError(422, "The table is not CSV in UTF-8.") from None
    if "\0" in text:
        raise RequestError(422, "The table is no CSV: it holds NUL characters.")
    if text.count(",") + text.count("\t") + text.count("\n") > MARKS_A_VALUE * limits.max_values:
        raise RequestError(413, f"The table has more than {limits.max_values:,} values, this server's limit.")
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_body_bytes))
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows: list[Mapping[str, Any]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = next(reader, [])
        _check_names(names)
        for fields in reader:
            if not fields:
                continue
            rows.append(_csv_row(names, fields, len(rows) + 1))
            if len(rows) > limits.max_rows:
                raise RequestError(413, f"The table has more than {limits.max_rows:,} rows, this server's limit.")
    except csv.Error as error:
        raise RequestError(422, f"The table is no CSV: {error}.") from None
    return rows


def _check_names(names: list[str]) -> None:
    if not any(names):
        raise RequestError(422, "The table has no line of column names.")
    if len(set(names)) < len(names):
        raise RequestError(422, f"The column {first_twice(names)[:60]!r} stands twice in the table.")


def _csv_row(names: list[str], fields: list[str], number: int) -> Mapping[str, Any]:
    if len(fields) != len(names):
        raise RequestError(422, f"Row {number} of the table has {len(fields)} fields; expected {len(names)}.")
    return {name: value or None for name, value in zip(names, fields, strict=True)}
