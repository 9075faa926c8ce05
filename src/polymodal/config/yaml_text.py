"""Reading YAML that somebody else wrote, in bounded time and memory, into plain JSON types."""

from __future__ import annotations

import math
from textwrap import shorten
from typing import Any

import yaml

MAX_CHARACTERS = 2**20
MAX_DEPTH = 32
MAX_NODES = 50_000
"""Keys and values of a text, where an alias counts as all that it stands for."""
MAX_INTEGER = 2**63
MAX_SHOWN = 60
"""Characters of a value in a message."""
MAX_REASON = 300


def parse_yaml(text: str) -> Any:
    """Read a YAML text with PyYAML's safe loader, which by itself raises errors of many kinds and has no bounds.

    Args:
        text: The YAML.

    Returns:
        None, bools, integers of 64 bits, finite floats, strings without lone surrogates and null characters, and lists
        and dicts of these.

    Raises:
        ValueError: If the text is too long or too deep, has a key twice or a value of another type; the message is one
            clause.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has more than {MAX_CHARACTERS:,} characters")
    try:
        value = _Loader(text).get_single_data()
        check_plain(value)
        return value
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(shorten(str(error), MAX_REASON)) from None


class _Loader(yaml.SafeLoader):
    """The safe loader, with bounds that hold before anything is built, and keys that come once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = self._height = 0
        self._measured: dict[Any, tuple[int, int]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; measure how many nodes it has and how deep it is."""
        is_alias = self.check_event(yaml.AliasEvent)
        before, height_before = self._count, self._height
        self._depth, self._count, self._height = self._depth + 1, self._count + 1, 0
        self._check(0)
        node = super().compose_node(parent, index)
        if is_alias and node not in self._measured:
            raise ValueError("an alias stands for what it is part of")
        size, height = self._measured.get(node, (self._count - before, self._height + 1))
        self._measured[node] = size, height
        self._depth, self._count, self._height = self._depth - 1, before + size, max(height_before, height)
        self._check(height)
        return node

    def _check(self, height: int) -> None:
        if self._depth + height > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if self._count > MAX_NODES:
            raise ValueError(f"it holds more than {MAX_NODES:,} values")

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Build a value; for one that does not have the form of its type, YAML raises what Python raised."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if not isinstance(node, yaml.ScalarNode):
                raise
            kind, line = node.tag.rpartition(":")[2], node.start_mark.line + 1
            reason = f"{shorten(node.value, MAX_SHOWN)!r} in line {line} is no {kind} that can be read"
            raise ValueError(reason) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Build a dict; YAML itself would keep the last of two equal keys."""
        if not isinstance(node, yaml.MappingNode):
            raise ValueError(f"{node.tag!r} stands before no mapping (line {node.start_mark.line + 1})")
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise ValueError(f"the key {key.value!r} comes twice (line {key.start_mark.line + 1})")
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def check_plain(value: Any, depth: int = 0) -> None:
    """Check that a value and all it holds can be written as YAML and read again.

    Args:
        value: Any value.
        depth: How deep it is nested itself.

    Raises:
        ValueError: If it holds anything but what ``parse_yaml`` returns.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            check_plain(inner, depth + 1)
    elif isinstance(value, str):
        _check_string(value)
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("it holds an integer of more than 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it holds a number that is not finite")
    elif not (value is None or isinstance(value, bool | int | float)):
        raise ValueError(f"it holds a {type(value).__name__}; put it in quotes if it is a text")


def _check_string(text: str) -> None:
    if "\0" in text:
        raise ValueError("it holds a string with a null character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds a string with a lone surrogate, which is half a character")
