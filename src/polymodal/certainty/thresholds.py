"""Thresholds on scores that keep a promise on new rows: conformal risk control, of which coverage is a case (numpy)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-9


def risk_threshold(
    scores: Sequence[float] | NDArray[np.float64],
    num_rows: int,
    coverage: float,
    weights: Sequence[float] | NDArray[np.float64] | None = None,
) -> float:
    """Return the least threshold whose expected loss on a new row is at most ``1 - coverage``.

    An answer is in the set of a row if its score is at most the threshold; what of the truth is not in it is lost. This
    is conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814, equation 4) of losses between 0 and 1: with
    one true answer a row, split conformal prediction (Vovk et al. 2005; Lei et al. 2018, algorithm 2); with several,
    each weighing one divided by their number, the share of false negatives.

    Args:
        scores: Scores of the true answers of the calibration rows.
        num_rows: Calibration rows, those without a true answer too.
        coverage: One minus the promised loss, between 0 and 1.
        weights: What is lost with each true answer; None: 1.

    Returns:
        At least 0; infinity where the rows are too few for the promise: below ``1 / (1 - coverage) - 1``.
    """
    allowed = (num_rows + 1) * (1.0 - coverage) - 1.0 + TOLERANCE
    if allowed < 0:
        return math.inf
    values = np.asarray(scores, dtype=np.float64)
    lost = np.ones(len(values)) if weights is None or not len(weights) else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    is_kept = np.cumsum(lost[order]) > allowed  # from the largest on: the first that may not be lost
    return max(0.0, float(values[order][np.argmax(is_kept)])) if is_kept.any() else 0.0


def rows_needed(coverage: float) -> int:
    """Return the least number of calibration rows for which a threshold is finite."""
    return math.ceil(1.0 / (1.0 - coverage) - 1.0 - TOLERANCE)
