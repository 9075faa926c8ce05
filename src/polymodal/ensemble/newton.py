"""Minimising over a few numbers between two bounds, where slope and curvature are cheap (numpy)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Objective = Callable[[Floats], tuple[float, Floats, Floats]]
"""From numbers ``[K]`` to a loss, its gradient ``[K]``, and a curvature ``[K, K]`` without negative eigenvalues."""

MAX_STEPS = 100
MAX_HALVINGS = 30
FLAT = 1e-6
"""A gradient whose largest part is below this ends the search."""
SUFFICIENT = 1e-4
RIDGE = 1e-12


def minimise(objective: Objective, start: Floats, most: float) -> Floats:
    """Find the numbers in 0..most with the least loss, by projected Newton steps.

    Numbers at a bound that the loss pushes against stay there; the others take a Newton step, which is cut off at the
    bounds and halved until the loss falls: Bertsekas 1982, "Projected Newton methods for optimization problems with
    simple constraints", equations 23 to 27.

    Args:
        objective: What is minimised.
        start: float64 ``[K]``, within the bounds.
        most: The upper bound of each number; 0 is the lower one.

    Returns:
        float64 ``[K]``.
    """
    here, (loss, gradient, curvature) = start, objective(start)
    for _ in range(MAX_STEPS):
        free = ~(((here <= 0) & (gradient > 0)) | ((here >= most) & (gradient < 0)))
        if not free.any() or np.abs(gradient[free]).max() < FLAT:
            break
        step = np.zeros_like(here)
        inner = curvature[np.ix_(free, free)]
        step[free] = np.linalg.solve(inner + RIDGE * np.eye(len(inner)), gradient[free])
        for halving in range(MAX_HALVINGS):
            there = np.clip(here - step / 2**halving, 0.0, most)
            found = objective(there)
            if found[0] <= loss + SUFFICIENT * float(gradient @ (there - here)):
                break
        else:
            break
        here, (loss, gradient, curvature) = there, found
    return here
