"""Progress reporting: a protocol and its silent implementation (no terminal library here)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Phase(Protocol):
    """A phase of the work with a known number of steps."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Report that steps are done.

        Args:
            n: Number of steps.
            note: Text to show beside the bar, such as the current loss; empty keeps the last.
        """


class Progress(Protocol):
    """A progress reporter: of a terminal, a notebook, or silent."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Phase]:
        """Open a phase; it ends with the context.

        Args:
            name: Name of the phase, such as "decoding".
            total: Number of steps; None if it is not known.

        Returns:
            A context that gives the phase.
        """

    def message(self, text: str) -> None:
        """Print one sentence that stays on the screen.

        Args:
            text: The sentence.
        """


class SilentPhase:
    """A phase that shows nothing."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Do nothing.

        Args:
            n: Steps done.
            note: Ignored text.
        """


class SilentProgress:
    """Progress that shows nothing: the default of the Python API.

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

    def message(self, text: str) -> None:
        """Show nothing.

        Args:
            text: The sentence.
        """
