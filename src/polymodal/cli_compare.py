"""The command ``polymodal compare``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from polymodal.arguments import exits


def compare_command(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="CSV, TSV, JSONL or Parquet file, or a folder of class folders.")
    ],
    target: Annotated[list[str], typer.Option(metavar="COL", help="Column to predict; repeat for several.")] = [],  # noqa: B006
    fusions: Annotated[
        str | None, typer.Option(metavar="NAMES", help="all (the default), or names by comma: sum,film,transformer.")
    ] = None,
    variant: Annotated[
        list[str],
        typer.Option(metavar="NAME:OPTIONS", help="Options of run.yaml by comma, as in 'long: train.epochs=50'."),
    ] = [],  # noqa: B006
    seeds: Annotated[str, typer.Option(metavar="NUMBERS", help="Train each once with each of these: 0,1,2.")] = "0",
    validation: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table to choose the best epoch by; else split off.")
    ] = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Table to judge by; else split off.")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COL", help="No value of this column stands on both sides of a split.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COL", help="Split by time; the latest rows are held out.")
    ] = None,
    preset: Annotated[
        Literal["fast", "balanced", "best"] | None, typer.Option(help="How large and how long; default: balanced.")
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="End each training after this time: 90, 90s, 5m, 1h.")
    ] = None,
    fusion: Annotated[str | None, typer.Option(metavar="NAME", help="Fusion of the variants that name none.")] = None,
    modality: Annotated[
        list[str], typer.Option(metavar="COL=MODALITY", help="Overrule what a column holds, as in col=image.")
    ] = [],  # noqa: B006
    stream: Annotated[
        list[str], typer.Option(metavar="NAME=GLOB", help="Put columns into one stream; globs by comma.")
    ] = [],  # noqa: B006
    share: Annotated[
        list[str], typer.Option(metavar="NAME=GLOB", help="Streams of one modality share one encoder; globs by comma.")
    ] = [],  # noqa: B006
    drop: Annotated[list[str], typer.Option(metavar="COL", help="Leave a column out.")] = [],  # noqa: B006
    encoder: Annotated[
        list[str], typer.Option(metavar="COL=NAME", help="One of: polymodal list encoders, or a checkpoint for text.")
    ] = [],  # noqa: B006
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A run.yaml; other options win over it.")] = None,
    setting: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="Any option of run.yaml for all variants.")
    ] = [],  # noqa: B006
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the comparison; default: runs/compare- and the table's name."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first cell that cannot be read.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")
    ] = False,
) -> None:
    """Train all fusions, or any variants, on the same rows and seeds; finished runs in the folder are not repeated."""
    with exits("Stopped. The same command goes on with the runs that are not finished."):
        from polymodal import console, options

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
        from polymodal.study import compare

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
            progress=console.open_progress(),
            command=shlex.join(["polymodal", *sys.argv[1:]]),
        )
        if json:
            console.print_json(found.to_dict())
            return
        console.print_comparison(found)
        console.print_line(f"Comparison: {folder / 'compare.html'}")
