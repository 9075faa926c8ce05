"""Scores of texts against one reference each or several: exact match, BLEU and ROUGE-L (numpy, rapidfuzz, sacrebleu).

Words are split by sacreBLEU's default tokeniser ("13a"; Post 2018, arXiv 1804.08771), case-sensitive.
Differs from it: each Chinese or Japanese character is a word. The n-gram counts are summed here and not by sacreBLEU,
which scores one set of rows at a time: a bootstrap interval reweights the same counts hundreds of times.

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
from polymodal.metrics.weighted import Measure
from polymodal.modalities.scripts import UNSPACED

if TYPE_CHECKING:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

ORDER = 4
"""Maximum n of the n-grams of BLEU."""


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


def measure_captions(truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
    """Prepare the metrics of captions.

    ``exact_match`` is the share of rows whose text equals the reference. ``bleu`` is the corpus BLEU-4 of
    Papineni et al. 2002, section 2.3: clipped n-gram precisions over all rows, their geometric mean, times the
    brevity penalty, without smoothing. Differs from the source: n-grams that no reference is long enough for are
    left out, so that captions of three words are scored by n-grams of up to three. ``rouge_l`` is the mean over rows
    of the F1 of the longest common subsequence (Lin 2004, section 3.1, with beta 1).

    Of several references of a row, one is enough for ``exact_match``, an n-gram is clipped by the reference that has
    most of it and the length is that of the reference nearest to the text's (Papineni et al. 2002, section 2.2), and
    ``rouge_l`` is the best of them (Lin 2004, section 2.1, without the jackknife).

    Args:
        truth: Of each row a text, or a list of several, ``[N]``.
        predictions: Texts ``[N]``.

    Returns:
        A function of row weights ``[R, N]``.
    """
    counts = _counts(truth, predictions)

    def measure(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        sums, total = weights @ counts, weights.sum(axis=1)
        return {"exact_match": sums[:, 0] / total, "bleu": _bleu(sums[:, 2:]), "rouge_l": sums[:, 1] / total}

    return measure


def caption_quality(truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
    """Rate each text.

    Args:
        truth: Of each row a text, or a list of several, ``[N]``.
        predictions: Texts ``[N]``.

    Returns:
        1 where it is one of the references, else half of ROUGE-L, ``[N]``.
    """
    return np.asarray(_counts(truth, predictions)[:, :2].mean(axis=1))


def _counts(truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
    """Return the values that are summed over rows: exact match, ROUGE-L, then the inputs of ``_bleu``."""
    rows = [_row_counts(_references(true), str(said)) for true, said in zip(truth, predictions, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 4 + 3 * ORDER)


def _references(truth: Cell) -> tuple[str, ...]:
    return tuple(map(str, truth)) if isinstance(truth, list | tuple) else (str(truth),)


@lru_cache(maxsize=65_536)
def _row_counts(truth: tuple[str, ...], prediction: str) -> tuple[float, ...]:
    references, predicted = [split_words(text) for text in truth], split_words(prediction)
    ngrams = [(_most(references, order), _ngrams(predicted, order)) for order in range(1, ORDER + 1)]
    return (
        float(prediction in truth),
        max(_rouge_l(true, predicted) if true or predicted else float(prediction in truth) for true in references),
        min((len(true) for true in references), key=lambda length: (abs(length - len(predicted)), length)),
        len(predicted),
        *(sum((a & b).values()) for a, b in ngrams),
        *(sum(b.values()) for _, b in ngrams),
        *(sum(a.values()) for a, _ in ngrams),
    )


def _rouge_l(true: tuple[str, ...], predicted: tuple[str, ...]) -> float:
    return 2 * LCSseq.similarity(true, predicted) / (len(true) + len(predicted))


def _most(references: Sequence[tuple[str, ...]], order: int) -> Counter[tuple[str, ...]]:
    """Return how often the n-grams are in the reference that has most of each."""
    most: Counter[tuple[str, ...]] = Counter()
    for words in references:
        most |= _ngrams(words, order)
    return most


def _ngrams(words: tuple[str, ...], order: int) -> Counter[tuple[str, ...]]:
    return Counter(words[start : start + order] for start in range(len(words) - order + 1))


def _bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return BLEU ``[R]``, NaN where the references have no word.

    The sums ``[R, 2 + 3 * ORDER]`` are: words of the references and of the predictions; then n-grams by order that
    match, that are in the predictions, that are in the references.
    """
    length_true, length_predicted = sums[:, 0], sums[:, 1]
    matched, predicted, true = np.split(sums[:, 2:], 3, axis=1)
    precision = np.where(predicted > 0, matched / np.where(predicted > 0, predicted, 1.0), 0.0)
    used = true > 0
    logs = np.log(np.where(used & (precision > 0), precision, 1.0)).sum(axis=1) / np.maximum(used.sum(axis=1), 1)
    brevity = np.minimum(0.0, 1.0 - length_true / np.where(length_predicted > 0, length_predicted, 1.0))
    bleu = np.where((used & (precision == 0)).any(axis=1), 0.0, np.exp(logs + brevity))
    return np.where(used.any(axis=1), bleu, np.nan)
