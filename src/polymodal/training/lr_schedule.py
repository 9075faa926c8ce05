"""How the learning rate runs over the steps of a training."""

from __future__ import annotations

import math

FINAL_RATE = 0.01


def rate_factor(step: int, total_steps: int, warmup_fraction: float) -> float:
    """Compute the learning rate's factor: linear warm-up, then cosine (Loshchilov and Hutter 2017).

    Args:
        step: Steps done.
        total_steps: Steps in all.
        warmup_fraction: Share of steps spent warming up.

    Returns:
        The share of the peak rate.
    """
    warmup = max(int(total_steps * warmup_fraction), 1)
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(total_steps - warmup, 1)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share))
