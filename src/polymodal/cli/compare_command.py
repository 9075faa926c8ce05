"""The command ``polymodal compare``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.arguments import (
    Config,
    Data,
    Device,
    Drop,
    Encoders,
    Group,
    Json,
    Log,
    Modalities,
    Preset,
    Quiet,
    Settings,
    Shares,
    Slices,
    Streams,
    Strict,
    Targets,
    Test,
    TestShare,
    Time,
    TimeLimit,
    Validation,
    ValidationShare,
    Verbose,
    exits,
)
from polymodal.cli.features_option import Features
from polymodal.cli.progress_bar import LOADING, open_progress


def compare_command(
    data: Data,
    target: Targets = [],  # noqa: B006
    fusions: Annotated[
        str | None, typer.Option(metavar="NAMES", help="all (the default), or names by comma: sum,film,transformer.")
    ] = None,
    variant: Annotated[
        list[str],
        typer.Option(metavar="NAME:OPTIONS", help="Options of run.yaml by comma, as in 'long: train.epochs=50'."),
    ] = [],  # noqa: B006
    seeds: Annotated[str, typer.Option(metavar="NUMBERS", help="Train each once with each of these: 0,1,2.")] = "0",
    validation: Validation = None,
    test: Test = None,
    validation_share: ValidationShare = None,
    test_share: TestShare = None,
    group: Group = None,
    time: Time = None,
    preset: Preset = None,
    time_limit: TimeLimit = None,
    fusion: Annotated[str | None, typer.Option(metavar="NAME", help="Fusion of the variants that name none.")] = None,
    modality: Modalities = [],  # noqa: B006
    stream: Streams = [],  # noqa: B006
    share: Shares = [],  # noqa: B006
    features: Features = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    slices: Slices = [],  # noqa: B006
    encoder: Encoders = [],  # noqa: B006
    config: Config = None,
    setting: Settings = [],  # noqa: B006
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the comparison; default: runs/compare- and the table's name.",
        ),
    ] = None,
    device: Device = None,
    log: Log = [],  # noqa: B006
    strict: Strict = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train all fusions, or any variants, on the same rows and seeds; finished runs in the folder are not repeated."""
    interrupted = "Stopped. The same command goes on with the runs that are not finished."
    with exits(interrupted), open_progress(verbose, quiet) as progress:
        from polymodal.cli import options
        from polymodal.runs.trackers import check_trackers

        check_trackers(log)

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
        variants = options.parse_variants(variant)
        folder = output or Path("runs") / f"compare-{Path(data).resolve().stem}"
        with progress.phase(LOADING, None):
            from polymodal.cli import console, result_tables
            from polymodal.runs.compare import compare

        comparison = compare(
            data,
            target=tuple(target) or None,
            fusions=options.parse_names(fusions),
            variants=variants,
            seeds=options.parse_seeds(seeds),
            output=folder,
            progress=progress,
            log=log,
            command=shlex.join(["polymodal", *sys.argv[1:]]),
            **common,
        )
        if json:
            console.print_json(comparison.to_dict())
            return
        result_tables.print_comparison(comparison)
        console.print_line(f"Comparison: {folder / 'compare.html'}")
