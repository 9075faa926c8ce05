"""Progress reporting: a protocol, and what is silent, writes lines or logs (no terminal library here)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

LOGGER = logging.getLogger("polymodal")
LOGGER.addHandler(logging.NullHandler())

INTERVAL_S = 10.0
"""A phase that lasts longer than this writes a line each time it passes."""
SHORT_S = 1.0
"""The end of a phase that lasted less than this is no line."""


class Phase(Protocol):
    """A phase of the work."""

    def advance(self, n: int = 1, note: str = "", total: int | None = None) -> None:
        """Report that steps are done.

        Args:
            n: Number of steps.
            note: Text to show beside the bar, such as the current loss; empty keeps the last.
            total: Number of steps of the phase, where it is another than before.
        """


class Progress(Protocol):
    """A progress reporter: of a terminal, a log, or silent."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Phase]:
        """Open a phase; it ends with the context.

        Args:
            name: Name of the phase, such as "decoding".
            total: Number of steps; None if it is not known.

        Returns:
            A context that gives the phase.
        """

    def message(self, text: str, level: int = logging.INFO) -> None:
        """Print one sentence that stays on the screen.

        Args:
            text: The sentence.
            level: Level as in ``logging``, for logs.
        """

    def log(self, text: str, level: int = logging.INFO) -> None:
        """Write one line to logs; a terminal with bars does not show it.

        Args:
            text: The line.
            level: Level as in ``logging``: INFO for epochs, WARNING for notices.
        """


class SilentPhase:
    """A phase that shows nothing."""

    def advance(self, n: int = 1, note: str = "", total: int | None = None) -> None:
        """Do nothing.

        Args:
            n: Steps done.
            note: Ignored text.
            total: Ignored number.
        """


class SilentProgress:
    """Progress that shows nothing.

    Example:
        >>> with SilentProgress().phase("decoding", 10) as phase:
        ...     phase.advance(3)
    """

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:  # noqa: ARG002
        """Yield a phase that shows nothing.

        Args:
            name: Name of the phase.
            total: Number of steps, or None.

        Yields:
            A silent phase.
        """
        yield SilentPhase()

    def message(self, text: str, level: int = logging.INFO) -> None:
        """Show nothing.

        Args:
            text: The sentence.
            level: Its level.
        """

    def log(self, text: str, level: int = logging.INFO) -> None:
        """Write nothing.

        Args:
            text: The line.
            level: Its level.
        """


class LinePhase:
    """The counters of a phase that is written line by line."""

    def __init__(self, name: str, total: int | None, clock: Callable[[], float]) -> None:
        """Start the phase now."""
        self.name, self.total, self.done, self.note = name, total, 0, ""
        self._clock, self._started_s = clock, clock()
        self._first: tuple[int, float] | None = None  # steps done and time after the first report

    def advance(self, n: int = 1, note: str = "", total: int | None = None) -> None:
        """Count steps; nothing is written yet.

        Args:
            n: Number of steps.
            note: Text to add to the next line; empty keeps the last.
            total: Number of steps of the phase, where it is another than before.
        """
        self.done += n
        self.note = note or self.note
        self.total = self.total if total is None else total
        self._first = self._first or (self.done, self._clock())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the phase began."""
        return self._clock() - self._started_s

    @property
    def left_s(self) -> float | None:
        """Estimated seconds until its end, at the mean rate since the first report; None where that is not known.

        What the first report counts took no time where a run is resumed, and longer than usual elsewhere.
        """
        done, since_s = self._first or (self.done, 0.0)
        if self.total is None or self.done <= done:
            return None
        return (self._clock() - since_s) / (self.done - done) * max(self.total - self.done, 0)

    def counts(self) -> str:
        """Name the phase and how much of it is done."""
        if self.total is None:
            return f"{self.name}: {self.done:,}" if self.done else self.name
        return f"{self.name}: {self.done:,} of {self.total:,}"

    def status(self) -> str:
        """Describe the phase in one line: steps done, elapsed time, estimated time left, note."""
        left = "" if self.left_s is None else f"about {format_seconds(self.left_s)} left"
        return ", ".join(part for part in (self.counts(), format_seconds(self.elapsed_s), left, self.note) if part)


class LineProgress:
    """Progress as plain lines: one when a phase begins, one every ten seconds, one when a long phase ends.

    A phase inside another adds to the lines of the outer one.

    Example:
        >>> progress = LineProgress(lambda text, level: print(text), clock=lambda: 0.0)
        >>> with progress.phase("training", 480):
        ...     progress.log("epoch 1 of 4")
        training: 0 of 480
        epoch 1 of 4
    """

    def __init__(self, write: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Store where lines go; nothing is written yet.

        Args:
            write: Takes a line and its level as in ``logging``.
            clock: Returns seconds since any fixed moment.
        """
        self._write = write
        self._clock = clock
        self._open: list[LinePhase] = []
        self._last_s = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """Write lines about a phase until the context ends.

        Args:
            name: Name of the phase.
            total: Number of steps, or None.

        Yields:
            The phase.
        """
        phase = LinePhase(name, total, self._clock)
        is_outer = not self._open
        self._open.append(phase)
        try:
            if is_outer:
                self.log(phase.counts())
                with self._ticking():
                    yield phase
            else:
                yield phase
        finally:
            self._open.remove(phase)
        if is_outer and phase.elapsed_s >= SHORT_S:
            self.log(f"{name}: done in {format_seconds(phase.elapsed_s)}")

    def message(self, text: str, level: int = logging.INFO) -> None:
        """Write a sentence.

        Args:
            text: The sentence.
            level: Level as in ``logging``.
        """
        self.log(text, level)

    def log(self, text: str, level: int = logging.INFO) -> None:
        """Write a line.

        Args:
            text: The line.
            level: Level as in ``logging``.
        """
        with self._lock:
            self._last_s = self._clock()
            self._write(text, level)

    def tick(self) -> float:
        """Write a line about the open phases if nothing was written for a while.

        Returns:
            Seconds until the next line is due.
        """
        phases = list(self._open)
        if phases and self._clock() - self._last_s >= INTERVAL_S:
            self.log("; ".join(phase.status() for phase in phases))
        return self._last_s + INTERVAL_S - self._clock()

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """Call ``tick`` from a thread of its own, as work outside Python reports no steps."""
        ended = threading.Event()

        def run() -> None:
            wait_s = INTERVAL_S
            while not ended.wait(wait_s):
                wait_s = max(self.tick(), SHORT_S)

        thread = threading.Thread(target=run, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class LoggingProgress(LineProgress):
    """Progress through ``logging``, by the logger ``polymodal``: the default of the Python API.

    Example:
        >>> LoggingProgress().message("half way")  # seen after logging.basicConfig(level=logging.INFO)
    """

    def __init__(self) -> None:
        """Store nothing else; whether lines are seen is decided when they are written."""
        super().__init__(lambda text, level: LOGGER.log(level, text))

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """Log a phase until the context ends.

        Args:
            name: Name of the phase.
            total: Number of steps, or None.

        Yields:
            The phase; a silent one where nobody listens.
        """
        if not LOGGER.isEnabledFor(logging.INFO):
            yield SilentPhase()
            return
        with super().phase(name, total) as phase:
            yield phase


class BroadcastPhase:
    """A phase of several progress reporters."""

    def __init__(self, phases: Sequence[Phase]) -> None:
        """Store the phases."""
        self._phases = phases

    def advance(self, n: int = 1, note: str = "", total: int | None = None) -> None:
        """Report steps to each.

        Args:
            n: Number of steps.
            note: Text to show.
            total: Number of steps of the phase, where it is another than before.
        """
        for phase in self._phases:
            phase.advance(n, note) if total is None else phase.advance(n, note, total)


class BroadcastProgress:
    """Reports to several progress reporters, such as a terminal and a log file."""

    def __init__(self, reporters: Sequence[Progress]) -> None:
        """Store the reporters."""
        self._reporters = reporters

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """Open a phase in each.

        Args:
            name: Name of the phase.
            total: Number of steps, or None.

        Yields:
            The phase.
        """
        with ExitStack() as stack:
            yield BroadcastPhase([stack.enter_context(reporter.phase(name, total)) for reporter in self._reporters])

    def message(self, text: str, level: int = logging.INFO) -> None:
        """Show a sentence in each.

        Args:
            text: The sentence.
            level: Level as in ``logging``, for logs.
        """
        for reporter in self._reporters:
            reporter.message(text, level)

    def log(self, text: str, level: int = logging.INFO) -> None:
        """Write a line to each.

        Args:
            text: The line.
            level: Level as in ``logging``.
        """
        for reporter in self._reporters:
            reporter.log(text, level)


def format_line(text: str, level: int) -> str:
    """Write a line as people read it in a log file: with its time, and marked if it is a notice.

    Args:
        text: The line.
        level: Level as in ``logging``.

    Returns:
        ``2026-01-31 12:00:00 Note: ...``.
    """
    mark = "Note: " if level >= logging.WARNING else ""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {mark}{text}"


def format_seconds(seconds: float) -> str:
    """Format a duration.

    Args:
        seconds: The duration.

    Returns:
        ``0.5 s``, ``40 s``, ``3 min 20 s`` or ``1 h 05 min``.
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
