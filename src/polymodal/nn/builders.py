"""Hyperparameters: the keyword-only parameters of a part's constructor, checked before the part is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from polymodal.config import Hyperparameter
from polymodal.errors import parameter_error


def hyperparameters_of(part: Callable[..., Any] | None) -> dict[str, Hyperparameter]:
    """Return the hyperparameters a part takes.

    Args:
        part: A class, or a function that makes a module; its keyword-only parameters are its hyperparameters. None
            for a part without a module.

    Returns:
        Name to default; the empty string where a text has no default.
    """
    parameters = () if part is None else inspect.signature(part).parameters.values()
    return {
        parameter.name: "" if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def check_hyperparameters(
    part: Callable[..., Any] | None, owner: str, hyperparameters: Mapping[str, Hyperparameter]
) -> None:
    """Check values against a part's hyperparameters.

    Args:
        part: The class or function, or None.
        owner: What it is, for the message.
        hyperparameters: Name to value.

    Raises:
        ConfigError: If a name is unknown or a value is of the wrong type or range.
    """
    known = hyperparameters_of(part)
    for name, value in hyperparameters.items():
        if name not in known:
            expected = f"one of: {', '.join(known)}" if known else "left out: it has none"
            raise parameter_error("hyperparameters", owner, expected, name, known)
        if not _fits(known[name], value):
            raise parameter_error(name, owner, _expected(known[name]), value)


def build(
    part: Callable[..., nn.Module],
    owner: str,
    inputs: object,
    width: int,
    hyperparameters: Mapping[str, Hyperparameter],
) -> nn.Module:
    """Build an encoder or a fusion.

    Args:
        part: The class, or a function that makes the module.
        owner: What it is, for messages.
        inputs: What it reads: the fitted modality of an encoder, the names of a fusion's streams.
        width: Width of all tokens.
        hyperparameters: Name to value; the others keep their defaults.

    Returns:
        The module.

    Raises:
        ConfigError: If a hyperparameter is unknown or cannot work.
    """
    check_hyperparameters(part, owner, hyperparameters)
    return part(inputs, width, **hyperparameters)


def _expected(default: Hyperparameter) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return f"a whole number from {min(default, 1)}"
    if isinstance(default, float):
        return "a number from 0 to 1"
    return "a text"


def _fits(default: Hyperparameter, value: Hyperparameter) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) and value >= min(default, 1)
    if isinstance(default, float):
        return isinstance(value, int | float) and 0 <= value <= 1
    return isinstance(value, str)
