"""How a command ends: exit codes, and one sentence in place of a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from polymodal.errors import PolymodalError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


@contextmanager
def exits(interrupted: str) -> Iterator[None]:
    """Turn what a user can cause into a sentence on standard error and an exit code, never a traceback.

    Args:
        interrupted: The sentence for a keyboard interrupt.

    Yields:
        Nothing; the command runs inside.

    Raises:
        Exit: With 2 for a user's error, 130 for an interrupt, 141 for a closed pipe.
    """
    try:
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
