"""Scores of texts against one reference each: exact match, BLEU and ROUGE-L (numpy, rapidfuzz, sacrebleu).

Words are split by sacreBLEU's default tokeniser ("13a"; Post 2018, arXiv 1804.08771), upper and lower case apart.
Differs from it: each Chinese or Japanese character is a word. The n-gram counts are summed here and not by sacreBLEU,
which scores one set of rows at a time: a bootstrap interval weighs the same counts hundreds of times.

Shape legend: N rows, R resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from polymodal.arrays import Cell
from polymodal.data.schema.detect_text import UNSPACED
from polymodal.metrics.weighted import Measure

if TYPE_CHECKING:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

ORDER = 4
"""BLEU counts up to four words in a row."""


def split_words(text: str) -> tuple[str, ...]:
    """Split a text into words and signs.

    Args:
        text: Any text.

    Returns:
        Its words, in order.

    Example:
        >>> split_words("A dog, 3.5 years old.")
        ('A', 'dog', ',', '3.5', 'years', 'old', '.')
    """
    return tuple(_tokenizer()(UNSPACED.sub(r" \g<0> ", text)).split())


@cache
def _tokenizer() -> Tokenizer13a:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()


def measure_captions(truth: Sequence[Cell], found: Sequence[Cell]) -> Measure:
    """Prepare the metrics of some rows.

    ``exact_match`` is the share of rows whose text is the reference to the letter. ``bleu`` is the corpus BLEU-4 of
    Papineni et al. 2002, section 2.3: clipped n-gram precisions over all rows, their geometric mean, times the
    brevity penalty, without smoothing. Differs from the source: n-grams that no reference is long enough for are
    left out, so that captions of three words are judged by n-grams of up to three. ``rouge_l`` is the mean over rows
    of the F1 of the longest common subsequence (Lin 2004, section 3.1, with beta 1).

    Args:
        truth: Texts ``[N]``.
        found: Texts ``[N]``.

    Returns:
        A function of row weights ``[R, N]``.
    """
    counts = _counts(truth, found)

    def measure(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        sums, total = weights @ counts, weights.sum(axis=1)
        return {"exact_match": sums[:, 0] / total, "bleu": _bleu(sums[:, 2:]), "rouge_l": sums[:, 1] / total}

    return measure


def grade_captions(truth: Sequence[Cell], found: Sequence[Cell]) -> NDArray[np.float64]:
    """Grade each text.

    Args:
        truth: Texts ``[N]``.
        found: Texts ``[N]``.

    Returns:
        1 where both are the same, else half of ROUGE-L, ``[N]``.
    """
    return np.asarray(_counts(truth, found)[:, :2].mean(axis=1))


def _counts(truth: Sequence[Cell], found: Sequence[Cell]) -> NDArray[np.float64]:
    """Return what is summed over rows: exact match, ROUGE-L, then what ``_bleu`` reads."""
    rows = [_pair_counts(str(true), str(said)) for true, said in zip(truth, found, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 4 + 3 * ORDER)


@lru_cache(maxsize=65_536)
def _pair_counts(truth: str, found: str) -> tuple[float, ...]:
    true, said = split_words(truth), split_words(found)
    grams = [(_grams(true, order), _grams(said, order)) for order in range(1, ORDER + 1)]
    both = len(true) + len(said)
    return (
        float(truth == found),
        2 * LCSseq.similarity(true, said) / both if both else float(truth == found),
        len(true),
        len(said),
        *(sum((a & b).values()) for a, b in grams),
        *(sum(b.values()) for _, b in grams),
        *(sum(a.values()) for a, _ in grams),
    )


def _grams(words: tuple[str, ...], order: int) -> Counter[tuple[str, ...]]:
    return Counter(words[start : start + order] for start in range(len(words) - order + 1))


def _bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return BLEU ``[R]``, NaN where the references have no word.

    The sums ``[R, 2 + 3 * ORDER]`` are: words of the references and of the answers; then n-grams by order that match,
    that are in the answers, that are in the references.
    """
    length_true, length_said = sums[:, 0], sums[:, 1]
    matched, said, true = np.split(sums[:, 2:], 3, axis=1)
    precision = np.where(said > 0, matched / np.where(said > 0, said, 1.0), 0.0)
    used = true > 0
    logs = np.log(np.where(used & (precision > 0), precision, 1.0)).sum(axis=1) / np.maximum(used.sum(axis=1), 1)
    brevity = np.minimum(0.0, 1.0 - length_true / np.where(length_said > 0, length_said, 1.0))
    bleu = np.where((used & (precision == 0)).any(axis=1), 0.0, np.exp(logs + brevity))
    return np.where(used.any(axis=1), bleu, np.nan)
