"""Cells of a request: JSON values and bytes, checked against a column. No path or address is ever opened."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.schema.columns import read_written_number
from polymodal.modalities.base import CellReadError, is_absent, quote
from polymodal.modalities.category import Category, category_text
from polymodal.modalities.json_text import load_json
from polymodal.modalities.number import parse_number
from polymodal.modalities.text import parse_words
from polymodal.serving.columns import InputColumn
from polymodal.serving.json_body import check_json
from polymodal.serving.media_headers import TooLargeError, check_media
from polymodal.serving.request_error import RequestError, in_cell
from polymodal.serving.settings import Limits

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.-]+=[\w.+-]+)*);base64,", re.IGNORECASE)
MAX_HEAD = 200
MAX_LABELS = 1000
MAX_CHARACTERS = 100
"""Of a date or a place."""
NO_PATHS = 'no path or address is opened here; send a "data:" URL or {"base64": "...", "type": "..."}'


def read_cell(row: int, column: InputColumn, value: Any, limits: Limits) -> Cell:
    """Read one cell of a request.

    Args:
        row: Number of the row in the request, from 1.
        column: The column.
        value: A JSON value, or the bytes of an uploaded file.
        limits: What the server takes.

    Returns:
        The cell as the model reads it; None where it is absent.

    Raises:
        RequestError: With 422 if the value is none that the column takes, with 413 if it declares too much.
    """
    if value is None or (isinstance(value, str | float) and is_absent(value)):
        return None
    try:
        return (_read_file if column.is_file else READERS.get(column.kind, _read_by_modality))(column, value, limits)
    except CellReadError as error:
        raise in_cell(row, column.name, str(error)) from None
    except TooLargeError as error:
        raise in_cell(row, column.name, str(error), 413) from None
    except Exception as error:  # parsers meet hostile cells: whatever they raise, it is this cell that is wrong
        raise in_cell(row, column.name, f"cannot be read: {type(error).__name__}") from None


def _read_file(column: InputColumn, value: Any, limits: Limits) -> Cell:
    """Read a file as bytes, or a list of numbers; a text that is no data is refused."""
    if isinstance(value, list) and column.kind == "video" and all(isinstance(part, str | dict) for part in value):
        return [_read_picture(part, limits) for part in value]
    if isinstance(value, list | np.ndarray):
        return _read_numbers(value)
    if isinstance(value, str) and column.is_json and value.lstrip().startswith("["):
        return _read_numbers(_parse_list(value, limits))
    content, media_type = to_bytes(value)
    _check_type(column, media_type)
    check_media(column.kind, content, limits)
    return content


def _parse_list(text: str, limits: Limits) -> Any:
    """Parse a list of numbers as JSON; other forms of lists, which a table may hold, cost too much to read here."""
    try:
        check_json(text.encode(), limits)
        return load_json(text)
    except RequestError as error:
        raise TooLargeError(error.sentence.replace("The body", "is a list that").rstrip(".")) from None
    except ValueError:
        raise CellReadError("is not a list of numbers in JSON") from None


def _read_picture(part: Any, limits: Limits) -> bytes:
    content, _ = to_bytes(part)
    check_media("image", content, limits)
    return content


def to_bytes(value: Any) -> tuple[bytes, str]:
    """Return the bytes of a file in a request, and its declared media type.

    Args:
        value: Bytes, a ``data:`` URL in base64, or ``{"base64": text, "type": media type}``.

    Returns:
        The bytes, and the type; empty where none is declared.

    Raises:
        CellReadError: If it is something else, or no base64.
    """
    if isinstance(value, bytes):
        return value, ""
    if isinstance(value, str):
        head = DATA_URL.match(value, 0, MAX_HEAD)
        if head is None:
            raise CellReadError(f"{quote(value)} is text, and {NO_PATHS}")
        return _decode(value[head.end() :]), (head[1] or "").lower()
    if isinstance(value, Mapping):
        if not isinstance(value.get("base64"), str) or set(value) - {"base64", "type"}:
            keys = ", ".join(sorted(map(str, value))[:5]) or "nothing"
            raise CellReadError(f'holds an object of {keys[:80]}; expected {{"base64": "...", "type": "..."}}')
        media_type = value.get("type") or ""
        if not isinstance(media_type, str):
            raise CellReadError('has a "type" that is no text; expected a media type such as "image/png"')
        return _decode(value["base64"]), media_type.partition(";")[0].strip().lower()
    raise CellReadError(f"is of type {_type_name(value)}; expected a file, and {NO_PATHS}")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CellReadError("holds no valid base64") from None


def _check_type(column: InputColumn, media_type: str) -> None:
    """Refuse a declared type of another modality; unknown and general types are left to the decoder."""
    declared = media_type.partition("/")[0]
    media = {"image", "audio", "video"}
    if (
        declared in media
        and column.kind in media
        and declared != column.kind
        and {declared, column.kind}
        - {
            "audio",
            "video",
        }
    ):
        raise CellReadError(f"is declared as {media_type[:60]}; expected {column.kind}")


def _read_numbers(value: Any) -> Cell:
    if isinstance(value, np.ndarray):
        return value
    if not _are_numbers(value):
        raise CellReadError("is a list with other things than numbers")
    if not value:
        raise CellReadError("is an empty list; leave the cell out or send null where there is nothing")
    return value


def _are_numbers(value: list[Any]) -> bool:
    return all(
        _are_numbers(part) if isinstance(part, list) else part is None or isinstance(part, int | float)
        for part in value
    )


def _read_number(column: InputColumn, value: Any, limits: Limits) -> Cell:  # noqa: ARG001
    if isinstance(value, float) and math.isfinite(value):
        return value
    if not isinstance(value, bool | int | float | str | Decimal | np.number):
        raise CellReadError(f"is of type {_type_name(value)}; expected a number")
    parse_number(value if column.form is None else read_written_number(column.form, value))
    return value


def _read_category(column: InputColumn, value: Any, limits: Limits) -> Cell:  # noqa: ARG001
    if not isinstance(value, str | bool | int | float | date | Decimal | np.number | np.bool_):
        raise CellReadError(f"is of type {_type_name(value)}; expected a label: text or a number")
    category_text(value)
    return value


def _read_text(column: InputColumn, value: Any, limits: Limits) -> Cell:  # noqa: ARG001
    if isinstance(value, Mapping) or (isinstance(value, list) and len(value) > MAX_LABELS):
        raise CellReadError(f"is of type {_type_name(value)}; expected text")
    parse_words(value)
    return value


def _read_by_modality(column: InputColumn, value: Any, limits: Limits) -> Cell:  # noqa: ARG001
    """Read a cell of a modality that is cheap to decode: dates and places."""
    if isinstance(value, Mapping | bytes) or column.modality is None:
        raise CellReadError(f"is of type {_type_name(value)}; expected {column.kind}")
    if isinstance(value, str):
        value = " ".join(value.split())
        if len(value) > MAX_CHARACTERS:
            raise CellReadError(f"has {len(value):,} characters; expected {column.kind}")
    _, broken = column.modality.transform([value], None)
    if broken:
        raise CellReadError(broken[0].reason)
    return value


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true or false", bytes: "file"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), type(value).__name__)


READERS: dict[str, Callable[[InputColumn, Any, Limits], Cell]] = {
    "number": _read_number,
    "category": _read_category,
    "text": _read_text,
}
"""Modality of plain cells to the function that checks them; others by their modality."""


def is_unseen(column: InputColumn, cell: Cell) -> bool:
    """Tell whether a category was not seen in training.

    Args:
        column: A column of categories.
        cell: A cell that ``read_cell`` returned, not None.

    Returns:
        True where the model knows nothing of the value.
    """
    if not isinstance(column.modality, Category) or category_text(cell) in column.modality.known:
        return False
    values, _ = column.modality.transform([cell], None)
    return bool(values.present[0]) and int(values.values[0]) == 0
