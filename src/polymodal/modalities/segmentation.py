"""Segmentation: texts of scripts without blanks cut into words, so that blanks separate the words of every text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from polymodal.errors import MissingPackageError
from polymodal.modalities.scripts import HAN, HIRAGANA, SYLLABLES

if TYPE_CHECKING:
    from rjieba import Jieba

Segmentation = Literal["none", "characters", "bigrams", "jieba"]
"""How texts without blanks are cut: not at all, into characters, into characters and pairs of them, or into words."""

UNSPACED_RUN = re.compile(f"[{HAN}{HIRAGANA}{SYLLABLES}々〆]+")
"""Runs that are cut; a run of Katakana is a word."""
HAN_RUN = re.compile(f"[{HAN}々〆]+")
Span = tuple[int, int]


def load_jieba() -> Jieba:
    """Load the dictionary of Chinese words, once.

    Source: jieba-rs, whose dictionary and hidden Markov model are those of jieba (https://github.com/fxsjy/jieba).

    Returns:
        What segments Chinese.

    Raises:
        MissingPackageError: If the package rjieba is missing.
    """
    try:
        return _jieba()
    except ImportError:
        raise MissingPackageError(
            "Texts of this model are cut into Chinese words by jieba, which needs the package rjieba: "
            "pip install 'polymodal[chinese]'."
        ) from None


@cache
def _jieba() -> Jieba:
    import rjieba

    return rjieba.Jieba()


def word_spans(text: str, segmentation: Segmentation) -> list[Span]:
    """Find the pieces of a text between which blanks are put.

    Args:
        text: Any text.
        segmentation: How Chinese, Japanese, Thai, Lao, Burmese and Khmer are cut. ``jieba`` cuts runs of Chinese
            characters; what it does not know (Hiragana, Thai, ...) is cut into characters and bigrams.

    Returns:
        First and last character (exclusive) of each piece, in order; bigrams overlap the characters they are made of.
        All other text is in pieces as long as it goes on.

    Example:
        >>> [("很好吃!"[start:stop]) for start, stop in word_spans("很好吃!", "bigrams")]
        ['很', '很好', '好', '好吃', '吃', '!']
    """
    spans: list[Span] = []
    end = 0
    for run in UNSPACED_RUN.finditer(text):
        if end < run.start():
            spans.append((end, run.start()))
        spans += [(run.start() + start, run.start() + stop) for start, stop in _cut_run(run[0], segmentation)]
        end = run.end()
    return [*spans, (end, len(text))] if end < len(text) else spans


def _cut_run(run: str, segmentation: Segmentation) -> Iterator[Span]:
    if segmentation == "jieba" and HAN_RUN.fullmatch(run):
        yield from _lengths_to_spans([len(word) for word in load_jieba().cut(run)])
        return
    characters = _characters(run)
    for (start, stop), (_, next_stop) in pairwise(characters):
        yield start, stop
        if segmentation != "characters":
            yield start, next_stop
    yield characters[-1]


def _lengths_to_spans(lengths: list[int]) -> Iterator[Span]:
    start = 0
    for length in lengths:
        yield start, start + length
        start += length


def _characters(run: str) -> list[Span]:
    """Return the characters of a run, each with the marks on it."""
    starts = [place for place, sign in enumerate(run) if not place or unicodedata.category(sign)[0] != "M"]
    return list(pairwise([*starts, len(run)]))


def segment(text: str, segmentation: Segmentation) -> str:
    """Put blanks between the words of a text.

    Args:
        text: Any text.
        segmentation: As in ``word_spans``; ``none`` leaves the text as it is.

    Returns:
        The pieces of ``word_spans`` with blanks between them.

    Raises:
        MissingPackageError: If jieba is needed and missing.
    """
    if segmentation == "none":
        return text
    return " ".join(text[start:stop] for start, stop in word_spans(text, segmentation))
