"""What sets and intervals held on rows with truth, beside what was promised (numpy).

Shape legend: N rows, C classes (or labels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.counts import beta_binomial, binomial, count_quantile
from polymodal.metrics.shares import NORMAL_95, wilson_interval

Floats = NDArray[np.float64]
LEVELS = (0.8, 0.9, 0.95)
"""Promises that are tested in every report."""
TAIL = 0.025


@dataclass(frozen=True)
class Kept:
    """What sets or intervals of some rows held.

    Attributes:
        held: float64 ``[N]``: 1 where the truth was inside, 0 where not; of labels the share of true ones.
        sizes: float64 ``[N]``: classes in the set, or width of the interval.
    """

    held: Floats
    sizes: Floats

    def take(self, rows: NDArray[Any]) -> Kept:
        """Return some of the rows."""
        return Kept(self.held[rows], self.sizes[rows])


def kept_by_sets(kind: str, included: NDArray[np.bool_], truth: NDArray[Any]) -> Kept:
    """Compare sets with the truth.

    Args:
        kind: "category" or "categories".
        included: bool ``[N, C]``.
        truth: int64 ``[N]``, or 0 and 1 ``[N, C]``.

    Returns:
        What they held; a row without a label lacks nothing.
    """
    sizes = included.sum(axis=1).astype(np.float64)
    if kind == "category":
        return Kept(included[np.arange(len(truth)), truth].astype(np.float64), sizes)
    is_true = truth.astype(np.bool_)
    totals = is_true.sum(axis=1)
    return Kept(np.where(totals > 0, (included & is_true).sum(axis=1) / np.maximum(totals, 1), 1.0), sizes)


def kept_by_intervals(intervals: Floats, truth: Floats) -> Kept:
    """Compare intervals with the truth.

    Args:
        intervals: float64 ``[N, 2]``.
        truth: float64 ``[N]``.

    Returns:
        What they held.
    """
    low, high = intervals.T
    return Kept(((low <= truth) & (truth <= high)).astype(np.float64), high - low)


def measure(kept: Kept, coverage: float, num_calibration: int | None = None) -> dict[str, Any]:
    """Measure coverage beside the promise.

    Args:
        kept: What sets or intervals held, of at least one row.
        coverage: The promise.
        num_calibration: Calibration rows of the threshold; None: their draw does not count.

    Returns:
        ``promised``, ``rows``, ``measured``, its 95 % ``interval`` (Wilson's of a share, else the normal one),
        ``mean_size`` and ``median_size`` (None where infinite), ``expected``: the range in which 95 % of measured
        shares lie if the promise is kept exactly, and ``verdict``: "kept", or "more" or "less" outside of it.
    """
    measured, num_rows = float(kept.held.mean()), len(kept.held)
    is_share = bool(np.isin(kept.held, (0.0, 1.0)).all())
    interval = wilson_interval(float(kept.held.sum()), num_rows) if is_share else _normal_interval(kept.held)
    expected = expected_range(coverage, num_rows, num_calibration) if is_share else [coverage, coverage]
    low, high = (measured, measured) if is_share else interval
    verdict = "less" if high < expected[0] else "more" if low > expected[1] else "kept"
    return {
        "promised": coverage,
        "rows": num_rows,
        "measured": measured,
        "interval": interval,
        "expected": expected,
        "verdict": verdict,
        "mean_size": _finite(kept.sizes.mean()),
        "median_size": _finite(np.median(kept.sizes)),
    }


def expected_range(coverage: float, num_rows: int, num_calibration: int | None = None) -> list[float]:
    """Return between which shares 95 % of measured coverages lie if the promise is kept exactly.

    Args:
        coverage: The promise.
        num_rows: Rows it is measured on.
        num_calibration: Rows that chose the threshold, whose draw counts as well: the range is that of a beta-binomial
            distribution (Vovk 2012, proposition 2a; Angelopoulos and Bates 2021, section 3.2). None: a binomial one.

    Returns:
        ``[low, high]``.
    """
    if num_calibration is None:
        chances = binomial(num_rows, coverage)
        return [count_quantile(chances, tail) / num_rows for tail in (TAIL, 1 - TAIL)]
    lost = math.floor((num_calibration + 1) * (1 - coverage) + 1e-9)
    if lost < 1:
        return [1.0, 1.0]
    chances = beta_binomial(num_rows, num_calibration + 1 - lost, lost)
    return [count_quantile(chances, tail) / num_rows for tail in (TAIL, 1 - TAIL)]


def by_class(held: Floats, truth: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Measure the coverage of the rows of each class.

    Args:
        held: float64 ``[N]``: 1 where the truth was inside.
        truth: int64 ``[N]``.
        classes: Names.

    Returns:
        ``label``, ``rows``, ``measured`` and its 95 % ``interval`` of each class that occurs, the worst first.
    """
    entries = []
    for index, label in enumerate(classes):
        rows = held[truth == index]
        if len(rows):
            interval = wilson_interval(float(rows.sum()), len(rows))
            entries.append({"label": label, "rows": len(rows), "measured": float(rows.mean()), "interval": interval})
    return sorted(entries, key=lambda entry: (entry["measured"], -entry["rows"], entry["label"]))


def confidence_rises(full: Floats, without: Floats) -> dict[str, float]:
    """Compare the confidence of rows with that after a stream was removed.

    A model should not be surer where it knows less (Ma et al. 2023, arXiv 2302.04022, definition 3.1).

    Args:
        full: float64 ``[N]``: probability of the predicted label with all streams, at least one row.
        without: float64 ``[N]``: without the stream.

    Returns:
        ``share`` of rows in which it rises by more than a millionth, and its ``mean_change``.
    """
    return {"share": float((without > full + 1e-6).mean()), "mean_change": float((without - full).mean())}


def _normal_interval(values: Floats) -> list[float]:
    mean = float(values.mean())
    margin = NORMAL_95 * float(values.std(ddof=min(1, len(values) - 1))) / math.sqrt(len(values))
    return [max(0.0, mean - margin), min(1.0, mean + margin)]


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
