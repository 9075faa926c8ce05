"""The command ``polymodal compare``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.cli.arguments import (
    Config,
    Data,
    Drop,
    Encoders,
    Group,
    Json,
    Modalities,
    Preset,
    Settings,
    Shares,
    Streams,
    Strict,
    Targets,
    Test,
    Time,
    TimeLimit,
    Validation,
    exits,
)


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
    group: Group = None,
    time: Time = None,
    preset: Preset = None,
    time_limit: TimeLimit = None,
    fusion: Annotated[str | None, typer.Option(metavar="NAME", help="Fusion of the variants that name none.")] = None,
    modality: Modalities = [],  # noqa: B006
    stream: Streams = [],  # noqa: B006
    share: Shares = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    encoder: Encoders = [],  # noqa: B006
    config: Config = None,
    setting: Settings = [],  # noqa: B006
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the comparison; default: runs/compare- and the table's name."),
    ] = None,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Train all fusions, or any variants, on the same rows and seeds; finished runs in the folder are not repeated."""
    with exits("Stopped. The same command goes on with the runs that are not finished."):
        from polymodal.cli import console, options
        from polymodal.cli.progress_bar import open_progress

        given: dict[str, Any] = {
            "group": group,
            "time": time,
            "preset": preset,
            "modality": options.parse_pairs("--modality", modality, last=True),
            "stream": options.parse_streams(stream),
            "share": options.parse_streams(share, "--share"),
            "drop": tuple(drop),
            "strict": strict,
            "fusion.name": fusion,
            "train.time_limit_s": None if time_limit is None else options.parse_duration(time_limit),
            **{f"encoder.{name}.name": value for name, value in options.parse_pairs("--encoder", encoder).items()},
        }
        settings = {name: value for name, value in given.items() if value} | options.parse_settings(setting)
        variants = options.parse_variants(variant)
        folder = output or Path("runs") / f"compare-{Path(data).resolve().stem}"
        from polymodal.runs.compare import compare

        found = compare(
            data,
            target=tuple(target) or None,
            fusions=options.parse_names(fusions),
            variants=variants,
            seeds=options.parse_seeds(seeds),
            validation=None if validation is None else str(validation),
            test=None if test is None else str(test),
            config=config,
            settings=settings,
            output=folder,
            progress=open_progress(),
            command=shlex.join(["polymodal", *sys.argv[1:]]),
        )
        if json:
            console.print_json(found.to_dict())
            return
        console.print_comparison(found)
        console.print_line(f"Comparison: {folder / 'compare.html'}")
