"""When to give no answer: thresholds for a wanted accuracy, and the error over the share of answered rows (numpy)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.counts import least_share

Floats = NDArray[np.float64]

SURENESS = 0.9
"""Probability with which a threshold keeps its promise, over the draw of the calibration rows."""
NUM_CANDIDATES = 10
CURVE_POINTS = 60


def accuracy_threshold(confidences: Sequence[float], hits: Sequence[bool], accuracy: float) -> float:
    """Choose the least confidence at which answers reach a wanted accuracy, by learning then testing.

    Candidates are the confidences that answer a tenth, two tenths, ... of the calibration rows and all of them. The
    lower bound of Clopper and Pearson on the accuracy must reach what is wanted; its error is shared by all candidates
    (Angelopoulos et al. 2021, arXiv 2110.01052, section 3.1, with the correction of Bonferroni).

    Args:
        confidences: Confidence of each calibration row.
        hits: Whether its answer was right.
        accuracy: What is wanted, between 0 and 1.

    Returns:
        A confidence; infinity where no candidate makes the accuracy sure.
    """
    order = np.argsort(-np.asarray(confidences, dtype=np.float64), kind="stable")
    ordered, right = np.asarray(confidences)[order], np.cumsum(np.asarray(hits, dtype=np.int64)[order])
    tail = (1.0 - SURENESS) / NUM_CANDIDATES
    for share in range(NUM_CANDIDATES, 0, -1):
        size = len(ordered) * share // NUM_CANDIDATES
        if size:
            size = int(np.searchsorted(-ordered, -ordered[size - 1], side="right"))  # equal confidences go together
            if least_share(int(right[size - 1]), size, tail) >= accuracy:
                return float(ordered[size - 1]) if size < len(ordered) else 0.0
    return math.inf


def risk_coverage(confidences: Floats, errors: Floats) -> tuple[list[list[float]], float]:
    """Compute the curve of mean error over the share of rows that are answered, the surest first.

    Args:
        confidences: float64 ``[N]``, at least one row.
        errors: float64 ``[N]``: 0 or 1.

    Returns:
        Points ``[share answered, error]``, and the area under the curve (AURC; Geifman et al. 2019, arXiv 1805.08206,
        section 2; equal confidences are answered together, in the mean of all orders).
    """
    order = np.argsort(-confidences, kind="stable")
    _, groups = np.unique(-confidences[order], return_inverse=True)
    means = np.bincount(groups, errors[order]) / np.bincount(groups)
    risks = np.cumsum(means[groups]) / np.arange(1, len(order) + 1)
    shown = np.unique(np.linspace(0, len(order) - 1, CURVE_POINTS).round().astype(np.int64))
    points = [[float((place + 1) / len(order)), float(risks[place])] for place in shown]
    return points, float(risks.mean())
