"""JSON bodies: bounded before they are parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from polymodal.modalities.json_text import clean_nested
from polymodal.serving.request_error import RequestError
from polymodal.serving.settings import Limits

STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string, also one without an end: possessive, so that a text is read once whatever is in it."""
BRACKETS = re.compile(rb"[\[{\]}]")
OPENING = b"[{"
MAX_DIGITS = 400


def parse_json(body: bytes, limits: Limits) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        body: The body of a request, in UTF-8.
        limits: What the server takes.

    Returns:
        The object.

    Raises:
        RequestError: With 400 if it is no JSON, 413 if it is too deep or has too many values, 422 if it is no object.
    """
    check_json(body, limits)
    try:
        content = json.loads(
            body.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_int=_parse_integer,
            object_pairs_hook=_object,
        )
        content = clean_nested(content)
    except UnicodeDecodeError:
        raise RequestError(400, "The body is not JSON in UTF-8.") from None
    except json.JSONDecodeError as error:
        raise RequestError(400, f"The body is not JSON: {error.msg} at character {error.pos + 1}.") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"The body is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise RequestError(422, 'The body is JSON but no object. Expected {"rows": [{...}]}.')
    return content


def check_json(body: bytes, limits: Limits) -> None:
    """Check how deep a JSON text is and how many values it has, without parsing it.

    Args:
        body: The text.
        limits: What the server takes.

    Raises:
        RequestError: With 413 if it is beyond the limits.
    """
    plain = STRING.sub(b"", body)
    if plain.count(b",") + plain.count(b"[") + plain.count(b"{") > limits.max_values:
        raise RequestError(413, f"The body has more than {limits.max_values:,} values, this server's limit.")
    depth = 0
    for bracket in BRACKETS.finditer(plain):
        depth += 1 if bracket[0] in OPENING else -1
        if depth > limits.max_depth:
            raise RequestError(
                413, f"The body is nested more than {limits.max_depth} levels deep, this server's limit."
            )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number; send null for a missing value")


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = first_twice(name for name, _ in pairs)
        raise ValueError(f"the name {twice[:60]!r} stands twice in one object")
    return found


def first_twice(names: Iterable[str]) -> str:
    """Return the first name that has stood before; empty where there is none."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")  # type: ignore[func-returns-value]
