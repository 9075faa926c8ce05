"""Words of a text; characters where a script writes no spaces between words."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import (
    Atoms,
    Box,
    CellSource,
    DividedCell,
    Floats,
    IndivisibleCellError,
    atom_of,
    spread,
)
from polymodal.modalities.text import parse_words

INNER_MARKS = frozenset("'’-_")
"""Marks that belong to a word where letters stand on both sides."""
NO_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
"""Beginnings of the Unicode names of letters that are written without spaces between words."""
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Words(DividedCell):
    """A text and its words in one axis; a word is taken away with the marks and spaces behind it.

    Attributes:
        columns: The text's column.
        text: The text.
        spans: First and last character (exclusive) of each word.
    """

    columns: tuple[str, ...]
    text: str
    spans: tuple[tuple[int, int], ...]

    kind: ClassVar[PartKind] = "words"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Find the words.

        Args:
            source: A text.

        Returns:
            Its words.

        Raises:
            IndivisibleCellError: If there are none.
        """
        text = parse_words(source.cell) or ""
        spans = word_spans(text)
        if not spans:
            raise IndivisibleCellError("it has no words")
        return cls((source.column,), text, tuple(spans))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of words."""
        return (len(self.spans),)

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Take words away.

        Args:
            removed: bool ``[words]``.

        Returns:
            Column to the rest of the text.
        """
        starts = [0, *(start for start, _ in self.spans[1:])]
        stops = [*starts[1:], len(self.text)]
        kept = [self.text[start:stop] for start, stop, gone in zip(starts, stops, removed, strict=True) if not gone]
        return {self.columns[0]: "".join(kept).strip() or None}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of a text's tokens by its words; special tokens are left out.

        Args:
            values: float64 ``[tokens]``.
            array: Not needed.
            modality: The fitted text.

        Returns:
            float64 ``[words]``.
        """
        spans = [(start, end) for start, end in modality.token_spans(self.text)[: len(values)]]
        inside = np.array([end > start for start, end in spans], bool)
        middles = np.array([(start + end) / 2 for start, end in spans])[inside]
        starts = np.array([start for start, _ in self.spans], np.int64)
        return spread(values[: len(spans)][inside], [atom_of(middles, starts)], self.shape)

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe neighbouring words.

        Args:
            box: The words.

        Returns:
            The text from the first to the last of them; its place in characters.
        """
        start, end = self.spans[box[0][0]][0], self.spans[box[0][1] - 1][1]
        text = self.text[start:end]
        label = text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
        return label, {"start": start, "end": end}


def word_spans(text: str) -> list[tuple[int, int]]:
    """Find the words of a text: runs of letters, digits and combining marks, and single pictographs.

    Characters of scripts without spaces (Chinese, Japanese, Thai, ...) are words by themselves.

    Args:
        text: Any text.

    Returns:
        First and last character (exclusive) of each; where there is none, the runs between spaces.

    Example:
        >>> word_spans("don't stop")
        [(0, 5), (6, 10)]
        >>> word_spans("很好!")
        [(0, 1), (1, 2)]
    """
    spans: list[tuple[int, int]] = []
    may_grow = False
    for place, character in enumerate(text):
        kind = _kind(text, place)
        if spans and ((kind == "letter" and may_grow) or unicodedata.combining(character)):
            spans[-1] = (spans[-1][0], place + 1)
        elif kind in ("letter", "single"):
            spans.append((place, place + 1))
        may_grow = kind == "letter" or (kind == "mark" and may_grow)
    return spans or _runs(text)


def _kind(text: str, place: int) -> str:
    """Return "letter", "single" (a word by itself), "mark" (inside of a word), or nothing."""
    character = text[place]
    category = unicodedata.category(character)
    if category[0] in "LNM":
        return "single" if unicodedata.name(character, "").startswith(NO_SPACES) else "letter"
    if category == "So":
        return "single"
    is_inside = character in INNER_MARKS and 0 < place < len(text) - 1
    return "mark" if is_inside and text[place - 1].isalnum() and text[place + 1].isalnum() else ""


def _runs(text: str) -> list[tuple[int, int]]:
    spans, start = [], 0
    for run in text.split():
        start = text.index(run, start)
        spans.append((start, start + len(run)))
        start += len(run)
    return spans
