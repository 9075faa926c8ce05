"""Texts as TF-IDF weights of word or character n-grams (numpy, scipy; fitted on training rows).

The weights are those of scikit-learn's ``TfidfVectorizer(sublinear_tf=True, min_df=2)``. N-grams are held as
numbers: token ids read as digits to the base of the vocabulary's size plus one, so that counting them is sorting.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\w+|[!?]")
MAX_TOKENS = 2_000
MAX_VOCABULARY = 60_000
MAX_GRAMS = 50_000
NUM_FREQUENT = 300


@dataclass(frozen=True, kw_only=True)
class TextGrams:
    """Fitted n-grams of one text column; G of them.

    Attributes:
        units: "word" or "character".
        longest: Largest number of tokens in an n-gram.
        vocabulary: Tokens; the id of a token is its index plus one.
        codes: int64 ``[G]``, sorted.
        idf: float32 ``[G]``, inverse document frequency.
        frequent: int64 ``[F]``, indices of the n-grams with the largest total squared weight.
    """

    units: str
    longest: int
    vocabulary: list[str]
    codes: NDArray[np.int64]
    idf: NDArray[np.float32]
    frequent: NDArray[np.int64]

    @classmethod
    def fit(cls, texts: Sequence[str]) -> TextGrams:
        """Learn the n-grams that occur in at least two texts.

        Args:
            texts: Training texts; "" where absent.

        Returns:
            The fitted n-grams.
        """
        units = choose_units(texts)
        longest = 2 if units == "word" else 3
        tokens = [_tokens(text, units) for text in texts]
        counts = Counter(token for row in tokens for token in set(row))
        kept = sorted(
            (token for token, count in counts.items() if count > 1), key=lambda token: (-counts[token], token)
        )
        vocabulary = kept[:MAX_VOCABULARY]
        rows, codes = _gram_codes(tokens, _ids(vocabulary), longest)
        known, frequency = _document_frequency(rows, codes)
        chosen = np.sort(np.argsort(-frequency, kind="stable")[:MAX_GRAMS])
        idf = np.log((1 + len(texts)) / (1 + frequency[chosen])) + 1
        empty = cls(
            units=units,
            longest=longest,
            vocabulary=vocabulary,
            codes=known[chosen],
            idf=idf.astype(np.float32),
            frequent=np.zeros(0, np.int64),
        )
        squares = np.asarray(empty._weigh(rows, codes, len(texts)).power(2).sum(axis=0)).ravel()
        frequent = np.sort(np.argsort(-squares, kind="stable")[:NUM_FREQUENT])
        return cls(**{**empty.__dict__, "frequent": frequent})

    def transform(self, texts: Sequence[str]) -> Any:
        """Weigh the n-grams of texts.

        Args:
            texts: Texts; "" where absent.

        Returns:
            scipy CSR float32 ``[rows, G]``, rows of length one (zero without a known n-gram).
        """
        tokens = [_tokens(text, self.units) for text in texts]
        return self._weigh(*_gram_codes(tokens, self._token_ids, self.longest), len(texts))

    @cached_property
    def _token_ids(self) -> dict[str, int]:
        return _ids(self.vocabulary)

    def _weigh(self, rows: NDArray[np.int64], codes: NDArray[np.int64], num_rows: int) -> Any:
        from scipy.sparse import csr_matrix

        places = np.minimum(np.searchsorted(self.codes, codes), max(len(self.codes) - 1, 0))
        known = self.codes[places] == codes if len(self.codes) else np.zeros(len(codes), np.bool_)
        keys, counts = np.unique(rows[known] * max(len(self.codes), 1) + places[known], return_counts=True)
        owners, columns = np.divmod(keys, max(len(self.codes), 1))
        weights = (1 + np.log(counts.astype(np.float32))) * self.idf[columns]
        lengths = np.sqrt(np.bincount(owners, weights.astype(np.float64) ** 2, num_rows))
        scaled = (weights / np.maximum(lengths, 1e-12)[owners]).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=num_rows))])
        return csr_matrix((scaled, columns, starts), shape=(num_rows, len(self.codes)))


def choose_units(texts: Sequence[str]) -> str:
    """Say what texts are counted in.

    Args:
        texts: Training texts; "" where absent.

    Returns:
        "character" for text that is short (fewer than three words on average) or written without blanks
        (Chinese, Japanese, Thai); else "word".
    """
    sample = [text for text in texts[:2_000] if text.strip()]
    if sum(len(WORD.findall(text)) for text in sample) < 3 * len(sample):
        return "character"
    letters = [letter for text in sample[:200] for letter in text[:200] if letter.isalpha()]
    dense = sum(unicodedata.category(letter) == "Lo" and ord(letter) >= 0x0E00 for letter in letters)
    return "character" if dense > 0.3 * len(letters) else "word"


def _tokens(text: str, units: str) -> list[str]:
    if units == "word":
        return WORD.findall(text.lower())[:MAX_TOKENS]
    joined = " ".join(text.lower().split())
    return list(f" {joined} "[:MAX_TOKENS]) if joined else []


def _ids(vocabulary: list[str]) -> dict[str, int]:
    return {token: index + 1 for index, token in enumerate(vocabulary)}


def _gram_codes(
    tokens: list[list[str]], ids: dict[str, int], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the code of every n-gram of known tokens."""
    flat = np.array([ids.get(token, 0) for row in tokens for token in row], dtype=np.int64)
    owners = np.repeat(np.arange(len(tokens)), [len(row) for row in tokens])
    known, codes = flat > 0, flat
    rows, grams = [owners[known]], [flat[known]]
    for size in range(1, longest):
        codes = codes[:-1] * (len(ids) + 1) + flat[size:]
        known = known[:-1] & (flat[size:] > 0) & (owners[size:] == owners[: len(owners) - size])
        rows.append(owners[size:][known])
        grams.append(codes[known])
    return np.concatenate(rows), np.concatenate(grams)


def _document_frequency(
    rows: NDArray[np.int64], codes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the codes that occur in at least two rows, sorted, and in how many."""
    known, inverse = np.unique(codes, return_inverse=True)
    num_rows = int(rows.max(initial=0)) + 1
    pairs = np.sort(inverse.astype(np.int64) * num_rows + rows)
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])] if len(pairs) else pairs
    frequency = np.bincount(pairs // num_rows, minlength=len(known))
    return known[frequency > 1], frequency[frequency > 1]
