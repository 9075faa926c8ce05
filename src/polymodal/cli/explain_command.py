"""The command ``polymodal explain``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polymodal.cli.arguments import Data, Device, Json, ModelPath, Quiet, StrictTable, Verbose, exits, unwinding
from polymodal.cli.progress_bar import LOADING, open_progress


def explain_command(
    model: ModelPath,
    data: Data,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="ROWS",
            help="Which rows, as in 1,5-9; default: the first 20, and a summary of the first 200.",
        ),
    ] = None,
    target: Annotated[
        list[str], typer.Option("--target", metavar="COL", help="Target to explain; default: all; repeat for several.")
    ] = [],  # noqa: B006
    stream: Annotated[
        list[str],
        typer.Option("--stream", metavar="NAME", help="Look inside the cells of this stream only; repeat for several."),
    ] = [],  # noqa: B006
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the page, explanation.json and figures."),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(
            "--training",
            metavar="FILE",
            help="Rows to show what would change an answer; default: the table that the model was trained on.",
        ),
    ] = None,
    method: Annotated[
        Literal["occlusion", "owen", "gradients"],
        typer.Option(
            help="Inside cells: what the answer loses without a part, shares that add up, or gradients of the network."
        ),
    ] = "occlusion",
    passes: Annotated[
        int,
        typer.Option(
            metavar="N", help="Most network passes a row, nearly all of them to look inside its cells; 0: streams only."
        ),
    ] = 50,
    streams_only: Annotated[
        bool, typer.Option("--streams-only", help="Do not look inside cells; the same as --passes 0.")
    ] = False,
    device: Device = None,
    strict: StrictTable = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Explain why rows of a table get their answers: which stream decided, and what would change the answer."""
    with exits("Stopped; nothing was written."), unwinding(), open_progress(verbose, quiet) as progress:
        from polymodal.cli import console, explanation_tables, options
        from polymodal.report.explanation_folder import PAGE, check_explanation_folder

        numbers = options.parse_rows(rows)
        if output is not None:
            check_explanation_folder(output)
        with progress.phase(LOADING, None):
            from polymodal.runs.model import load

            loaded = load(model, device)
        explanation = loaded.explain(
            data,
            rows=numbers,
            target=target or None,
            stream=stream or None,
            training=training,
            method=method,
            passes=0 if streams_only else passes,
            strict=strict,
            progress=progress,
        )
        if output is not None:
            explanation.save(output, progress)
        if json:
            console.print_json(explanation.to_json())
            return
        explanation_tables.print_explanation(explanation)
        if output is not None:
            console.print_line(f"Explanation: {output / PAGE}")
