"""Shapley values and interactions of games whose values are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from polymodal.explain.shapley import (
    SampledCoalitions,
    all_coalitions,
    shapley_interactions,
    shapley_values,
)

RANDOM = np.random.default_rng(0)


def main_effects(values: np.ndarray, interactions: np.ndarray) -> np.ndarray:
    """What each player does without the others (Lundberg et al. 2020, equation 5)."""
    return values - interactions.sum(axis=1) / 2


def by_orders(values: np.ndarray, num_players: int) -> np.ndarray:
    """Average every player's gain over all orders in which the players may join: the definition, slowly."""
    total = np.zeros((num_players, values.shape[1]))
    for order in itertools.permutations(range(num_players)):
        joined = 0
        for player in order:
            total[player] += values[joined | 1 << player] - values[joined]
            joined |= 1 << player
    return total / math.factorial(num_players)


@pytest.mark.parametrize("num_players", [1, 2, 4])
def test_values_are_the_mean_gain_over_all_orders(num_players: int) -> None:
    values = RANDOM.normal(size=(2**num_players, 3))
    assert np.allclose(shapley_values(values), by_orders(values, num_players), atol=1e-12)


def test_values_of_ten_players_sum_to_all_minus_none() -> None:
    values = RANDOM.normal(size=(2**10, 2))
    assert np.allclose(shapley_values(values).sum(axis=0), values[-1] - values[0], atol=1e-9)


def test_an_exclusive_or_is_all_interaction_and_no_main_effect() -> None:
    members = all_coalitions(3)
    values = (members[:, 0] & members[:, 1]).astype(float)[:, None]  # the third player is noise
    shapley, interactions = shapley_values(values), shapley_interactions(values)
    assert np.allclose(shapley.ravel(), [0.5, 0.5, 0])
    assert np.allclose(interactions[0, 1], 1)
    assert np.allclose(interactions[2], 0)
    assert np.allclose(main_effects(shapley, interactions), 0)


def test_players_who_say_the_same_have_a_negative_interaction() -> None:
    values = all_coalitions(2).any(axis=1).astype(float)[:, None]
    assert shapley_interactions(values)[0, 1].item() == -1


def test_an_additive_game_has_no_interactions() -> None:
    worth = RANDOM.normal(size=(4, 2))
    values = all_coalitions(4) @ worth
    assert np.allclose(shapley_interactions(values), 0, atol=1e-12)
    assert np.allclose(main_effects(shapley_values(values), shapley_interactions(values)), worth)


def test_sampled_values_of_an_additive_game_are_exact() -> None:
    worth, sample = RANDOM.normal(size=(30, 2)), SampledCoalitions.draw(30)
    values, errors = sample.values(sample.coalitions @ worth)
    assert np.allclose(values, worth, atol=1e-9)
    assert np.allclose(errors, 0, atol=1e-9)


def test_sampled_values_sum_up_and_lie_within_their_errors() -> None:
    members = all_coalitions(12)
    values = members.sum(axis=1)[:, None] ** 2.0 + members[:, :3].all(axis=1, keepdims=True) * 20
    exact, sample = shapley_values(values), SampledCoalitions.draw(12)
    places = sample.coalitions @ (1 << np.arange(12))
    found, errors = sample.values(values[places])
    assert np.isclose(found.sum(), values[-1] - values[0])
    assert (np.abs(found - exact) <= 4 * errors + 1e-9).all()
    assert errors[0] > 0


def test_two_hundred_players_ask_a_bounded_number_of_coalitions() -> None:
    assert len(SampledCoalitions.draw(200).coalitions) < 2500
