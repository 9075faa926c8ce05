"""Arguments that commands have in common, and the conversion of errors to sentences and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.errors import PolymodalError, PolymodalWarning

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="CSV, TSV, JSONL or Parquet file, or a folder of class folders.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, or the model folder in it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first cell that cannot be read.")]
StrictTable = Annotated[
    bool,
    typer.Option("--strict", help="Stop at an absent input column, a cell that cannot be read, or unseen categories."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="cpu, cuda or cuda:1; default: a GPU where there is one."),
]
Targets = Annotated[list[str], typer.Option("--target", metavar="COL", help="Column to predict; repeat for several.")]
Modalities = Annotated[
    list[str], typer.Option("--modality", metavar="COL=MODALITY", help="Overrule what a column holds, as in col=image.")
]
Streams = Annotated[
    list[str],
    typer.Option("--stream", metavar="NAME=GLOB", help="Put columns into one stream; globs by comma."),
]
Shares = Annotated[
    list[str],
    typer.Option("--share", metavar="NAME=GLOB", help="Streams of one modality share one encoder; globs by comma."),
]
Drop = Annotated[list[str], typer.Option("--drop", metavar="COL", help="Leave a column out.")]
Slices = Annotated[
    list[str],
    typer.Option("--slice", metavar="COL", help="Score the rows of each value of a column too; repeat for several."),
]
Validation = Annotated[
    Path | None, typer.Option("--validation", metavar="FILE", help="Table to choose the best epoch by; else split off.")
]
Test = Annotated[Path | None, typer.Option("--test", metavar="FILE", help="Table to judge by; else split off.")]
ValidationShare = Annotated[
    float | None,
    typer.Option("--validation-share", metavar="SHARE", help="Share of the rows to choose by; default: 0.15."),
]
TestShare = Annotated[
    float | None,
    typer.Option("--test-share", metavar="SHARE", help="Share of the rows to judge by, 0 for none; default: 0.15."),
]
Group = Annotated[
    str | None,
    typer.Option("--group", metavar="COL", help="No value of this column stands on both sides of a split."),
]
Time = Annotated[str | None, typer.Option("--time", metavar="COL", help="Split by time; the latest rows are held out.")]
Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="How large and how long: fast, balanced (the default) or best."),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="TIME",
        help="Plan each run to end after this time, also the network's width: 90, 90s, 5m, 1h.",
    ),
]
Encoders = Annotated[
    list[str],
    typer.Option(
        "--encoder",
        metavar="COL=NAME",
        help="One of: polymodal list encoders; for text, images and sound also a checkpoint's folder or hub name.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A run.yaml; repeats that run. Other options win over it."),
]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="Any option of run.yaml by its dotted name: train.epochs=20."),
]


@contextmanager
def exits(interrupted: str) -> Iterator[None]:
    """Convert errors of the user to a sentence on standard error and an exit code, and warnings to a sentence there.

    Args:
        interrupted: The sentence for a keyboard interrupt.

    Yields:
        Nothing; the command runs inside.

    Raises:
        Exit: With 2 for a user's error, 130 for an interrupt, 141 for a closed pipe.
    """
    try:
        with _warnings_as_sentences():
            yield
        sys.stdout.flush()
    except PolymodalError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_USER_ERROR) from None
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(EXIT_BROKEN_PIPE) from None


@contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", PolymodalWarning)
        show = warnings.showwarning

        def show_sentence(message: Any, category: type[Warning], *place: Any) -> None:
            if issubclass(category, PolymodalWarning):
                print(message, file=sys.stderr, flush=True)
            else:
                show(message, category, *place)

        warnings.showwarning = show_sentence  # type: ignore[assignment]
        yield


@contextmanager
def unwinding() -> Iterator[None]:
    """Handle SIGTERM like a keyboard interrupt, so that temporary files are removed.

    Yields:
        Nothing; the command runs inside.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
