"""The small minimiser of the decision level."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from polymodal.ensemble.newton import minimise

Floats = NDArray[np.float64]


def bowl(centre: list[float]) -> tuple[Floats, Floats]:
    """Return a matrix and a point: ``(x - point)' matrix (x - point) / 2`` is the loss."""
    slanted = np.random.default_rng(0).normal(size=(len(centre), len(centre)))
    return slanted @ slanted.T + np.eye(len(centre)), np.array(centre)


@pytest.mark.parametrize("centre", [[1.0, 2.0, 3.0], [-1.0, 2.0, 0.5], [-1.0, -2.0, -3.0], [1.0, 9.0, 2.0], [0.0, 0.0]])
def test_a_bowl_s_lowest_point_within_the_bounds_is_found(centre: list[float]) -> None:
    matrix, point = bowl(centre)

    def objective(x: Floats) -> tuple[float, Floats, Floats]:
        return float((x - point) @ matrix @ (x - point) / 2), matrix @ (x - point), matrix

    found = minimise(objective, np.full(len(centre), 0.3), 5.0)
    expected = minimize(lambda x: objective(x)[0], np.full(len(centre), 0.3), bounds=[(0, 5)] * len(centre), tol=1e-12)
    np.testing.assert_allclose(found, expected.x, atol=1e-4)
    assert ((found >= 0) & (found <= 5)).all()


def test_full_steps_that_would_go_too_far_are_halved() -> None:
    """Newton's steps on sqrt(1 + x²) go ever further away from a start beyond 1."""
    found = minimise(
        lambda x: (
            float(np.sqrt(1 + (x[0] - 20) ** 2)),
            (x - 20) / np.sqrt(1 + (x - 20) ** 2),
            np.array([[(1 + (x[0] - 20) ** 2) ** -1.5]]),
        ),
        np.array([3.0]),
        50.0,
    )
    assert found[0] == pytest.approx(20.0, abs=1e-4)


def test_a_flat_direction_does_no_harm() -> None:
    def objective(x: Floats) -> tuple[float, Floats, Floats]:
        total = float(x.sum() - 2)
        return total**2 / 2, np.full(2, total), np.ones((2, 2))

    assert minimise(objective, np.array([0.1, 0.4]), 5.0).sum() == pytest.approx(2.0, abs=1e-5)
