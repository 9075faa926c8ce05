"""What a command shows on standard error while it works: bars on a terminal (rich), plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from polymodal.errors import ConfigError
from polymodal.nn.ranks import is_main_process
from polymodal.progress import LOGGER, LoggingProgress, Phase, Progress, SilentProgress, format_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LOADING = "loading"
"""The phase in which libraries are imported and a model is loaded: the first thing that is seen."""


class TerminalPhase:
    """A bar on the terminal."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        """Store the bar; nothing is drawn yet."""
        self._bars = bars
        self._task = task

    def advance(self, n: int = 1, note: str = "", total: int | None = None) -> None:
        """Advance the bar.

        Args:
            n: How many.
            note: Words beside the bar; empty keeps the last.
            total: Number of steps of the bar, where it is another than before.
        """
        if note:
            self._bars.update(self._task, note=escape(note))
        self._bars.update(self._task, advance=n, total=total)


class TerminalProgress:
    """Progress bars with the estimated time left, on standard error; each is removed at the end of its phase."""

    def __init__(self, verbose: bool = False) -> None:
        """Open standard error; nothing is drawn yet.

        Args:
            verbose: Whether lines for logs are shown above the bars.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        note = TextColumn("{task.fields[note]}", style="dim")
        left = TextColumn("left", style="dim")
        self._bars = Bars(*columns, TimeRemainingColumn(), left, note, console=Console(stderr=True), transient=True)
        self._num_open = 0
        self._verbose = verbose

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """Show a bar until the context ends.

        Args:
            name: What is being done.
            total: Number of steps, or None.

        Yields:
            The bar.
        """
        if self._num_open == 0:
            self._bars.start()
        self._num_open += 1
        task = self._bars.add_task(escape(name), total=total, note="")
        try:
            yield TerminalPhase(self._bars, task)
        finally:
            self._bars.remove_task(task)
            self._num_open -= 1
            if self._num_open == 0:
                self._bars.stop()

    def message(self, text: str, level: int = logging.INFO) -> None:  # noqa: ARG002
        """Print one sentence above the bars.

        Args:
            text: The sentence.
            level: Its level, which is for logs.
        """
        self._bars.console.print(escape(text), highlight=False)

    def log(self, text: str, level: int = logging.INFO) -> None:
        """Print a line for logs above the bars, if they are wanted.

        Args:
            text: The line.
            level: Level as in ``logging``.
        """
        if self._verbose:
            self._bars.console.print(escape(format_line(text, level)), highlight=False, style="dim")


class StderrHandler(logging.Handler):
    """Writes log records to what standard error is at that moment: the terminal's bars redirect it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record.

        Args:
            record: The record.
        """
        with suppress(OSError, ValueError):  # closed or full: the work goes on
            print(format_line(record.getMessage(), record.levelno), file=sys.stderr, flush=True)


@contextmanager
def open_progress(verbose: bool = False, quiet: bool = False, bars: bool = True) -> Iterator[Progress]:
    """Show the progress of a command on standard error; only the main process of several does.

    Args:
        verbose: Whether details are shown too: log records of level DEBUG.
        quiet: Whether nothing is shown.
        bars: Whether a terminal may be drawn on.

    Yields:
        Bars where standard error is a terminal, plain lines elsewhere.

    Raises:
        ConfigError: If both are asked for.
    """
    if verbose and quiet:
        raise ConfigError("The options --verbose and --quiet exclude each other. Leave one of them out.")
    if quiet or not is_main_process():
        yield SilentProgress()
        return
    is_terminal = sys.stderr.isatty()
    with _shown_records(logging.DEBUG if verbose else logging.WARNING if is_terminal else logging.INFO):
        if not is_terminal:
            yield LoggingProgress()
        else:
            yield TerminalProgress(verbose) if bars else SilentProgress()


@contextmanager
def _shown_records(level: int) -> Iterator[None]:
    """Write records of the package on standard error, and restore its logger afterwards."""
    handler, level_before = StderrHandler(level), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level_before)
