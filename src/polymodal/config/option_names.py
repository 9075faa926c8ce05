"""Dotted names of options, and the names that options had before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodal.errors import ConfigError

HYPERPARAMETERS, OLD_HYPERPARAMETERS = "hyperparameters", "sizes"
ALL = "all"
"""``share=all``: all streams are one group, which is called so."""


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename what version 0.1 called otherwise, so that overrides meet it under its present name.

    Args:
        values: Nested values of a configuration.

    Returns:
        The same with present names.
    """
    renamed = dict(values)
    if "fusion" in renamed:
        renamed["fusion"] = with_current_name(renamed["fusion"])
    if isinstance(renamed.get("encoder"), Mapping):
        renamed["encoder"] = {stream: with_current_name(chosen) for stream, chosen in renamed["encoder"].items()}
    return renamed


def with_current_name(section: Any) -> Any:
    """Rename the hyperparameters of a part.

    Args:
        section: Nested values of an encoder or a fusion, or its name.

    Returns:
        The same with the present name.
    """
    if not isinstance(section, Mapping) or OLD_HYPERPARAMETERS not in section:
        return section
    rest = {name: value for name, value in section.items() if name != OLD_HYPERPARAMETERS}
    return {HYPERPARAMETERS: section[OLD_HYPERPARAMETERS], **rest}


def split_name(name: str) -> list[str]:
    """Split a dotted name; a stream's name may have dots of its own, as the sound of videos has (``clip.audio``).

    Args:
        name: Name of an option, such as ``train.epochs``.

    Returns:
        The keys of nested values.
    """
    path = name.split(".")
    first = {"fusion": 1, "encoder": 2}.get(path[0], len(path))
    path = [*path[:first], *(HYPERPARAMETERS if part == OLD_HYPERPARAMETERS else part for part in path[first:])]
    tail = {"settings": 1, "encoder": 2 if HYPERPARAMETERS in path[2:-1] else 1}.get(path[0], 0)
    if not tail or len(path) <= tail + 2:
        return path
    return [path[0], ".".join(path[1:-tail]), *path[-tail:]]


def with_override(values: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """Set one option.

    Args:
        values: Nested values of a configuration.
        path: What ``split_name`` returned.
        value: The option's value.

    Returns:
        Changed nested values.

    Raises:
        ConfigError: If the path goes through a value that holds no options.
    """
    head, rest = path[0], path[1:]
    if not rest:
        return {**values, head: value}
    inner = values.get(head) or {}
    if not isinstance(inner, dict):
        raise ConfigError(f"The option {'.'.join(path)!r} goes into {head!r}, which holds a value, not options.")
    return {**values, head: with_override(inner, rest, value)}


def read_share(value: Any) -> Any:
    """Write out which streams share weights where the word "all" names them.

    Args:
        value: The value of ``share``.

    Returns:
        Group name to patterns for "all"; any other value as it is.
    """
    return {ALL: ("*",)} if value == ALL else value
