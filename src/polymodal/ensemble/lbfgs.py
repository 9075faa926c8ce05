"""Minimising over many numbers, where slope alone is cheap (numpy). SciPy's takes longer to import than to run here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Objective = Callable[[Floats], tuple[float, Floats]]
"""From numbers ``[K]`` to a loss and its gradient ``[K]``."""

MEMORY = 10
"""Steps that curvature is told from."""
SUFFICIENT, MOST_SLOPE = 1e-4, 0.9
"""A step is not too long where the loss falls by this share of what its slope promised, and not too short where no more
than this share of the slope is left."""
MAX_TRIALS = 20


def minimise(objective: Objective, start: Floats, *, num_steps: int, flat: float = 1e-5, gain: float = 1e-6) -> Floats:
    """Find numbers with little loss by L-BFGS: Nocedal and Wright 2006, algorithm 7.5.

    Args:
        objective: What is minimised; smooth.
        start: float64 ``[K]``.
        num_steps: At most.
        flat: A gradient whose largest part is no more than this ends the search.
        gain: So does a step by which the loss falls by no more than this share of it, or of 1.

    Returns:
        float64 ``[K]``, the last ones found.

    Example:
        >>> minimise(lambda x: (float(x @ x), 2 * x), np.ones(2), num_steps=9)
        array([0., 0.])
    """
    here, (loss, gradient) = start, objective(start)
    pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=MEMORY)
    for _ in range(num_steps):
        if np.abs(gradient).max(initial=0.0) <= flat:
            break
        direction = _direction(gradient, pairs)
        there, (found, slope) = _search(objective, here, loss, gradient, direction)
        if not found < loss:
            break
        moved, changed = there - here, slope - gradient
        if (bend := float(moved @ changed)) > 1e-12 * float(changed @ changed):
            pairs.append((moved, changed, bend))
        is_over = loss - found <= gain * max(abs(loss), abs(found), 1.0)
        here, loss, gradient = there, found, slope
        if is_over:
            break
    return here


def _direction(gradient: Floats, pairs: deque[tuple[Floats, Floats, float]]) -> Floats:
    """Return where to go (algorithm 7.4); against the gradient, by a length of 1, where nothing is known yet."""
    if not pairs:
        return -gradient / max(float(np.linalg.norm(gradient)), 1.0)
    direction, shares = -gradient, []
    for moved, changed, bend in reversed(pairs):
        shares.append(float(moved @ direction) / bend)
        direction = direction - shares[-1] * changed
    _, changed, bend = pairs[-1]
    direction = direction * (bend / float(changed @ changed))
    for (moved, changed, bend), share in zip(pairs, reversed(shares), strict=True):
        direction = direction + (share - float(changed @ direction) / bend) * moved
    return direction


def _search(
    objective: Objective, here: Floats, loss: float, gradient: Floats, direction: Floats
) -> tuple[Floats, tuple[float, Floats]]:
    """Find a step by halving what is too long and doubling what is too short: Lewis and Overton 2013, algorithm 2.6."""
    slope = float(gradient @ direction)
    length, shortest, longest = 1.0, 0.0, np.inf
    for _ in range(MAX_TRIALS):
        there = here + length * direction
        found = objective(there)
        if not found[0] <= loss + SUFFICIENT * length * slope:
            longest = length
        elif float(found[1] @ direction) < MOST_SLOPE * slope:
            shortest = length
        else:
            break
        length = (shortest + longest) / 2 if longest < np.inf else 2 * length
    return there, found
