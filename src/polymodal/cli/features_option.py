"""The option ``--features`` of commands that read tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from polymodal.cli.added_option import add_option

Features = Annotated[
    list[str],
    typer.Option(
        "--features",
        metavar="MODULE:FUNCTION",
        help="Python of yours that adds columns to each table; or the name of an installed package's. Repeat for more.",
    ),
]


def load_features(texts: Sequence[str]) -> list[Any]:
    """Import the feature functions that options name, also from the current folder.

    Args:
        texts: ``MODULE:FUNCTION``, or names of functions of installed packages, which are left as they are.

    Returns:
        Functions and names.

    Raises:
        ConfigError: If there is no such module or function, or it cannot be imported.
    """
    return [_load(text) if ":" in text else text for text in texts]


def _load(text: str) -> Any:
    import importlib
    import os
    import sys

    from polymodal.errors import ConfigError, did_you_mean

    module_name, _, name = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end: a file here must not stand for a module of Python
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's code, which may raise anything
        reason = (str(error) or "no reason given").splitlines()[0]
        raise ConfigError(
            f"--features {text}: the module {module_name!r} cannot be imported ({type(error).__name__}: {reason})."
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        advice = did_you_mean(name, names, "Its functions are")
        raise ConfigError(f"--features {text}: {module_name!r} has no function {name!r}. {advice}")
    return function


def with_features(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--features`` to a command that asks a model.

    Args:
        command: A function of Typer.

    Returns:
        The command; models that it loads find the functions.
    """

    @wraps(command)
    def run(*arguments: Any, features: Sequence[str] = (), **options: Any) -> Any:
        if not features:
            return command(*arguments, **options)
        from polymodal.cli.arguments import exits
        from polymodal.data.features import functions_by_name, given_features

        with exits("Stopped."):
            functions = functions_by_name(load_features(features))
        with given_features(functions):
            return command(*arguments, **options)

    add_option(run, command, "features", Features, [])
    return run
