"""Reading JSON of cells and of lines of a table: no depth or length of a number ends in an error of Python's own."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

MAX_DEPTH = 64
"""Levels of lists and objects; series, boxes and point clouds need a handful."""
MAX_FLOAT_DIGITS = 308
"""An integer of more digits has no float; of more than 4,300, Python refuses to read it."""
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
MAX_LITERAL, MAX_BRACKETS = 5_000_000, 100_000
QUOTED = re.compile("['\"]")
QUOTED_TEXT = re.compile(r"""((?<![\w'"])(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))(\s+(?=['"]))?""", re.DOTALL)
"""A text in quotes, and the blanks behind it where NumPy writes the next one without a comma."""
CALL = re.compile(r"(?:np\.|torch\.)?(?:array|tensor)\((\[.*\])(?:,[^\[\]]*)?\)|frozenset\((.*)\)", re.DOTALL)
"""A list as NumPy and PyTorch print it in Python's form, and Python's frozen set."""
NUMPY_CALL = re.compile(r"(?:np\.)?(?:array|float64|float32|int64)\(([^()]*?)(?:, dtype=\w+)?\)")
BLANK_BETWEEN = re.compile(r"(?<=[\d.\w\]])\s+(?=[-+\d.\[nNi])")
"""Blanks that separate numbers, or rows, of a NumPy array."""
PLAIN_WORD = re.compile(r"\b(?:nan|NaN|inf|null|true|false)\b")
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


def without_call(text: str) -> str:
    """Return what stands in ``array(...)``, ``tensor(...)`` or ``frozenset(...)``; other text without outer blanks."""
    text = text.strip()
    found = CALL.fullmatch(text)
    return text if found is None else found[1] or found[2] or "[]"


def load_list(text: str) -> Any:
    """Read a list or an object as JSON, or as Python and NumPy write it, for instance through ``DataFrame.to_csv``.

    Args:
        text: Such as ``[1, null]``, ``['a', None]``, ``(1.5, nan)``, ``[1.5 2.  3. ]``, ``['a' 'b']``.

    Returns:
        Its content.

    Raises:
        ValueError: If it is none of these, is deeper than 64 levels, or numbers are left out in it (``...``).
    """
    try:
        return load_json(text)
    except ValueError as error:
        if "..." in text and not QUOTED.search(text):
            raise ValueError("it was shortened when it was written: numbers are missing where ... stands") from None
        if len(text) > MAX_LITERAL or text.count("[") + text.count("{") + text.count("(") > MAX_BRACKETS:
            raise error from None
    return _load_literal(text)


def _load_literal(text: str) -> Any:
    plain = text if QUOTED.search(text) else BLANK_BETWEEN.sub(", ", NUMPY_CALL.sub(r"\1", text))
    words = {"nan": "None", "NaN": "None", "inf": "1e999", "null": "None", "true": "True", "false": "False"}
    if not QUOTED.search(plain):
        plain = PLAIN_WORD.sub(lambda match: words.get(match[0], match[0]), plain)
    else:
        plain = QUOTED_TEXT.sub(lambda match: match[1] + (", " if match[2] else ""), plain)
        plain = re.sub(r"(?<=[\[,:(] )nan(?=[,\])}])|(?<=[\[,:(])nan(?=[,\])}])", "None", plain)
    try:
        return clean_nested(_as_lists(ast.literal_eval(plain)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("it is no list in JSON or Python's form") from None


def _as_lists(content: Any) -> Any:
    """Turn tuples and sets into lists."""
    if isinstance(content, list | tuple | set | frozenset):
        return [_as_lists(part) for part in content]
    return {key: _as_lists(part) for key, part in content.items()} if isinstance(content, dict) else content


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
