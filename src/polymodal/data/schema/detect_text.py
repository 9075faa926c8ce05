"""Distinguishes text from categories by the words of a column's distinct values."""

from __future__ import annotations

import re
from collections.abc import Mapping

from polymodal.modalities.scripts import UNSPACED, UNSPACED_SYLLABLES

HEXADECIMAL = re.compile(r"[0-9a-fA-F{}-]+")

LONG_WORDS = 6.0
SHORT_WORDS = 2.5
TWO_WORDS = 1.5
FEW_VALUES = 10
FEW_ROWS = 20
LONG_CHARACTERS = 40
MAX_VALUES = 2000


def count_words(text: str) -> float:
    """Count the words of a text, in any script.

    Args:
        text: The text. Chinese and Japanese characters count half a word each, signs of Thai, Lao, Burmese and Khmer
            a fifth; everything else is split at blanks.

    Returns:
        About how many words it has.
    """
    if text.isascii():
        return len(text.split())
    unspaced, syllables = len(UNSPACED.findall(text)), len(UNSPACED_SYLLABLES.findall(text))
    rest = UNSPACED_SYLLABLES.sub(" ", UNSPACED.sub(" ", text))
    spaced = sum(any(sign.isalnum() for sign in word) for word in rest.split())
    return spaced + unspaced / 2 + syllables / 5


def looks_like_text(counts: Mapping[str, int]) -> tuple[str, str]:
    """Distinguish text from categories.

    Few repeated values are categories. Text is long, or distinct in most rows, or combines few words to many values
    (``a red circle``, ``a blue circle``, ...).

    Args:
        counts: Each different value to the number of its rows.

    Returns:
        ``text`` or ``category``, and the reason, as one clause.
    """
    rows, distinct = sum(counts.values()), len(counts)
    values = list(counts)[:: max(1, distinct // MAX_VALUES)]
    words = sum(count_words(value) for value in values) / len(values)
    values_found = "one value" if distinct == 1 else f"{distinct} different values"
    about = f"{values_found} in {rows} rows, {words:.1f} words each"
    if _is_text(values, rows, distinct, words):
        return "text", about
    return "category", about


def _is_text(values: list[str], rows: int, distinct: int, words: float) -> bool:
    varied = distinct > rows / 2
    if distinct <= FEW_VALUES and rows >= FEW_VALUES * distinct:
        return False
    if words >= LONG_WORDS:
        return True
    if words >= SHORT_WORDS:
        return varied or len(vocabulary(values)) < len(values)
    if words >= TWO_WORDS:
        return varied and rows >= FEW_ROWS
    return varied and rows >= FEW_ROWS and _are_long_codes(values)


def vocabulary(values: list[str]) -> set[str]:
    """Return the vocabulary of values.

    Args:
        values: Different values of a column.

    Returns:
        The different words, in lower case; a Chinese or Japanese character is a word.
    """
    words = {word for value in values for word in UNSPACED.sub(" ", value).lower().split()}
    return words | {sign for value in values if not value.isascii() for sign in UNSPACED.findall(value)}


def _are_long_codes(values: list[str]) -> bool:
    long = sum(len(value) for value in values) > LONG_CHARACTERS * len(values)
    return long and not all(HEXADECIMAL.fullmatch(value) for value in values)
