"""Formatting of numbers, scores and names, for the report and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from polymodal.metrics import metric_of

THREE_DECIMALS = frozenset({"percent", "share", "nats"})
"""Units of metrics that are written with three decimals."""
PRIORS = frozenset({"prior", "majority", "mean", "median", "constant"})
"""Baselines that do not depend on the inputs."""


def metric_title(metric: str) -> str:
    """Return a metric's name as people write it."""
    return metric_of(metric).title


def metric_heading(metric: str) -> str:
    """Return a metric's title, with "lower is better" where that holds."""
    return metric_title(metric) + ("" if metric_of(metric).higher_is_better else " (lower is better)")


def clip_to_metric_range(metric: str, low: float, high: float) -> tuple[float, float]:
    """Clip the range of an axis to 0 and 1 for metrics between them.

    Args:
        metric: The metric.
        low: Lower end of the range.
        high: Its upper end.

    Returns:
        Both ends.
    """
    return (max(low, 0.0), min(high, 1.0)) if metric_of(metric).zero_to_one and low < 1 else (low, high)


def is_number(value: object) -> bool:
    """Return True for a finite int or float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def format_number(value: Any) -> str:
    """Format a number with about four significant digits; a dash without one."""
    if not is_number(value):
        return "–"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def format_score(metric: str, value: Any) -> str:
    """Format a score for tables: three decimals, except for metrics with a unit of their own."""
    if not is_number(value):
        return "–"
    if metric_of(metric).unit in THREE_DECIMALS:
        return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")
    return format_number(value)


def format_score_in_text(metric: str, value: Any) -> str:
    """Format a score for sentences: accuracies as percentages."""
    if metric_of(metric).unit == "percent" and is_number(value):
        return f"{100 * value:.1f}%".replace("-", "−")
    return format_score(metric, value)


def format_difference(metric: str, value: float) -> str:
    """Format a difference of scores: accuracies in percentage points."""
    if metric_of(metric).unit == "percent":
        return f"{100 * value:.1f} points".replace("-", "−")
    return format_score(metric, value if metric_of(metric).unit in THREE_DECIMALS else float(f"{value:.3g}"))


def signed_difference(metric: str, value: float) -> str:
    """Format a difference of scores with its sign."""
    if metric_of(metric).unit not in THREE_DECIMALS:
        value = float(f"{value:.3g}")
    return ("+" if value > 0 else "") + format_score(metric, value)


def format_share(part: float, whole: float) -> str:
    """Format a share as a percentage."""
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    return "< 0.1%" if share < 0.1 else f"{share:.1f}%" if share < 10 else f"{share:.0f}%"


def join_words(words: Sequence[str]) -> str:
    """Join words with commas and a final "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def member_title(member: str) -> str:
    """Return the title of a member of the ensemble (``fusion``, ``stream:NAME``, ``baseline:NAME``)."""
    kind, _, name = member.partition(":")
    if not name:
        return "Fusion network" if kind == "fusion" else kind
    return f"{name} alone" if kind == "stream" else name.replace("_", " ") if kind == "baseline" else member


def member_phrase(member: str) -> str:
    """Name a member in a sentence: "the linear baseline", "the stream “image”", "the fusion network", "the prior"."""
    kind, _, name = member.partition(":")
    if not name:
        return "the fusion network" if kind == "fusion" else kind
    if kind == "stream":
        return f"the stream “{name}”"
    return "the prior" if name in PRIORS else f"the {name.replace('_', ' ')} baseline"
