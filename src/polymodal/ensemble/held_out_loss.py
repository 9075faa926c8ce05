"""The loss by which hyperparameters of the baselines are chosen, on rows that they were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    return mean, np.where(deviation > 1e-12, deviation, 1.0)
