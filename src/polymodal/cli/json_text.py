"""JSON that every parser reads."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any) -> str:
    """Write a value as one line of JSON; numbers that JSON cannot hold become null, dates their ISO form.

    Args:
        value: Plain Python.

    Returns:
        The line, without its end.

    Raises:
        TypeError: If the value holds something that JSON cannot, such as bytes.
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
