"""Scores of predictions with the influence of every row, from which paired standard errors follow.

A score is, but for terms of higher order, the mean of its influences (Hampel 1974). So the standard error of the
difference of two scores on the same rows is that of the mean difference of influences. For the area under the ROC
curve this is the variance of DeLong et al. 1988.

Shape legend: N rows, C classes or labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
RARE_SHARE = 0.25
"""Of two classes, a rarer one of less than this share of the training rows is scored by ROC AUC."""
MIN_PROBABILITY = 1e-12


def score_name(kind: str, prior: Floats) -> str:
    """Name the score of a table.

    Args:
        kind: "category", "categories" or "number".
        prior: Frequencies in training ``[C]``.

    Returns:
        "accuracy", "AUC", "macro-F1" or "R²".
    """
    if kind == "category":
        return "AUC" if len(prior) == 2 and prior.min() < RARE_SHARE else "accuracy"
    return "R²" if kind == "number" else "macro-F1"


def influences(score: str, truth: NDArray[Any], prediction: Floats) -> Floats:
    """Compute what each row contributes to a score.

    Args:
        score: As ``score_name`` gives it.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        prediction: ``[N, C]`` or ``[N]``.

    Returns:
        ``[N]``; the mean is the score.
    """
    return {"accuracy": _accuracy, "AUC": _auc, "macro-F1": _macro_f1, "R²": _r2}[score](truth, prediction)


def _accuracy(truth: NDArray[Any], prediction: Floats) -> Floats:
    return (prediction.argmax(axis=1) == truth).astype(np.float64)


def _auc(truth: NDArray[Any], prediction: Floats) -> Floats:
    score, is_positive = prediction[:, 1], truth == 1
    num_positive, num_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not num_positive or not num_negative:
        return np.full(len(truth), 0.5)
    ranks = rankdata(score)
    above = np.empty(len(truth))  # share of the other class on the right side of each row
    above[is_positive] = (ranks[is_positive] - rankdata(score[is_positive])) / num_negative
    above[~is_positive] = 1 - (ranks[~is_positive] - rankdata(score[~is_positive])) / num_positive
    auc = above[is_positive].mean()
    share = np.where(is_positive, num_positive, num_negative) / len(truth)
    return np.asarray(auc + (above - auc) / share)


def _macro_f1(truth: NDArray[Any], prediction: Floats) -> Floats:
    true, predicted = truth.astype(np.float64), (prediction >= 0.5).astype(np.float64)
    total = np.maximum((true + predicted).mean(axis=0), 1e-12)
    f1 = 2 * (true * predicted).mean(axis=0) / total
    return np.asarray((f1 + (2 * true * predicted - f1 * (true + predicted)) / total).mean(axis=1))


def _r2(truth: NDArray[Any], prediction: Floats) -> Floats:
    squares, spread = (prediction - truth) ** 2, (truth - truth.mean()) ** 2
    mse, variance = squares.mean(), spread.mean()
    return np.asarray(1 - squares / variance + mse / variance**2 * (spread - variance))


def losses(kind: str, truth: NDArray[Any], prediction: Floats) -> Floats:
    """Compute each row's log loss, or its squared error in units of the variance of the rows.

    Args:
        kind: "category", "categories" or "number".
        truth: As for ``influences``.
        prediction: As for ``influences``.

    Returns:
        ``[N]``.
    """
    if kind == "number":
        return np.asarray((prediction - truth) ** 2 / truth.var())
    if kind == "category":
        return -np.log(np.clip(prediction[np.arange(len(truth)), truth], MIN_PROBABILITY, 1.0))
    right = np.where(truth > 0.5, prediction, 1.0 - prediction)
    return np.asarray(-np.log(np.clip(right, MIN_PROBABILITY, 1.0)).mean(axis=1))
