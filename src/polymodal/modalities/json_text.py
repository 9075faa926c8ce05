"""Reading JSON of cells and of lines of a table: no depth or length of a number ends in an error of Python's own."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 64
"""Levels of lists and objects; series, boxes and point clouds need a handful."""
MAX_FLOAT_DIGITS = 308
"""An integer of more digits has no float; of more than 4,300, Python refuses to read it."""
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
REPLACEMENT = "\ufffd"
NESTED = frozenset({list, tuple, dict})
CLEANED = NESTED | {str}
TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def load_json(text: str) -> Any:
    r"""Read JSON.

    Args:
        text: The JSON.

    Returns:
        Its content. An integer of more digits than Python reads is a string; of a character that is cut in half, as
        ``\ud83d`` without its other half, there is the replacement character, because no file can hold the half.

    Raises:
        ValueError: If it is not JSON, or deeper than 64 levels; the message is one clause.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    except ValueError:
        content = json.loads(text, parse_int=_parse_integer)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    may_be_deep = text.count("[") + text.count("{") > MAX_DEPTH
    return clean_nested(content) if may_be_deep or ESCAPED_SURROGATE.search(text) else content


def _parse_integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_FLOAT_DIGITS else digits


def clean_nested(content: Any, depth: int = 0) -> Any:
    """Check that lists and dicts are not nested too deep, or in themselves, and replace halves of characters.

    Args:
        content: A string, or lists, tuples and dicts that hold strings, numbers or anything else.
        depth: How deep it is nested itself.

    Returns:
        The same, with replacement characters in its strings; the object itself where it holds no such half.

    Raises:
        ValueError: If lists and dicts are nested more than 64 levels deep.
    """
    if isinstance(content, str):
        return content if content.isascii() else SURROGATE.sub(REPLACEMENT, content)
    if type(content) not in NESTED:
        return content
    if depth >= MAX_DEPTH:
        raise ValueError(TOO_DEEP)
    parts = [*content, *content.values()] if isinstance(content, dict) else content
    if CLEANED.isdisjoint(map(type, parts)):  # numbers, most often, and many
        return content
    cleaned = [clean_nested(part, depth + 1) for part in parts]
    if all(new is old for new, old in zip(cleaned, parts, strict=True)):
        return content
    if isinstance(content, dict):
        return dict(zip(cleaned[: len(content)], cleaned[len(content) :], strict=True))
    return type(content)(cleaned)
