"""The minimiser of the linear baseline and of stacking."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from polymodal.ensemble.lbfgs import minimise

Floats = NDArray[np.float64]


def valley(x: Floats) -> tuple[float, Floats]:
    """Return Rosenbrock's curved valley, whose lowest point is 1 everywhere, and its gradient."""
    ahead, behind = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * ahead - 2 * behind
    gradient[1:] += 200 * ahead
    return float((100 * ahead**2 + behind**2).sum()), gradient


def regression(num_features: int) -> tuple[Floats, Floats]:
    """Return features of very unequal size and 0/1 truths that follow them with errors."""
    random = np.random.default_rng(0)
    features = random.normal(size=(300, num_features)) * np.logspace(-1, 1, num_features)
    return features, (features @ random.normal(size=num_features) + random.normal(size=300) > 0).astype(np.float64)


@pytest.mark.parametrize("num_features", [1, 5, 40])
def test_a_logistic_regression_is_fitted_as_scipy_fits_it(num_features: int) -> None:
    features, truth = regression(num_features)

    def objective(weights: Floats) -> tuple[float, Floats]:
        outputs = features @ weights
        residual = 0.5 * (1 + np.tanh(outputs / 2)) - truth
        loss = float((np.logaddexp(0, outputs) - truth * outputs).mean() + 5e-3 * weights @ weights)
        return loss, features.T @ residual / len(truth) + 1e-2 * weights

    found = minimise(objective, np.zeros(num_features), num_steps=1000, flat=1e-8, gain=0.0)
    expected = minimize(objective, np.zeros(num_features), jac=True, method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(found, expected.x, atol=1e-5)


@pytest.mark.parametrize("start", [[-1.2, 1.0], [3.0, -2.0, 0.5, 1.0], [1e3, -1e3]])
def test_a_curved_valley_is_followed_to_its_end(start: list[float]) -> None:
    found = minimise(valley, np.array(start), num_steps=1000, gain=0.0)
    np.testing.assert_allclose(found, np.ones(len(start)), atol=1e-4)


def test_no_step_raises_the_loss_and_few_steps_may_be_enough() -> None:
    start = np.array([-1.2, 1.0, 2.0])
    losses = [valley(minimise(valley, start, num_steps=steps))[0] for steps in range(8)]
    assert losses[0] == valley(start)[0]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 10


def test_the_lowest_point_is_not_left() -> None:
    calls: list[Floats] = []

    def objective(x: Floats) -> tuple[float, Floats]:
        calls.append(x)
        return valley(x)

    np.testing.assert_array_equal(minimise(objective, np.ones(3), num_steps=50), np.ones(3))
    assert len(calls) == 1


def test_where_the_loss_is_no_number_the_way_there_is_halved() -> None:
    """The logarithm has none below zero, where a full first step would lead."""

    def objective(x: Floats) -> tuple[float, Floats]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(x[0] - 0.01 * np.log(x[0])), 1 - 0.01 / x

    assert minimise(objective, np.array([0.5]), num_steps=50)[0] == pytest.approx(0.01, abs=1e-4)
