"""The loss by which hyperparameters of the baselines are chosen, on rows that they were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_DEVIATION = 1e-12
"""Numbers that deviate by less than this share of the largest one are constant."""


def held_out_loss(kind: str, prediction: NDArray[np.float64], truth: NDArray[Any]) -> float:
    """Compute the loss of predictions.

    Args:
        kind: "category", "categories", "number" or "numbers".
        prediction: float64 ``[N, C]`` probabilities or numbers, or ``[N]`` numbers.
        truth: int64 ``[N]``, 0/1 ``[N, C]``, float64 ``[N]`` or ``[N, C]``, NaN where a number is unknown.

    Returns:
        The mean log loss. Of numbers the root of the mean squared error by the standard deviation plus the mean
        absolute error by the mean deviation from the median: neither a few large numbers nor the many small ones decide
        alone. Of several numbers the mean squared error by their variance.
    """
    if kind == "numbers":
        deviations = number_scale(truth)[1]
        return float(np.nanmean(((prediction - truth) / deviations) ** 2))
    if kind == "number":
        error = prediction - truth
        deviation, absolute = float(truth.std()), float(np.abs(truth - np.median(truth)).mean())
        return float(np.sqrt((error**2).mean()) / (deviation or 1.0) + np.abs(error).mean() / (absolute or 1.0))
    if kind == "category":
        right = prediction[np.arange(len(truth)), truth]
    else:
        right = np.where(truth > 0.5, prediction, 1.0 - prediction)
    return float(-np.log(np.clip(right, 1e-12, 1.0)).mean())


def number_scale(truth: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean and the standard deviation of each of several numbers.

    Args:
        truth: float64 ``[N, C]``, NaN where a number is unknown.

    Returns:
        float64 ``[C]``, 0 where no row knows the number; float64 ``[C]``, 1 where it is constant.
    """
    known = ~np.isnan(truth)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, truth, 0.0).sum(axis=0) / count
    deviation = np.sqrt((np.where(known, truth - mean, 0.0) ** 2).sum(axis=0) / count)
    is_constant = deviation <= SMALLEST_DEVIATION * np.where(known, np.abs(truth), 0.0).max(axis=0, initial=0.0)
    return mean, np.where(is_constant, 1.0, deviation)


def center_and_scale(kind: str, truth: NDArray[Any]) -> tuple[Any, Any]:
    """Compute what baselines subtract from a target, and divide it by, before they fit it in float32.

    Args:
        kind: "category", "categories", "number" or "numbers".
        truth: Encoded cells ``[N]`` or ``[N, C]``.

    Returns:
        Mean and standard deviation: floats of a number, float64 ``[C]`` of several; 0 and 1 of all else.
    """
    if kind == "numbers":
        return number_scale(truth)
    return (float(truth.mean()), float(truth.std()) or 1.0) if kind == "number" else (0.0, 1.0)
