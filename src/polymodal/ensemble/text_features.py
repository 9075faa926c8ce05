"""Texts as TF-IDF weights of word and character n-grams (numpy; fitted on training rows by scikit-learn)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.ensemble.sparse_rows import SparseRows
from polymodal.modalities.scripts import WORD_CHARACTERS

EMOJI = "\u2600-\u27bf\U0001f300-\U0001faff"
WORD = re.compile(rf"{WORD_CHARACTERS}|[!?{EMOJI}]")
EARLY_WORD = re.compile(r"\w+|[!?]")
"""Words of models that were saved by early versions of 0.1: they end at combining marks."""
MAX_CHARACTERS = {"word": 12_000, "character": 2_000, "part": 1_000}
"""Maximum number of characters that are read, by unit."""
LENGTHS = {"word": (1, 2), "character": (1, 3), "part": (2, 5)}
"""Range of n of the n-grams, by unit."""
MAX_PART_CHARACTERS = 2_000_000
"""Texts with more characters in all have so many words that parts of words are not worth their time."""
MAX_GRAMS = 50_000
NUM_FREQUENT = 300


@dataclass(frozen=True, kw_only=True)
class TextGrams:
    """Fitted n-grams of one text column; G of them.

    Attributes:
        units: "word", "character" or, within words, "part".
        grams: The n-grams in the order of their columns, words with a blank between them.
        idf: float32 ``[G]``, inverse document frequency.
        frequent: int64 ``[F]``, indices of the n-grams with the largest total squared weight.
        is_early: Whether texts are split as by early versions of 0.1: not normalised, by ``EARLY_WORD``.
    """

    units: str
    grams: list[str]
    idf: NDArray[np.float32]
    frequent: NDArray[np.int64]
    is_early: bool = False

    @classmethod
    def fit(cls, texts: Sequence[str], units: str) -> TextGrams:
        """Fit on the n-grams that occur in at least two texts.

        Args:
            texts: Training texts; "" where absent.
            units: As of the attribute.

        Returns:
            The fitted n-grams.
        """
        vectorizer = _build_vectorizer(units)
        try:
            squares = vectorizer.fit_transform(texts).power(2).sum(axis=0)
        except ValueError:  # no n-gram occurs in two texts
            return cls(units=units, grams=[], idf=np.zeros(0, np.float32), frequent=np.zeros(0, np.int64))
        frequent = np.sort(np.argsort(-np.asarray(squares).ravel(), kind="stable")[:NUM_FREQUENT])
        grams = vectorizer.get_feature_names_out().tolist()
        return cls(units=units, grams=grams, idf=vectorizer.idf_.astype(np.float32), frequent=frequent)

    def transform(self, texts: Sequence[str]) -> SparseRows:
        """Compute the TF-IDF vectors of texts.

        Args:
            texts: Texts; "" where absent.

        Returns:
            ``[rows, G]``, rows of norm one (zero without a known n-gram).
        """
        counts = [self._counts(text) for text in texts]
        ends = np.cumsum([0, *map(len, counts)], dtype=np.int64)
        columns = np.array([column for row in counts for column in row], np.int64)
        counted = np.array([count for row in counts for count in row.values()], np.float32)
        values = (np.log(counted) + np.float32(1)) * self.idf[columns]
        rows = np.repeat(np.arange(len(texts)), np.diff(ends))
        squares = np.bincount(rows, values.astype(np.float64) ** 2, len(texts))
        values = (values / np.sqrt(squares[rows])).astype(np.float32)
        return SparseRows(values, columns, ends, len(self.grams))

    def _counts(self, text: str) -> dict[int, int]:
        """Return how often each known n-gram occurs, in the order of their columns."""
        if not self.grams or not text:
            return {}
        counts = Counter(map(self._columns.get, split_grams(text, self.units, is_early=self.is_early)))
        return {column: counts[column] for column in sorted(column for column in counts if column is not None)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {gram: column for column, gram in enumerate(self.grams)}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the fitted state as plain JSON and named arrays."""
        plain = {"units": self.units, "grams": self.grams, "is_early": self.is_early}
        return plain, {"idf": self.idf, "frequent": self.frequent}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TextGrams:
        """Restore the n-grams.

        Args:
            state: The plain part of ``state``, or of models saved by early versions of 0.1: a vocabulary of units.
            arrays: Its arrays; of such models also ``codes``, n-grams as numbers.

        Returns:
            N-grams with the same vectors, to the bit if the state is of this version.
        """
        grams = state["grams"] if "grams" in state else _decode_grams(state, arrays["codes"])
        is_early = state.get("is_early", True)
        return cls(units=state["units"], grams=grams, idf=arrays["idf"], frequent=arrays["frequent"], is_early=is_early)


def _decode_grams(state: Mapping[str, Any], codes: NDArray[np.int64]) -> list[str]:
    """Decode n-grams stored as numbers, whose digits are the units, to the base of the vocabulary size plus one."""
    vocabulary, separator = ["", *state["vocabulary"]], " " if state["units"] == "word" else ""
    powers = len(vocabulary) ** np.arange(state["longest"])[::-1]
    digits = codes[:, None] // powers % len(vocabulary)
    return [separator.join(vocabulary[digit] for digit in row if digit) for row in digits.tolist()]


def _build_vectorizer(units: str) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=partial(split_grams, units=units),
        min_df=2,
        max_features=MAX_GRAMS,
        sublinear_tf=True,
        dtype=np.float32,
    )


def split_grams(text: str, units: str, *, is_early: bool = False) -> list[str]:
    """Split a text into n-grams, of the text in Unicode's normal form KC: full-width letters are as others.

    Args:
        text: Any text.
        units: "word", "character" or, within words, "part".
        is_early: As of ``TextGrams``.

    Returns:
        Each occurrence.
    """
    if is_early:
        cleaned = CLEAN[units](text)
        return _word_grams(cleaned, EARLY_WORD) if units == "word" else SPLIT[units](cleaned)
    return SPLIT[units](CLEAN[units](unicodedata.normalize("NFKC", text[: MAX_CHARACTERS[units]])))


def _word_grams(text: str, pattern: re.Pattern[str] = WORD) -> list[str]:
    words = pattern.findall(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def _character_grams(text: str) -> list[str]:
    lengths = range(LENGTHS["character"][0], LENGTHS["character"][1] + 1)
    return [text[start : start + length] for length in lengths for start in range(len(text) - length + 1)]


def _part_grams(text: str) -> list[str]:
    """Return the n-grams of each word with a blank before and behind it."""
    low, high = LENGTHS["part"]
    grams: list[str] = []
    for word in text.split():
        padded = f" {word} "
        for length in range(low, min(high, len(padded)) + 1):
            grams += [padded[start : start + length] for start in range(len(padded) - length + 1)]
    return grams


def _clean_words(text: str) -> str:
    return text[: MAX_CHARACTERS["word"]].lower()


def _clean_characters(text: str) -> str:
    joined = " ".join(text.lower().split())
    return f" {joined} "[: MAX_CHARACTERS["character"]] if joined else ""


def _clean_parts(text: str) -> str:
    return text[: MAX_CHARACTERS["part"]].lower()


CLEAN = {"word": _clean_words, "character": _clean_characters, "part": _clean_parts}
SPLIT = {"word": _word_grams, "character": _character_grams, "part": _part_grams}


def fit_grams(texts: Sequence[str]) -> tuple[TextGrams, ...]:
    """Fit the blocks of n-grams of a text column.

    Args:
        texts: Training texts; "" where absent.

    Returns:
        One block for each of its units.
    """
    return tuple(TextGrams.fit(texts, units) for units in choose_units(texts))


def transform_grams(blocks: Sequence[TextGrams], texts: Sequence[str]) -> SparseRows:
    """Compute the TF-IDF vectors of texts.

    Args:
        blocks: The fitted blocks, at least one.
        texts: Texts; "" where absent.

    Returns:
        ``[rows, G]``, the blocks side by side.
    """
    return SparseRows.side_by_side([block.transform(texts) for block in blocks])


def choose_units(texts: Sequence[str]) -> tuple[str, ...]:
    """Choose between n-grams of words, of characters and of characters within words.

    Args:
        texts: Training texts; "" where absent.

    Returns:
        "character" for text that is written without blanks (Chinese, Japanese, Thai) or is a word or two; else "word"
        and, where there are few texts or short ones, "part".
    """
    sample = [text for text in texts[:2_000] if text.strip()]
    if sum(len(WORD.findall(text)) for text in sample) < 2 * len(sample):
        return ("character",)
    letters = [letter for text in sample[:200] for letter in text[:200] if letter.isalpha()]
    dense = sum(unicodedata.category(letter) == "Lo" and ord(letter) >= 0x0E00 for letter in letters)
    if dense > 0.3 * len(letters):
        return ("character",)
    characters = sum(min(len(text), MAX_CHARACTERS["part"]) for text in texts)
    return ("word", "part") if characters <= MAX_PART_CHARACTERS else ("word",)
