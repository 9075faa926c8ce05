"""Calibration of probabilities (numpy only).

Shape legend: N rows, C classes (or labels).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.weighted import Floats

NUM_BINS = 15


def calibration_bins(kind: str, truth: NDArray[np.generic], prediction: Floats) -> list[dict[str, float]]:
    """Compute the accuracy of predictions binned by confidence.

    Args:
        kind: "category" or "categories"; labels are pooled.
        truth: ``[N]`` class indices, or ``[N, C]`` labels of 0 and 1.
        prediction: ``[N, C]`` probabilities.

    Returns:
        One entry per occupied bin of 15 of equal width: mean ``confidence``, ``accuracy`` and ``count``.
    """
    confidence, correct = _confidence(kind, truth, prediction)
    bins = _bin_of(confidence)
    count, right, total = (np.bincount(bins, weights, NUM_BINS) for weights in (None, correct, confidence))
    return [
        {"confidence": float(total[i] / count[i]), "accuracy": float(right[i] / count[i]), "count": int(count[i])}
        for i in np.flatnonzero(count)
    ]


def calibration_gaps(kind: str, truth: NDArray[np.generic], prediction: Floats) -> Floats:
    """Compute each row's contribution to accuracy minus confidence of every bin.

    Args:
        kind: "category" or "categories"; labels are pooled.
        truth: As for ``calibration_bins``.
        prediction: As for ``calibration_bins``.

    Returns:
        ``[N, bins]``.
    """
    confidence, correct = _confidence(kind, truth, prediction)
    per_row = confidence.size // len(truth)
    gaps = np.zeros((len(truth), NUM_BINS))
    rows = np.repeat(np.arange(len(truth)), per_row)
    np.add.at(gaps, (rows, _bin_of(confidence)), (correct - confidence) / per_row)
    return gaps


def _confidence(kind: str, truth: NDArray[np.generic], prediction: Floats) -> tuple[Floats, Floats]:
    """Return the probability of the predicted class or value, and 1 where it is correct; labels are flattened."""
    if kind == "category":
        return prediction.max(axis=1), (prediction.argmax(axis=1) == truth).astype(np.float64)
    is_right = (prediction >= 0.5) == truth.astype(np.bool_)
    return np.maximum(prediction, 1.0 - prediction).ravel(), is_right.astype(np.float64).ravel()


def _bin_of(confidence: Floats) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
