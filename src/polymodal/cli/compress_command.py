"""The command ``polymodal compress``.

Slow imports are made inside the command.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polymodal.cli.arguments import EXIT_USER_ERROR, Json, ModelPath, Quiet, Verbose, exits
from polymodal.cli.progress_bar import LOADING, open_progress

if TYPE_CHECKING:
    from polymodal.compression.points import Compression


def compress_command(
    model: ModelPath,
    table: Annotated[
        str | None,
        typer.Option(
            "--table", metavar="FILE", help="Rows like those it was trained on; default: the table of the run."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the compressed model; default: the run's and -compressed."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="BYTES", help="Most bytes of the deployed folder, as in 5MB.")
    ] = None,
    latency: Annotated[
        str | None, typer.Option("--latency", metavar="TIME", help="Most time of one row on this machine, as in 2ms.")
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option("--max-drop", metavar="POINTS", help="Most points of the primary metric to lose; default: 0.5%."),
    ] = None,
    method: Annotated[
        list[str],
        typer.Option(
            "--method", metavar="NAME", help="Try members, pruned, distilled or int8 alone; repeatable; default: all."
        ),
    ] = [],  # noqa: B006
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Make a model smaller and faster, and keep the smallest one that answers nearly as well."""
    interrupted = "Stopped. The same command goes on with the networks that it has trained."
    with exits(interrupted), open_progress(verbose, quiet) as progress:
        from polymodal.cli import console
        from polymodal.compression.limits import check_methods, read_limits

        check_methods(method)
        read_limits(size, latency, max_drop)  # raises before anything is loaded
        with progress.phase(LOADING, None):
            from polymodal.compression.compress import compress

        found = compress(
            model,
            table=table,
            output=output,
            size=size,
            latency=latency,
            max_drop=max_drop,
            methods=method or None,
            progress=progress,
            command=shlex.join(["polymodal", *sys.argv[1:]]),
        )
        _print(found, json)
        if found.chosen is None:
            console.print_error(found.sentence)
            raise typer.Exit(EXIT_USER_ERROR)


def _print(found: Compression, json: bool) -> None:
    from polymodal.cli import compression_table, console

    if json:
        console.print_json(found.to_json())
        return
    compression_table.print_compression(found)
