"""The command line: ``polymodal inspect | train | compare | evaluate | predict | embed | index | search | cache ...``.

Slow imports are made inside the command that needs them.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from polymodal.cli.arguments import (
    Config,
    Data,
    Drop,
    Encoders,
    Group,
    Json,
    Modalities,
    ModelPath,
    Preset,
    Settings,
    Shares,
    Slices,
    Streams,
    Strict,
    Targets,
    Test,
    Time,
    TimeLimit,
    Validation,
    exits,
    unwinding,
)
from polymodal.cli.cache_commands import cache_app
from polymodal.cli.compare_command import compare_command
from polymodal.cli.search_commands import embed_command, index_command, search_command

FEW_CLASSES = 20
SPINS = "10000"

app = typer.Typer(
    name="polymodal",
    help="Learn from tables whose cells are anything: pictures, sound, text, numbers; any cell may be missing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.command("inspect")
def inspect_command(
    data: Data,
    target: Targets = [],  # noqa: B006
    modality: Modalities = [],  # noqa: B006
    stream: Streams = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Show what each column is and why, its missing and broken cells, and the balance of classes."""
    with exits("Stopped."):
        from polymodal.cli import console, options
        from polymodal.cli.progress_bar import open_progress
        from polymodal.data.schema.inspection import inspect_table
        from polymodal.data.tables.table import read_table

        table = read_table(data)
        inspection = inspect_table(
            table,
            targets=target,
            modality=options.parse_pairs("--modality", modality, last=True),
            streams=options.parse_streams(stream),
            drop=drop,
            progress=open_progress(),
        )
        if json:
            console.print_json(inspection)
        else:
            console.print_inspection(table.name, inspection)


@app.command("train")
def train_command(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="CSV, TSV, JSONL or Parquet file, or a folder of class folders; may be left to --config.",
            show_default=False,
        ),
    ] = None,
    target: Targets = [],  # noqa: B006
    validation: Validation = None,
    test: Test = None,
    group: Group = None,
    time: Time = None,
    preset: Preset = None,
    time_limit: TimeLimit = None,
    fusion: Annotated[str | None, typer.Option(metavar="NAME", help="One of: polymodal list fusions.")] = None,
    modality: Modalities = [],  # noqa: B006
    stream: Streams = [],  # noqa: B006
    share: Shares = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    slices: Slices = [],  # noqa: B006
    relevance: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Without a target: rows equal in this column count as matches when judging."),
    ] = None,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Also learn to recover each stream from the others.")
    ] = False,
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A trained model to learn from as well; it may know more.")
    ] = None,
    encoder: Encoders = [],  # noqa: B006
    config: Config = None,
    setting: Settings = [],  # noqa: B006
    seed: Annotated[int | None, typer.Option(help="Fixes every random choice; default: 0.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder; default: runs/ and the table's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last saved step of the run folder.")] = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Learn to predict columns of a table, or, without a target, how its columns relate; write a run folder."""
    with exits("Stopped. The same command with --resume goes on from the last saved step."):
        from polymodal.cli import console, options, result_tables
        from polymodal.cli.progress_bar import open_progress

        source = options.find_data(data, config)
        folder = output or options.choose_run_folder(source, resume)
        common = options.RunArguments(
            validation=validation,
            test=test,
            group=group,
            time=time,
            preset=preset,
            time_limit=time_limit,
            fusion=fusion,
            modality=modality,
            stream=stream,
            share=share,
            drop=drop,
            slices=slices,
            encoder=encoder,
            config=config,
            setting=setting,
            strict=strict,
        ).parsed()
        common.update({"relevance": relevance, "reconstruct": reconstruct or None, "teacher": teacher})
        from polymodal.nn.distributed import is_main_process
        from polymodal.runs.fit import fit

        model = fit(
            source,
            target=tuple(target) or None,
            seed=seed,
            output=folder,
            resume=resume,
            progress=open_progress(),
            command=shlex.join(["polymodal", *sys.argv[1:]]),
            **common,
        )
        if not is_main_process():
            return
        if json:
            console.print_json(model.summary())
            return
        result_tables.print_results(model.report_data)
        result_tables.print_slices(model.report_data)
        console.print_pairs(model.report_data)
        console.print_broken(model.report_data["broken_cells"], f" in {folder / 'metrics.json'}")
        for notice in model.report_data["notices"]:
            console.print_line(f"Note: {notice}")
        console.print_line(f"Run folder: {folder}")
        console.print_line(f"Report:     {folder / 'report.html'}")


app.command("compare")(compare_command)


@app.command("evaluate")
def evaluate_command(
    model: ModelPath,
    data: Data,
    slices: Slices = [],  # noqa: B006
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Judge a model on a table that holds the truth: scores with intervals, its streams, baselines, missing streams."""
    with exits("Stopped."):
        from polymodal.cli import console, result_tables
        from polymodal.cli.progress_bar import open_progress
        from polymodal.model.model import load

        report_data = load(model).evaluation_report(
            data, slices=slices or None, strict=strict, progress=open_progress()
        )
        if json:
            from polymodal.model.summary import summary_of

            console.print_json(summary_of(report_data))
            return
        result_tables.print_results(report_data)
        console.print_pairs(report_data)
        result_tables.print_slices(report_data)
        console.print_missing(report_data)
        console.print_broken(report_data["broken_cells"], " (--json lists them all)")


@app.command("predict")
def predict_command(
    model: ModelPath,
    data: Data,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Ends in .csv, .jsonl or .parquet; without it, or -: CSV on screen."
        ),
    ] = None,
    probabilities: Annotated[
        Literal["all", "top"] | None,
        typer.Option(help=f"Of every class, or of the prediction only; default: all up to {FEW_CLASSES} classes."),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Add the fusion's weight of each stream.")] = False,
    strict: Strict = False,
) -> None:
    """Predict every row of a table, in its order: labels and probabilities."""
    on_screen = output is None or output == "-"
    with exits("Stopped." if on_screen else "Stopped; nothing was written."), unwinding():
        from polymodal.cli import console
        from polymodal.cli.prediction_files import check_output, open_output
        from polymodal.cli.progress_bar import open_progress
        from polymodal.progress import SilentProgress

        check_output(output)
        from polymodal.model.model import load

        progress = SilentProgress() if on_screen else open_progress()
        batches = load(model).predict_batches(data, weights=weights, strict=strict, progress=progress)
        num_rows, broken = 0, console.BrokenCells()
        with open_output(output) as write:
            for batch in batches:
                most = max((len(names or ()) for names in batch.classes.values()), default=0)
                all_classes = probabilities == "all" or (probabilities is None and most <= FEW_CLASSES)
                write(batch.to_columns(all_classes), batch.records)
                num_rows += len(batch)
                broken.add(batch.broken_cells)
        if not on_screen:
            console.print_line(f"{num_rows:,} rows predicted: {output}")
        console.print_broken(broken.first, "", broken.number)


@app.command("list")
def list_command(
    what: Annotated[
        Literal["modalities", "encoders", "fusions", "targets", "metrics"],
        typer.Argument(help="What to list."),
    ],
    json: Json = False,
) -> None:
    """List what there is, one line each; of parts the paper they come from, of metrics what they are measured in."""
    with exits("Stopped."):
        from polymodal.cli import console

        headings, list_entries = LISTS[what]
        entries = list_entries()
        if json:
            console.print_json({str(name): dict(zip(headings, cells, strict=True)) for name, *cells in entries})
        else:
            console.print_entries(what, list(headings.values()), entries)


app.command("embed")(embed_command)
app.command("index")(index_command)
app.command("search")(search_command)
app.add_typer(cache_app, name="cache", no_args_is_help=True)

Entry = tuple[str | list[str], ...]
"""Its name, and a cell for each heading of the list."""
PART_HEADINGS = {"summary": "what it does", "paper": "paper"}
METRIC_HEADINGS = {"title": "title", "better": "better", "unit": "unit", "kinds": "kinds of target"}
"""Key in JSON to heading in the table."""


def _list_modalities() -> list[Entry]:
    from polymodal.modalities import MODALITIES

    return [(name, modality.summary, modality.paper) for name, modality in MODALITIES.items()]


def _list_encoders() -> list[Entry]:
    from polymodal.encoders import ENCODERS

    return [
        (f"{modality}: {name}", entry.summary + _default_mark(name == next(iter(entries))), entry.paper)
        for modality, entries in ENCODERS.items()
        for name, entry in entries.items()
    ]


def _list_fusions() -> list[Entry]:
    from polymodal.fusion import DEFAULT_FUSION, FUSIONS

    return [
        (name, entry.summary + _default_mark(name == DEFAULT_FUSION), entry.paper) for name, entry in FUSIONS.items()
    ]


def _list_targets() -> list[Entry]:
    from polymodal.targets import TARGETS

    return [(name, entry.summary, entry.paper) for name, entry in TARGETS.items()]


def _list_metrics() -> list[Entry]:
    from polymodal.metrics import METRICS

    return [
        (name, m.title, "higher" if m.higher_is_better else "lower", m.unit, m.kinds) for name, m in METRICS.items()
    ]


def _default_mark(is_default: bool) -> str:
    return " (default)" if is_default else ""


LISTS: dict[str, tuple[dict[str, str], Callable[[], list[Entry]]]] = {
    "modalities": (PART_HEADINGS, _list_modalities),
    "encoders": (PART_HEADINGS, _list_encoders),
    "fusions": (PART_HEADINGS, _list_fusions),
    "targets": (PART_HEADINGS, _list_targets),
    "metrics": (METRIC_HEADINGS, _list_metrics),
}


def main() -> None:
    """Run the command line.

    Threads that wait for each other fall asleep after some 30 microseconds, not after a millisecond: on a machine that
    is busy with other work they would keep each other from the cores. Who sets OpenMP's waiting decides.

    Raises:
        SystemExit: Always, with the exit code.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS  # read when torch is imported
    app()


if __name__ == "__main__":
    main()
