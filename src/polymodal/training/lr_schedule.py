"""The learning-rate schedule: linear warm-up, then cosine annealing."""

from __future__ import annotations

import math

FINAL_LR_FACTOR = 0.01


def lr_factor(step: int, total_steps: int, warmup_fraction: float) -> float:
    """Compute the factor of the learning rate: linear warm-up, then cosine (Loshchilov and Hutter 2017).

    Args:
        step: Number of steps done.
        total_steps: Number of steps of the schedule.
        warmup_fraction: Fraction of the steps that warm up.

    Returns:
        Learning rate as a fraction of the peak learning rate.
    """
    warmup_steps = max(int(total_steps * warmup_fraction), 1)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return FINAL_LR_FACTOR + (1 - FINAL_LR_FACTOR) * 0.5 * (1 + math.cos(math.pi * progress))
