"""The command ``polymodal acquire``.

Slow imports are made inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polymodal.cli.arguments import Data, Device, Json, ModelPath, Quiet, StrictTable, Verbose, exits, unwinding
from polymodal.cli.progress_bar import LOADING, open_progress

if TYPE_CHECKING:
    from polymodal.acquisition.acquisition import Acquisition, Labelling


def acquire_command(
    model: ModelPath,
    data: Data,
    cost: Annotated[
        list[str],
        typer.Option("--cost", metavar="STREAM=COST", help="What getting a stream costs, by comma; others cost 1."),
    ] = [],  # noqa: B006
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="COST", help="Most cost in all; with --label most rows.")
    ] = None,
    price: Annotated[
        float, typer.Option("--price", metavar="LOSS", help="Loss that one unit of cost is worth; less is left out.")
    ] = 0.0,
    training: Annotated[
        Path | None,
        typer.Option("--training", metavar="FILE", help="Rows like those of the training; default: the run's own."),
    ] = None,
    estimator: Annotated[
        str | None, typer.Option("--estimator", metavar="NAME", help="value (the default) or neighbours.")
    ] = None,
    label: Annotated[
        bool, typer.Option("--label", help="Order the rows without a label by what labelling them would teach.")
    ] = False,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COL", help="With --label: the target, where there are several.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Ends in .csv, .jsonl or .parquet; .html writes a page."),
    ] = None,
    device: Device = None,
    strict: StrictTable = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Tell which absent cells, or with --label which labels, are worth getting next, and in which order."""
    with exits("Stopped; nothing was written."), unwinding(), open_progress(verbose, quiet) as progress:
        from polymodal.cli import acquire_options

        costs = acquire_options.parse_costs(cost)
        acquire_options.check_output(output, data)
        most = acquire_options.check_kind(
            label, budget, target, {"--cost": costs, "--price": price, "--training": training, "--estimator": estimator}
        )
        with progress.phase(LOADING, None):
            from polymodal.runs.model import load

            loaded = load(model, device)
        found: Acquisition | Labelling
        if label:
            found = loaded.choose_labels(data, budget=most, target=target, strict=strict, progress=progress)
        else:
            found = loaded.acquire(
                data,
                costs=costs,
                budget=budget,
                price=price,
                training=training,
                estimator=estimator,
                strict=strict,
                progress=progress,
            )
        acquire_options.write(found, output)
        _print(found, output, json)


def _print(found: Any, output: str | None, json: bool) -> None:
    from polymodal.cli import acquire_tables, console

    if json:
        console.print_json({**found.state(), "output": output})
        return
    acquire_tables.print_found(found)
    if output is not None:
        console.print_line(f"Written: {output}")
