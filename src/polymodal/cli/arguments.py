"""Arguments that commands have in common, and the conversion of errors to sentences and exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodal.errors import PolymodalError, PolymodalWarning, packages_told

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
FREE_SPACE, ANOTHER_PLACE = "Free some space, or write elsewhere.", "Choose a place that you may write to."
WRITE_ERRORS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), FREE_SPACE) | {errno.EROFS: ANOTHER_PLACE}
"""Errors of the system that only writing has, and what to do about them."""

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="CSV, TSV, JSONL or Parquet file, or a folder of class folders.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, the model folder in it, or a bundle.")]
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
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show details: precision, duration of steps, what the cache held.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress: only errors and results.")]
Log = Annotated[
    list[str],
    typer.Option("--log", metavar="NAME", help="Also log to tensorboard, mlflow, trackio or wandb; repeatable."),
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
    typer.Option(
        "--share",
        metavar="all|NAME=GLOB",
        help="Streams of one modality share an encoder, those of several the layers behind their own; globs by comma.",
    ),
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

Stress = Annotated[
    bool, typer.Option("--stress", help="Also score with noise in the cells and with streams absent, for the report.")
]
Harden = Annotated[bool, typer.Option("--harden", help="Also learn from cells with noise in them, as --stress tries.")]


@contextmanager
def exits(interrupted: str) -> Iterator[None]:
    """Convert errors of the user to a sentence on standard error and an exit code, and warnings to a sentence there.

    Args:
        interrupted: The sentence for a keyboard interrupt.

    Yields:
        Nothing; the command runs inside.

    Raises:
        Exit: With 2 for a user's error or one of the system's, such as a full disk, 130 for an interrupt, 141 for a
            closed pipe.
    """
    try:
        with _warnings_as_sentences(), packages_told():
            yield
        sys.stdout.flush()
    except PolymodalError as error:
        _print_error(str(error))
        raise typer.Exit(EXIT_USER_ERROR) from None
    except KeyboardInterrupt:
        _print_error(f"\n{interrupted}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OSError as error:
        raise typer.Exit(_end_on(error, interrupted)) from None


@contextmanager
def printing() -> Iterator[None]:
    """Open and flush what a command prints to, its help too, while an error can still be said in one sentence.

    Yields:
        Nothing; the command line runs inside.

    Raises:
        SystemExit: With 2 or 141, if standard output cannot be written.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started the command
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        raise SystemExit(_end_on(error)) from None


def _end_on(error: OSError, interrupted: str = "") -> int:
    """Say what the system refused, in one sentence, and return the exit code; a reader that went away needs none."""
    _discard_broken_output()
    if isinstance(error, BrokenPipeError):
        return EXIT_BROKEN_PIPE
    advice = WRITE_ERRORS.get(error.errno or 0)
    if advice:
        where = error.filename or "the output or a temporary file"
        problem = f"Cannot write {where}: {os.strerror(error.errno or 0)}"
    elif error.filename and error.errno:
        problem = f"Cannot read or write {error.filename}: {os.strerror(error.errno)}"
    else:
        problem = str(error.strerror or error).partition("\n")[0]
    _print_error(" ".join(filter(None, (f"{problem}.", advice, interrupted))))
    return EXIT_USER_ERROR


def _discard_broken_output() -> None:
    """Discard what standard output still holds if it cannot be written: Python would try again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _print_error(sentence: str) -> None:
    with suppress(OSError):  # standard error may be closed or full as well
        print(sentence, file=sys.stderr, flush=True)


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
