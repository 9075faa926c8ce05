"""Arrow streams: columns of plain values, bytes and lists, within bounds that are checked before they are expanded.

An Arrow stream may declare more than it holds: compressed buffers, values that a dictionary or a view repeats, lists
of nulls. Types that can do so are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from polymodal.serving.json_body import first_twice
from polymodal.serving.request_error import RequestError
from polymodal.serving.settings import Limits

RECORD_BATCH, DICTIONARY_BATCH = 3, 2
"""Types of a message's header, in Arrow's format definition (Message.fbs)."""
LENGTH_FIELD, COMPRESSION_FIELD = 0, 3
MAX_COLUMNS = 10_000


def parse_arrow(body: bytes, limits: Limits) -> list[Mapping[str, Any]]:
    """Parse an Arrow stream.

    Args:
        body: Its bytes.
        limits: What the server takes.

    Returns:
        Its rows.

    Raises:
        RequestError: If it is damaged, beyond the limits, or has columns of other types than numbers, texts, bytes,
            dates and lists of numbers.
    """
    import pyarrow as pa

    try:
        _check_messages(body, limits)
        with pa.ipc.open_stream(pa.BufferReader(body)) as reader:
            _check_names(reader.schema.names)
            for field in reader.schema:
                _check_type(field.name, field.type)
            batches = list(reader)
        for batch in batches:
            batch.validate(full=True)
            _check_lists(batch, limits)
        return [row for batch in batches for row in batch.to_pylist()]
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError, OverflowError, UnicodeDecodeError):
        raise RequestError(400, "The body is no readable Arrow stream: it is cut off or damaged.") from None


def _check_messages(body: bytes, limits: Limits) -> None:
    """Check the rows that messages declare, and that nothing is compressed."""
    import pyarrow as pa

    num_rows = 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(body)):
        header_type, length, is_compressed = read_message(message.metadata.to_pybytes())
        if header_type == DICTIONARY_BATCH:
            raise RequestError(422, "The Arrow stream has columns of type dictionary. Cast them to their values.")
        if header_type != RECORD_BATCH:
            continue
        if is_compressed:
            raise RequestError(415, "The Arrow stream is compressed, which is not taken here. Send it as it is.")
        num_rows += length
        if num_rows > limits.max_rows:
            raise RequestError(413, f"The request has more than {limits.max_rows:,} rows, this server's limit.")


def read_message(metadata: bytes) -> tuple[int, int, bool]:
    """Read what an Arrow message says of itself.

    Args:
        metadata: The flatbuffer of the message (Message.fbs of Arrow's format).

    Returns:
        The type of its header, and of a record batch its rows and whether its buffers are compressed.

    Raises:
        struct.error: If it is damaged.
    """
    message = _Table(metadata, struct.unpack_from("<I", metadata, 0)[0])
    place = message.place(1)
    header_type = metadata[place] if place else 0
    header = message.place(2)
    if header_type != RECORD_BATCH or not header:
        return header_type, 0, False
    batch = _Table(metadata, header + struct.unpack_from("<I", metadata, header)[0])
    length = batch.place(LENGTH_FIELD)
    num_rows = struct.unpack_from("<q", metadata, length)[0] if length else 0
    return header_type, num_rows, bool(batch.place(COMPRESSION_FIELD))


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start = data, start
        self._fields = start - struct.unpack_from("<i", data, start)[0]
        if self._fields < 0:
            raise struct.error("a table of fields before the beginning")
        self._size = struct.unpack_from("<H", data, self._fields)[0]

    def place(self, field: int) -> int:
        """Return where a field's value is; 0 where it has none."""
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return 0
        offset: int = struct.unpack_from("<H", self._data, self._fields + entry)[0]
        return self._start + offset if offset else 0


def _check_names(names: list[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise RequestError(413, f"The Arrow stream has more than {MAX_COLUMNS:,} columns.")
    if len(set(names)) < len(names):
        raise RequestError(422, f"The column {first_twice(names)[:60]!r} stands twice in the Arrow stream.")


def _check_type(name: str, kind: Any) -> None:
    import pyarrow.types as types

    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_nested(kind)):
            break
    else:
        plain = (
            types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_date, types.is_timestamp,
            types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_null,
        )  # fmt: skip
        if any(is_of(kind) for is_of in plain):
            return
    raise RequestError(
        422,
        f"The column {name[:60]!r} of the Arrow stream is of type {str(kind)[:60]}. Expected numbers, texts, bytes, "
        "dates, or lists of numbers.",
    )


def _check_lists(batch: Any, limits: Limits) -> None:
    """Check how many numbers the lists of a batch hold."""
    import pyarrow.types as types

    total = 0
    for column in batch.columns:
        values = column
        while types.is_nested(values.type):
            if types.is_fixed_size_list(values.type) and len(values) * values.type.list_size > limits.max_values:
                total = limits.max_values
            values = values.flatten()
            total += len(values)
        if total > limits.max_values:
            raise RequestError(413, f"The lists hold more than {limits.max_values:,} values, this server's limit.")
