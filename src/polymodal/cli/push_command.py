"""The command ``polymodal push``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.arguments import Json, Quiet, Verbose, exits
from polymodal.cli.progress_bar import LOADING, open_progress


def push_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, or a run folder, which is exported first.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hugging Face hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    token_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Environment variable with the token; default: HF_TOKEN or the hub's own login."
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch to commit to, made if there is none.")
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Message of the commit.")] = None,
    table: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Of a run: rows to check its export with; default: its training table."),
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", metavar="NAME", help="Of a run: licence for the card, as the hub names it.")
    ] = "unknown",
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Publish a bundle, or a run, on the Hugging Face hub as one commit."""
    with exits("Stopped."), open_progress(verbose, quiet) as progress:
        with progress.phase(LOADING, None):
            from polymodal.cli.console import print_json, print_line
            from polymodal.runs.push import push

        pushed = push(
            model,
            repository,
            table=table,
            license=license_name,
            progress=progress,
            private=private,
            token_env=token_env,
            revision=revision,
            message=message,
        )
        if json:
            print_json(pushed.to_json())
            return
        print_line(f"{len(pushed.files)} files, {pushed.num_bytes:,} bytes: {pushed.repository}")
        print_line(f"Commit {pushed.commit}")
