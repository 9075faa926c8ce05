"""Intervals of shares that do not collapse where all or none of the rows count (numpy only)."""

from __future__ import annotations

import math

NORMAL_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile."""
TAIL = 0.025


def wilson_interval(hits: float, total: float) -> list[float]:
    """Compute the 95 % score interval of a share (Wilson 1927), which has a width at 0 and at 1 too.

    Args:
        hits: Number of rows that count.
        total: Number of rows, above 0.

    Returns:
        ``[low, high]``, within 0 and 1.
    """
    share, square = hits / total, NORMAL_95**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    margin = NORMAL_95 * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return [max(0.0, min(centre - margin, share)), min(1.0, max(centre + margin, share))]


def open_ended(bounds: list[float], num_rows: int) -> list[float]:
    """Open an interval that resampling has collapsed at 0 or 1, by Clopper and Pearson 1934 for all or no rows.

    Args:
        bounds: ``[low, high]`` of a metric from 0 to 1.
        num_rows: Number of rows that could have shown another value.

    Returns:
        The interval; unchanged where it has a width or lies elsewhere.
    """
    low, high = bounds
    reach = TAIL ** (1 / max(num_rows, 1))
    if low == high == 1.0:
        return [reach, 1.0]
    return [0.0, 1.0 - reach] if low == high == 0.0 else bounds
