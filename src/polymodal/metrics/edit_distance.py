"""Word and character error rates, and word differences of texts (numpy, rapidfuzz).

Shape legend: N rows, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from polymodal.metrics.weighted import Measure

Part = tuple[str, str]
"""``same``, ``missed`` or ``added``, and the words."""


def error_rates(truth: Sequence[str], predictions: Sequence[str]) -> Measure:
    """Prepare word and character error rates over all rows, and the share of exact matches.

    An error rate is the edits of all rows divided by the words (or characters) of all true texts: long texts have more
    weight, and it may exceed 1.

    Args:
        truth: True texts ``[N]``.
        predictions: Predicted texts ``[N]``.

    Returns:
        A function of row weights ``[R, N]`` to ``wer``, ``cer`` and ``exact_match``.
    """
    pairs = list(zip(truth, predictions, strict=True))
    words = _numbers(Levenshtein.distance(true.split(), predicted.split()) for true, predicted in pairs)
    characters = _numbers(Levenshtein.distance(true, predicted) for true, predicted in pairs)
    exact = _numbers(true == predicted for true, predicted in pairs)
    num_words, num_characters = _numbers(len(true.split()) for true in truth), _numbers(map(len, truth))

    def measure(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {
            "wer": weights @ words / (weights @ num_words),
            "cer": weights @ characters / (weights @ num_characters),
            "exact_match": weights @ exact / weights.sum(axis=1),
        }

    return measure


def _numbers(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)


def word_differences(truth: str, predictions: str) -> list[Part]:
    """Align two texts word by word.

    Args:
        truth: The true text.
        predictions: The predicted text.

    Returns:
        Segments of words in order: in both, in the truth only (missed), in the prediction only (added).
    """
    true, predicted = truth.split(), predictions.split()
    parts: list[Part] = []
    for name, start, stop, begin, end in SequenceMatcher(None, true, predicted, autojunk=False).get_opcodes():
        stretches = [("same" if name == "equal" else "missed", true[start:stop])]
        stretches += [("added", predicted[begin:end])] if name != "equal" else []
        parts += [(kind, " ".join(words)) for kind, words in stretches if words]
    return parts
