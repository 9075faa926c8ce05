"""The option ``--allow-remote`` of commands that read tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote", help="Fetch tables and cells by address: https://, s3://, gs://, hf://. Never done without."
    ),
]


def with_remote(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--allow-remote`` to a command.

    Args:
        command: A function of Typer.

    Returns:
        The command; while it runs, addresses are fetched if the option is given.
    """

    @wraps(command)
    def run(*arguments: Any, allow_remote: bool = False, **options: Any) -> Any:
        if not allow_remote:
            return command(*arguments, **options)
        from polymodal.modalities.remote_files import allow_remote as allowing

        with allowing():
            return command(*arguments, **options)

    hints = get_type_hints(command, include_extras=True) | {"allow_remote": AllowRemote}
    added = inspect.Parameter("allow_remote", inspect.Parameter.KEYWORD_ONLY, default=False)
    parameters = [*inspect.signature(command).parameters.values(), added]
    parameters = [entry.replace(annotation=hints.get(entry.name, entry.annotation)) for entry in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = hints
    return run
