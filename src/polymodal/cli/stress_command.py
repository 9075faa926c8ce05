"""The command ``polymodal stress``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.arguments import Data, Device, Json, ModelPath, Quiet, Verbose, exits, unwinding
from polymodal.cli.progress_bar import LOADING, open_progress

PAGE, DATA_FILE = "stress.html", "stress.json"


def stress_command(
    model: ModelPath,
    data: Data,
    kinds: Annotated[
        list[str],
        typer.Option("--kinds", metavar="NAMES", help="Noise by comma: image_blur, *_noise, text; default: all."),
    ] = [],  # noqa: B006
    streams: Annotated[
        list[str], typer.Option("--streams", metavar="NAMES", help="Streams that get noise, by comma; default: all.")
    ] = [],  # noqa: B006
    severities: Annotated[str, typer.Option("--severities", metavar="NUMBERS", help="Of 1 to 5, by comma.")] = "1,3,5",
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", help="Rows that are used at most, drawn at random.")
    ] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Fixes the rows and the noise.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help=f"Folder for {PAGE} and {DATA_FILE}; made where needed."),
    ] = None,
    device: Device = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Score a model with noise in its cells, and with streams absent: what it loses, and where."""
    with exits("Stopped; nothing was written."), unwinding(), open_progress(verbose, quiet) as progress:
        from polymodal.cli import console, options, stress_tables

        chosen: dict[str, Any] = {
            "kinds": options.parse_columns(kinds),
            "streams": options.parse_columns(streams),
            "severities": options.parse_seeds(severities, "--severities"),
        }
        with progress.phase(LOADING, None):
            from polymodal.runs.model import load

            loaded = load(model, device)
        found = loaded.stress(data, **chosen, rows=rows, seed=seed, progress=progress)
        if output is not None:
            _write(found, output)
        if json:
            console.print_json(found.state())
        else:
            stress_tables.print_stress(found)
            if output is not None:
                console.print_line(f"Page: {output / PAGE}")


def _write(found: Any, folder: Path) -> None:
    from polymodal.atomic_files import write_text
    from polymodal.cli.json_text import json_text
    from polymodal.report.stress_page import write_stress_page

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / DATA_FILE, json_text(found.state()) + "\n")
    write_stress_page(found, folder / PAGE)
