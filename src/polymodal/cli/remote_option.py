"""The option ``--allow-remote`` of commands that read tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from polymodal.cli.added_option import add_option

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

    add_option(run, command, "allow_remote", AllowRemote, False)
    return run
