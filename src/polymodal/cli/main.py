"""The command line: ``polymodal inspect | train | evaluate | predict | explain | stress | drift | embed | ...``.

Slow imports are made inside the command that needs them.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.acquire_command import acquire_command
from polymodal.cli.arguments import (
    Config,
    Data,
    Device,
    Drop,
    Encoders,
    Group,
    Harden,
    Json,
    Log,
    Modalities,
    ModelPath,
    Preset,
    Quiet,
    Settings,
    Shares,
    Slices,
    Streams,
    Stress,
    Strict,
    StrictTable,
    Targets,
    Test,
    TestShare,
    Time,
    TimeLimit,
    Validation,
    ValidationShare,
    Verbose,
    exits,
    printing,
)
from polymodal.cli.cache_commands import cache_app
from polymodal.cli.compare_command import compare_command
from polymodal.cli.compress_command import compress_command
from polymodal.cli.drift_command import drift_command
from polymodal.cli.explain_command import explain_command
from polymodal.cli.export_command import export_command
from polymodal.cli.features_option import Features, load_features, with_features
from polymodal.cli.list_command import list_command
from polymodal.cli.predict_command import predict_command
from polymodal.cli.progress_bar import LOADING, open_progress
from polymodal.cli.push_command import push_command
from polymodal.cli.remote_option import with_remote
from polymodal.cli.search_commands import embed_command, index_command, search_command
from polymodal.cli.serve_command import serve_command
from polymodal.cli.stress_command import stress_command
from polymodal.version import VERSION as __version__  # noqa: N811

SPINS = "10000"

app = typer.Typer(
    name="polymodal",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"polymodal {__version__}")
        raise typer.Exit


@app.callback()
def polymodal_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Learn from tables whose cells are anything: pictures, sound, text, numbers; any cell may be missing."""


@app.command("inspect")
@with_remote
def inspect_command(
    data: Data,
    target: Targets = [],  # noqa: B006
    modality: Modalities = [],  # noqa: B006
    stream: Streams = [],  # noqa: B006
    features: Features = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Show what each column is and why, its missing and broken cells, and the balance of classes."""
    with exits("Stopped."), open_progress(verbose, quiet) as progress:
        with progress.phase(LOADING, None):
            from polymodal.cli import console, options
            from polymodal.data.features import add_features, feature_name, functions_by_name
            from polymodal.data.inspection import inspect_table
            from polymodal.data.tables.table import read_table

        given = load_features(features)
        names, functions = list(map(feature_name, given)), functions_by_name(given)
        table = add_features(read_table(data), names, functions, target, is_checked=True)
        inspection = inspect_table(
            table,
            targets=target,
            modality=options.parse_pairs("--modality", modality, last=True),
            streams=options.parse_streams(stream),
            drop=drop,
            progress=progress,
        )
        if json:
            console.print_json(inspection)
        else:
            console.print_inspection(table.name, inspection)


@app.command("train")
@with_remote
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
    validation_share: ValidationShare = None,
    test_share: TestShare = None,
    group: Group = None,
    time: Time = None,
    preset: Preset = None,
    time_limit: TimeLimit = None,
    fusion: Annotated[str | None, typer.Option(metavar="NAME", help="One of: polymodal list fusions.")] = None,
    modality: Modalities = [],  # noqa: B006
    stream: Streams = [],  # noqa: B006
    share: Shares = [],  # noqa: B006
    features: Features = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    slices: Slices = [],  # noqa: B006
    relevance: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Without a target: rows equal in this column count as matches when judging."),
    ] = None,
    reconstruct: Annotated[
        bool,
        typer.Option("--reconstruct", help="Also learn to recover absent cells from the others of a row."),
    ] = False,
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A trained model to learn from as well; it may know more.")
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Further rows without a target, which the teacher answers."),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option("--init-from", metavar="RUN", help="An earlier run whose encoders this one starts from."),
    ] = None,
    encoder: Encoders = [],  # noqa: B006
    config: Config = None,
    setting: Settings = [],  # noqa: B006
    seed: Annotated[int | None, typer.Option(help="Fixes every random choice; default: 0.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Run folder; default: runs/ and the table's name."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last saved step of the run folder.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Let the report explain some rows: which stream, word, pixels decided.")
    ] = False,
    device: Device = None,
    log: Log = [],  # noqa: B006
    harden: Harden = False,
    stress: Stress = False,
    strict: Strict = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Learn to predict columns of a table, or, without a target, how its columns relate; write a run folder."""
    interrupted = "Stopped. The same command with --resume goes on from the last saved step."
    with exits(interrupted), open_progress(verbose, quiet) as progress:
        from polymodal.cli import options
        from polymodal.nn.ranks import is_main_process
        from polymodal.runs.trackers import check_trackers

        check_trackers(log)
        source = options.find_data(data, config)
        folder = output or options.choose_run_folder(source, resume)
        common = options.RunArguments(
            validation=validation,
            test=test,
            validation_share=validation_share,
            test_share=test_share,
            group=group,
            time=time,
            preset=preset,
            time_limit=time_limit,
            fusion=fusion,
            modality=modality,
            stream=stream,
            share=share,
            features=features,
            drop=drop,
            slices=slices,
            encoder=encoder,
            config=config,
            setting=setting,
            device=device,
            strict=strict,
        ).parsed()
        common.update({"relevance": relevance, "reconstruct": reconstruct or None, "init_from": init_from})
        common.update({"teacher": teacher, "unlabelled": unlabelled})
        common.update({"harden": harden or None, "stress": stress or None, "explain": explain or None})
        with progress.phase(LOADING, None):
            from polymodal.cli import console, recovery_table, result_tables
            from polymodal.model.summary import run_notices
            from polymodal.runs.fit import fit

        model = fit(
            source,
            target=tuple(target) or None,
            seed=seed,
            output=folder,
            resume=resume,
            progress=progress,
            log=log,
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
        recovery_table.print_recovery(model.report_data)
        console.print_broken(model.report_data["broken_cells"], f" in {folder / 'metrics.json'}")
        for notice in run_notices(model.report_data):
            console.print_line(f"Note: {notice}")
        console.print_line(f"Run folder: {folder}")
        console.print_line(f"Report:     {folder / 'report.html'}")


app.command("compare")(with_remote(compare_command))


@app.command("evaluate")
@with_remote
@with_features
def evaluate_command(
    model: ModelPath,
    data: Data,
    slices: Slices = [],  # noqa: B006
    stress: Stress = False,
    device: Device = None,
    strict: StrictTable = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Judge a model on a table that holds the truth: scores with intervals, its streams, baselines, missing streams."""
    with exits("Stopped."), open_progress(verbose, quiet) as progress:
        with progress.phase(LOADING, None):
            from polymodal.cli import certainty_tables, console, recovery_table, result_tables, stress_tables
            from polymodal.runs.model import load

            loaded = load(model, device)
        report_data = loaded.evaluation_report(data, slices=slices or None, strict=strict, progress=progress)
        found = loaded.stress(data, progress=progress) if stress else None
        if json:
            from polymodal.model.summary import summary_of

            console.print_json(summary_of(report_data | ({"stress": found.state()} if found else {})))
            return
        result_tables.print_results(report_data)
        console.print_pairs(report_data)
        result_tables.print_slices(report_data)
        console.print_missing(report_data)
        certainty_tables.print_certainty(report_data)
        recovery_table.print_recovery(report_data)
        if found is not None:
            stress_tables.print_stress(found)
        for notice in report_data["notices"]:
            console.print_line(f"Note: {notice}")


app.command("predict")(with_remote(with_features(predict_command)))
app.command("compress")(with_remote(compress_command))
app.command("drift")(with_remote(with_features(drift_command)))
app.command("explain")(with_remote(with_features(explain_command)))
app.command("stress")(with_remote(with_features(stress_command)))
app.command("acquire")(with_remote(with_features(acquire_command)))
app.command("export")(with_remote(export_command))
app.command("push")(push_command)
app.command("list")(list_command)
app.command("embed")(with_remote(with_features(embed_command)))
app.command("index")(with_remote(with_features(index_command)))
app.command("search")(search_command)
app.command("serve")(serve_command)
app.add_typer(cache_app, name="cache", no_args_is_help=True)


def main() -> None:
    """Run the command line.

    Threads that wait for each other fall asleep after some 30 microseconds, not after a millisecond: on a machine that
    is busy with other work they would keep each other from the cores. Who sets OpenMP's waiting decides.

    Raises:
        SystemExit: Always, with the exit code.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS  # read when torch is imported
    with printing():
        app()


if __name__ == "__main__":
    main()
