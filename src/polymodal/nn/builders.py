"""Sizes: the named numbers of a builder function, checked before it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from polymodal.errors import parameter_error

Size = int | float | bool | str


def builder_sizes(build: Callable[..., Any]) -> dict[str, Size]:
    """Return the sizes a builder takes.

    Args:
        build: A function whose keyword-only parameters are its sizes.

    Returns:
        Name to default; the empty string where a text has no default.
    """
    parameters = inspect.signature(build).parameters.values()
    return {
        parameter.name: "" if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def check_sizes(build: Callable[..., Any], owner: str, sizes: Mapping[str, Size]) -> None:
    """Check sizes against a builder's parameters.

    Args:
        build: The builder.
        owner: What it builds, for the message.
        sizes: Name to value.

    Raises:
        ConfigError: If a name is unknown or a value is of the wrong kind or range.
    """
    known = builder_sizes(build)
    for name, value in sizes.items():
        if name not in known:
            raise parameter_error("sizes", owner, f"one of: {', '.join(known)}", name)
        if not _fits(known[name], value):
            raise parameter_error(name, owner, _expected(known[name]), value)


def _expected(default: Size) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return f"a whole number from {min(default, 1)}"
    if isinstance(default, float):
        return "a number from 0 to 1"
    return "a text"


def _fits(default: Size, value: Size) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) and value >= min(default, 1)
    if isinstance(default, float):
        return isinstance(value, int | float) and 0 <= value <= 1
    return isinstance(value, str)
