"""Progress bars with an estimate on standard error (rich)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from polymodal.progress import Phase, Progress, SilentProgress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class TerminalPhase:
    """A bar on the terminal."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        """Store the bar; nothing is drawn yet."""
        self._bars = bars
        self._task = task

    def advance(self, n: int = 1, note: str = "") -> None:
        """Advance the bar.

        Args:
            n: How many.
            note: Words beside the bar; empty keeps the last.
        """
        if note:
            self._bars.update(self._task, note=escape(note))
        self._bars.update(self._task, advance=n)


class TerminalProgress:
    """Progress bars with the estimated time left, on standard error; each is removed at the end of its phase."""

    def __init__(self) -> None:
        """Open standard error; nothing is drawn yet."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        note = TextColumn("{task.fields[note]}", style="dim")
        left = TextColumn("left", style="dim")
        self._bars = Bars(*columns, TimeRemainingColumn(), left, note, console=Console(stderr=True), transient=True)
        self._num_open = 0

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

    def message(self, text: str) -> None:
        """Print one sentence above the bars.

        Args:
            text: The sentence.
        """
        self._bars.console.print(escape(text), highlight=False)


def open_progress() -> Progress:
    """Return bars where standard error is a terminal, silence elsewhere."""
    return TerminalProgress() if sys.stderr.isatty() else SilentProgress()
