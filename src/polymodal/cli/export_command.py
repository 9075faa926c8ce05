"""The command ``polymodal export``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polymodal.cli.arguments import Json, ModelPath, Quiet, Verbose, exits
from polymodal.cli.progress_bar import LOADING, open_progress


def export_command(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="Folder to write the bundle to.")],
    table: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Rows to check the bundle with; default: the first ones of the training table."
        ),
    ] = None,
    form: Annotated[
        Literal["onnx", "torch", "huggingface"],
        typer.Option(
            "--format",
            help="onnx; torch: also programs of torch.export, for use in torch; huggingface: also what the hub needs.",
        ),
    ] = "onnx",
    license_name: Annotated[
        str,
        typer.Option("--license", metavar="NAME", help="Licence of the model, for its card, as the hub names it."),
    ] = "unknown",
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Export a run as a bundle that predicts without torch, once it has answered rows as the run does."""
    with exits("Stopped. Nothing was written."), open_progress(verbose, quiet) as progress:
        with progress.phase(LOADING, None):
            from polymodal.runs.model import load

            loaded = load(model, "cpu")
        parity = loaded.export(output, table=table, format=form, license=license_name, progress=progress)
        if json:
            from polymodal.cli.console import print_json

            print_json({"bundle": str(output), "parity": parity.to_json()})
        else:
            from polymodal.cli.export_table import print_export

            print_export(parity, output)
