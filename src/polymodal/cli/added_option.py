"""Options that several commands get by a decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def add_option(run: Callable[..., Any], command: Callable[..., Any], name: str, hint: Any, default: Any) -> None:
    """Give a function of Typer the options of a command, and one more.

    Args:
        run: What stands for the command; it takes the option by its name.
        command: The command.
        name: Name of the option's parameter.
        hint: Its annotation, with Typer's description.
        default: Its default.
    """
    hints = get_type_hints(command, include_extras=True) | {name: hint}
    added = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
    parameters = [*inspect.signature(command).parameters.values(), added]
    parameters = [entry.replace(annotation=hints.get(entry.name, entry.annotation)) for entry in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = hints
