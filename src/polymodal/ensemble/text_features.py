"""Texts as TF-IDF weights of word and character n-grams (scikit-learn; fitted on training rows)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\w+|[!?]")
MAX_CHARACTERS = {"word": 12_000, "character": 2_000, "part": 1_000}
"""Maximum number of characters that are read, by unit."""
LENGTHS = {"word": (1, 2), "character": (1, 3), "part": (2, 5)}
"""Range of n of the n-grams, by unit."""
ANALYZERS = {"word": "word", "character": "char", "part": "char_wb"}
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
    """

    units: str
    grams: list[str]
    idf: NDArray[np.float32]
    frequent: NDArray[np.int64]

    @classmethod
    def fit(cls, texts: Sequence[str], units: str) -> TextGrams:
        """Fit on the n-grams that occur in at least two texts.

        Args:
            texts: Training texts; "" where absent.
            units: As of the attribute.

        Returns:
            The fitted n-grams.
        """
        vectorizer = _build_vectorizer(units, None)
        try:
            squares = vectorizer.fit_transform(texts).power(2).sum(axis=0)
        except ValueError:  # no n-gram occurs in two texts
            return cls(units=units, grams=[], idf=np.zeros(0, np.float32), frequent=np.zeros(0, np.int64))
        frequent = np.sort(np.argsort(-np.asarray(squares).ravel(), kind="stable")[:NUM_FREQUENT])
        grams = vectorizer.get_feature_names_out().tolist()
        return cls(units=units, grams=grams, idf=vectorizer.idf_.astype(np.float32), frequent=frequent)

    def transform(self, texts: Sequence[str]) -> Any:
        """Compute the TF-IDF vectors of texts.

        Args:
            texts: Texts; "" where absent.

        Returns:
            scipy CSR float32 ``[rows, G]``, rows of norm one (zero without a known n-gram).
        """
        if self.grams and len(texts):
            return self._vectorizer.transform(texts)
        from scipy.sparse import csr_matrix

        return csr_matrix((len(texts), len(self.grams)), dtype=np.float32)

    @cached_property
    def _vectorizer(self) -> Any:
        vectorizer = _build_vectorizer(self.units, self.grams)
        vectorizer.idf_ = self.idf
        return vectorizer

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the fitted state as plain JSON and named arrays."""
        return {"units": self.units, "grams": self.grams}, {"idf": self.idf, "frequent": self.frequent}

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
        return cls(units=state["units"], grams=grams, idf=arrays["idf"], frequent=arrays["frequent"])


def _decode_grams(state: Mapping[str, Any], codes: NDArray[np.int64]) -> list[str]:
    """Decode n-grams stored as numbers, whose digits are the units, to the base of the vocabulary size plus one."""
    vocabulary, separator = ["", *state["vocabulary"]], " " if state["units"] == "word" else ""
    powers = len(vocabulary) ** np.arange(state["longest"])[::-1]
    digits = codes[:, None] // powers % len(vocabulary)
    return [separator.join(vocabulary[digit] for digit in row if digit) for row in digits.tolist()]


def _build_vectorizer(units: str, vocabulary: list[str] | None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=ANALYZERS[units],
        preprocessor=CLEAN[units],
        token_pattern=WORD.pattern if units == "word" else None,
        ngram_range=LENGTHS[units],
        min_df=2,
        max_features=MAX_GRAMS,
        vocabulary=vocabulary,
        sublinear_tf=True,
        dtype=np.float32,
    )


def _clean_words(text: str) -> str:
    return text[: MAX_CHARACTERS["word"]].lower()


def _clean_characters(text: str) -> str:
    joined = " ".join(text.lower().split())
    return f" {joined} "[: MAX_CHARACTERS["character"]] if joined else ""


def _clean_parts(text: str) -> str:
    return text[: MAX_CHARACTERS["part"]].lower()


CLEAN = {"word": _clean_words, "character": _clean_characters, "part": _clean_parts}


def fit_grams(texts: Sequence[str]) -> tuple[TextGrams, ...]:
    """Fit the blocks of n-grams of a text column.

    Args:
        texts: Training texts; "" where absent.

    Returns:
        One block for each of its units.
    """
    return tuple(TextGrams.fit(texts, units) for units in choose_units(texts))


def transform_grams(blocks: Sequence[TextGrams], texts: Sequence[str]) -> Any:
    """Compute the TF-IDF vectors of texts.

    Args:
        blocks: The fitted blocks, at least one.
        texts: Texts; "" where absent.

    Returns:
        scipy CSR float32 ``[rows, G]``, the blocks side by side.
    """
    parts = [block.transform(texts) for block in blocks]
    if len(parts) == 1:
        return parts[0]
    from scipy.sparse import hstack

    return hstack(parts, format="csr")


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
