"""Nonconformity scores: how badly an answer fits a row (numpy). The larger the score, the stranger the answer.

Shape legend: N rows, C classes (or labels).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.classification import predicted_classes

Floats = NDArray[np.float64]

RANK_PENALTY, FREE_RANKS = 0.01, 5
"""Lambda and k_reg of RAPS: what each class below the fifth adds to the score, so that sets have no long tails."""


def class_scores(probabilities: Floats, label_weights: list[float] | None = None) -> Floats:
    """Score every class of every row by the mass of the classes that are more probable.

    This is RAPS (Angelopoulos et al. 2021, arXiv 2009.14193, equation 4) with its random number u fixed at 0: the class
    itself does not count. So the same row always has the same set, the label that is predicted is always in it, and
    where that label is right more often than was promised the set is this label alone.

    Args:
        probabilities: float64 ``[N, C]``.
        label_weights: How the label is chosen; the classes are ordered by their weighted probabilities.

    Returns:
        float64 ``[N, C]``; 0 for the label that is predicted.
    """
    weighted = probabilities if label_weights is None else probabilities * np.asarray(label_weights)
    weighted = weighted / weighted.sum(axis=1, keepdims=True)
    is_first = predicted_classes(probabilities, label_weights)[:, None] == np.arange(probabilities.shape[1])
    order = np.argsort(-(weighted + 2.0 * is_first), axis=1, kind="stable")
    ordered = np.take_along_axis(weighted, order, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    penalties = RANK_PENALTY * np.maximum(np.arange(1, ordered.shape[1] + 1) - FREE_RANKS, 0)
    scores: Floats = np.empty_like(before)
    np.put_along_axis(scores, order, before + penalties, axis=1)
    return scores


def label_scores(probabilities: Floats) -> Floats:
    """Score every label of a multi-label target by how improbable it is.

    Args:
        probabilities: float64 ``[N, C]``.

    Returns:
        float64 ``[N, C]``.
    """
    return np.asarray(1.0 - probabilities)


def number_scores(truth: Floats, prediction: Floats, difficulty: Floats) -> Floats:
    """Score numbers by their normalised residuals (Papadopoulos et al. 2011, section 4; Lei et al. 2018, section 5.2).

    Args:
        truth: float64 ``[N]``.
        prediction: float64 ``[N]``.
        difficulty: float64 ``[N]``, above 0: the residual that is expected.

    Returns:
        float64 ``[N]``.
    """
    return np.asarray(np.abs(truth - prediction) / difficulty)
