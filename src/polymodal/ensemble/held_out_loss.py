"""The loss by which hyperparameters of the baselines are chosen, on rows that they were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def held_out_loss(kind: str, prediction: NDArray[np.float64], truth: NDArray[Any]) -> float:
    """Compute the loss of predictions.

    Args:
        kind: "category", "categories" or "number".
        prediction: float64 ``[N, C]`` probabilities, or ``[N]`` numbers.
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.

    Returns:
        The mean log loss. Of numbers the root of the mean squared error by the standard deviation plus the mean
        absolute error by the mean deviation from the median: neither a few large numbers nor the many small ones decide
        alone.
    """
    if kind == "number":
        error = prediction - truth
        deviation, absolute = float(truth.std()), float(np.abs(truth - np.median(truth)).mean())
        return float(np.sqrt((error**2).mean()) / (deviation or 1.0) + np.abs(error).mean() / (absolute or 1.0))
    if kind == "category":
        right = prediction[np.arange(len(truth)), truth]
    else:
        right = np.where(truth > 0.5, prediction, 1.0 - prediction)
    return float(-np.log(np.clip(right, 1e-12, 1.0)).mean())
