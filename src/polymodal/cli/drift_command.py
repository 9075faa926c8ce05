"""The command ``polymodal drift``.

Slow imports are made inside the command.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.arguments import Data, Device, Json, ModelPath, Quiet, Verbose, exits
from polymodal.cli.progress_bar import LOADING, open_progress

EXIT_DRIFT = 1
PAGE, JSON_FILE = "drift.html", "drift.json"


def drift_command(
    model: ModelPath,
    data: Data,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help=f"Folder to write {PAGE} and {JSON_FILE} to."),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(metavar="P", help="Most probable share of tables without drift that raise any alarm."),
    ] = 0.05,
    min_effect: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Differences that concern a smaller share of the rows are no drift."),
    ] = 0.05,
    rows: Annotated[
        int, typer.Option(metavar="N", help="Most rows of DATA that are compared, drawn at random.")
    ] = 2000,
    training: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The training table, for models that were saved by earlier versions."),
    ] = None,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help=f"Exit with {EXIT_DRIFT} where there is drift.")
    ] = False,
    device: Device = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Compare a new table with the training rows: columns, embeddings and predictions, the worst first."""
    with exits("Stopped."), open_progress(verbose, quiet) as progress:
        check_output_folder(output)
        with progress.phase(LOADING, None):
            from polymodal.runs.model import load

            loaded = load(model, device)
        found = loaded.drift(data, alpha=alpha, min_effect=min_effect, rows=rows, training=training, progress=progress)
        if output is not None:
            from polymodal.atomic_files import write_text
            from polymodal.cli.json_text import json_text
            from polymodal.report.drift_page import write_drift

            output.mkdir(parents=True, exist_ok=True)
            write_text(output / JSON_FILE, json_text(found.to_json()))
            write_drift(found, output / PAGE, shlex.join(["polymodal", *sys.argv[1:]]))
        if json:
            from polymodal.cli.console import print_json

            print_json(found.to_json())
        else:
            from polymodal.cli.drift_table import print_drift

            print_drift(found, None if output is None else output / PAGE)
    if fail_on_drift and found.is_drifted:
        raise typer.Exit(EXIT_DRIFT)


def check_output_folder(output: Path | None) -> None:
    """Check that a page can be written there, before any work is done.

    Args:
        output: The folder, or None.

    Raises:
        ConfigError: If it is a file.
    """
    from polymodal.errors import ConfigError

    if output is not None and output.exists() and not output.is_dir():
        raise ConfigError(f"The output {output} is a file. Choose another --output.")
