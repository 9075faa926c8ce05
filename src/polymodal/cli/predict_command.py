"""The command ``polymodal predict``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from polymodal.cli.arguments import Data, Device, ModelPath, Quiet, StrictTable, Verbose, exits, unwinding
from polymodal.cli.progress_bar import LOADING, open_progress

FEW_CLASSES = 20


def predict_command(
    model: ModelPath,
    data: Data,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Ends in .csv, .jsonl or .parquet; without it, or -: CSV on screen."
        ),
    ] = None,
    keep: Annotated[
        list[str],
        typer.Option("--keep", metavar="COLS", help="Columns of DATA to copy to the output, by comma: id,date."),
    ] = [],  # noqa: B006
    probabilities: Annotated[
        Literal["all", "top"] | None,
        typer.Option(help=f"Of every class, or of the prediction only; default: all up to {FEW_CLASSES} classes."),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Add the fusion's weight of each stream.")] = False,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Add sets of labels and intervals of numbers that hold the truth this often, such as 0.9.",
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            metavar="ACCURACY", help="Leave out the labels of unsure rows, so that answers are right this often: 0.95."
        ),
    ] = None,
    unusual: Annotated[
        bool,
        typer.Option(
            "--unusual", help="Add how unusual each row is: a p-value, small where it is unlike training rows."
        ),
    ] = False,
    recovered: Annotated[
        Path | None,
        typer.Option(
            "--recovered", metavar="DIR", help="Write recovered pictures to DIR as PNG files, which the output names."
        ),
    ] = None,
    device: Device = None,
    strict: StrictTable = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object a row on standard output; with --output one for them all."),
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Predict every row of a table, in its order: labels and probabilities.

    A model that was trained with --reconstruct adds recovered:COLUMN: what absent cells may have held.
    """
    on_screen = output is None or output == "-"
    interrupted = "Stopped." if on_screen else "Stopped; nothing was written."
    with exits(interrupted), unwinding(), open_progress(verbose, quiet, bars=not on_screen) as progress:
        from polymodal.cli import options
        from polymodal.cli.prediction_files import check_output, open_output
        from polymodal.model.recovered_files import check_picture_folder, write_pictures

        check_output(output, data)
        if recovered is not None:
            check_picture_folder(recovered)
        columns = options.parse_columns(keep)
        with progress.phase(LOADING, None):
            from polymodal.runs.model import load

            loaded = load(model, device)
        if recovered is not None:
            loaded.check_recovers("--recovered")
        batches = loaded.predict_batches(
            data,
            keep=columns,
            weights=weights,
            coverage=coverage,
            abstain=abstain,
            strict=strict,
            unusual=unusual,
            progress=progress,
        )
        num_rows, num_broken = 0, 0
        with open_output(output, as_json=json) as write:
            for batch in batches:
                most = max((len(names or ()) for names in batch.classes.values()), default=0)
                all_classes = probabilities == "all" or (probabilities is None and most <= FEW_CLASSES)
                if recovered is not None:
                    batch = replace(batch, recovered=write_pictures(batch.recovered, recovered, num_rows + 1))
                write(batch.to_columns(all_classes), batch.records, columns)
                num_rows, num_broken = num_rows + len(batch), num_broken + len(batch.broken_cells)
        if not on_screen:
            _print_end(output, num_rows, num_broken, json)


def _print_end(output: str | None, num_rows: int, num_broken: int, json: bool) -> None:
    from polymodal.cli import console

    if json:
        console.print_json({"rows": num_rows, "broken_cells": num_broken, "output": output})
    else:
        console.print_line(f"{num_rows:,} rows predicted: {output}")
