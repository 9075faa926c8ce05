"""The learning-rate schedule: linear warm-up, then one of several ways down."""

from __future__ import annotations

import math
from collections.abc import Callable

FINAL_LR_FACTOR = 0.01
"""Factor that the cosine and the line end at."""


def lr_factor(step: int, total_steps: int, warmup_fraction: float, schedule: str = "cosine") -> float:
    """Compute the factor of the learning rate: a linear warm-up, then the schedule.

    Args:
        step: Number of steps done.
        total_steps: Number of steps of the schedule.
        warmup_fraction: Fraction of the steps that warm up.
        schedule: Name in ``SCHEDULES``.

    Returns:
        Learning rate as a fraction of the peak learning rate.
    """
    warmup_steps = max(int(total_steps * warmup_fraction), 1)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return SCHEDULES[schedule](progress, step / warmup_steps)


def _cosine(progress: float, _: float) -> float:
    """Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts."""
    return FINAL_LR_FACTOR + (1 - FINAL_LR_FACTOR) * 0.5 * (1 + math.cos(math.pi * progress))


def _linear(progress: float, _: float) -> float:
    """Devlin et al. 2019, arXiv 1810.04805, appendix A.2, but for the value it ends at."""
    return 1 - (1 - FINAL_LR_FACTOR) * min(progress, 1.0)


def _inverse_sqrt(_: float, warmups: float) -> float:
    """Vaswani et al. 2017, arXiv 1706.03762, equation 3, relative to its peak."""
    return 1 / math.sqrt(max(warmups, 1.0))


def _constant(_: float, __: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "inverse_sqrt": _inverse_sqrt,
    "constant": _constant,
}
"""Name to the factor after the warm-up: of the share of the other steps that are done, and of steps in warm-ups."""
