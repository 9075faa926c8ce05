"""How long work says how far it is: a small protocol and its silent form (no terminal library here)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Phase(Protocol):
    """One stretch of work with a known number of steps."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Say that steps were done.

        Args:
            n: How many.
            note: A few words to show beside the bar, such as the present loss; empty keeps the last.
        """


class Progress(Protocol):
    """Whoever wants to know how far the work is: a terminal, a notebook, or nobody."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Phase]:
        """Open a stretch of work; it ends with the context.

        Args:
            name: What is being done, as in "decoding".
            total: Number of steps; None where it is not known.

        Returns:
            A context that gives the phase.
        """

    def message(self, text: str) -> None:
        """Say one sentence that stays on the screen.

        Args:
            text: The sentence.
        """


class SilentPhase:
    """A phase that nobody watches."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Do nothing.

        Args:
            n: Steps done.
            note: What would be shown.
        """


class SilentProgress:
    """Progress that nobody watches: the default of the Python API.

    Example:
        >>> with SilentProgress().phase("decoding", 10) as phase:
        ...     phase.advance(3)
    """

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:  # noqa: ARG002
        """Yield a phase that shows nothing.

        Args:
            name: What is being done.
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
