"""Shared, unique and joint information of streams whose answer is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from polymodal.explain.information import decompose


def answers(rule: Callable[[int, int], int], num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a perfect model answers to the four inputs of two bits: from the first, the second, and both."""
    inputs = list(itertools.product((0, 1), (0, 1)))
    joint = np.array([np.eye(num_classes)[rule(*pair)] for pair in inputs])
    first, second = (
        np.array([joint[[pair[bit] == other[bit] for other in inputs]].mean(axis=0) for pair in inputs])
        for bit in (0, 1)
    )
    return first, second, joint


@pytest.mark.parametrize(
    ("rule", "num_classes", "expected"),
    [
        pytest.param(lambda a, b: a ^ b, 2, (0, 0, 0, 1), id="exclusive or: only together"),
        pytest.param(lambda a, b: a, 2, (0, 1, 0, 0), id="the first alone"),
        pytest.param(lambda a, b: b, 2, (0, 0, 1, 0), id="the second alone"),
        pytest.param(lambda a, b: 2 * a + b, 4, (0, 1, 1, 0), id="both bits: each says its own"),
        pytest.param(lambda a, b: a & b, 2, (0.3113, 0, 0, 0.5), id="and, as in Bertschinger et al. 2014"),
    ],
)
def test_known_distributions(
    rule: Callable[[int, int], int], num_classes: int, expected: tuple[float, float, float, float]
) -> None:
    found = decompose(*answers(rule, num_classes))
    assert np.allclose((found.redundancy, *found.unique, found.synergy), expected, atol=1e-3)


def test_two_copies_are_redundant() -> None:
    copy = np.eye(2)[[0, 1, 1, 0]]
    found = decompose(copy, copy, copy)
    assert np.allclose((found.redundancy, *found.unique, found.synergy), (1, 0, 0, 0), atol=1e-6)


def test_constant_answers_say_nothing() -> None:
    constant = np.full((5, 3), 1 / 3)
    assert decompose(constant, constant, constant).total == 0


def test_the_parts_sum_to_the_information_of_both() -> None:
    first, second, joint = np.random.default_rng(0).dirichlet(np.ones(3), (3, 40))
    found = decompose(first, second, joint)
    assert min(found.redundancy, *found.unique, found.synergy) >= 0
    assert np.isclose(found.total, found.redundancy + sum(found.unique) + found.synergy)


def test_a_class_that_is_never_answered_does_no_harm() -> None:
    sure = np.eye(3)[[0, 1, 0, 1]]
    assert np.isclose(decompose(sure, np.full((4, 3), [0.5, 0.5, 0.0]), sure).unique[0], 1, atol=1e-6)
