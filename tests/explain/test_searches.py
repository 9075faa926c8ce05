"""Searches in games whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from polymodal.explain.column_shapley import ColumnShapley, can_be_shapley, kernel_coalitions, kernel_shap
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Box, CellSource, DividedCell
from polymodal.explain.searches import Occlusion, Owen, PartSearch
from polymodal.explain.shapley import all_coalitions, shapley_values

Game = Callable[[NDArray[np.bool_]], float]


@dataclass(frozen=True)
class Grid(DividedCell):
    """A cell whose atoms are nothing but numbers."""

    columns: tuple[str, ...]
    sizes: tuple[int, ...]

    kind: ClassVar[PartKind] = "columns"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes

    def remove(self, removed: NDArray[np.bool_]) -> dict[str, Any]:
        return {"cell": removed}

    def pool(self, values: Any, array: Any, modality: Any) -> Any:
        return values

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        return str(box), {"box": box}


def play(search: PartSearch, game: Game) -> PartSearch:
    """Run a search to its end; the game is given what is left."""
    limit = search.left
    while masks := search.requests():
        search.tell(np.array([[game(~mask)] for mask in masks]))
    assert search.passes <= limit
    return search


def linear(weights: NDArray[np.float64]) -> Game:
    """Return a game in which every atom adds its weight."""
    return lambda left: float(weights[left].sum())


@pytest.mark.parametrize("kind", [Occlusion, Owen])
@pytest.mark.parametrize("shape", [(40,), (16, 16), (6, 5, 7)])
def test_parts_of_a_linear_game_are_worth_their_weights(kind: type[PartSearch], shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=shape)
    search = play(kind(Grid(("cell",), shape), np.array([0.0]), 50), linear(weights))
    assert search.passes > 40
    for leaf in search.leaves:
        assert leaf.value[0] == pytest.approx(weights[search.cell.mask(leaf.box)].sum())


@pytest.mark.parametrize("kind", [Occlusion, Owen])
@pytest.mark.parametrize("shape", [(200,), (16, 16)])
def test_one_atom_that_decides_is_found_exactly(kind: type[PartSearch], shape: tuple[int, ...]) -> None:
    weights = np.zeros(shape)
    weights[tuple(size // 3 for size in shape)] = 1
    search = play(kind(Grid(("cell",), shape), np.array([0.0]), 60), linear(weights))
    best = max(search.leaves, key=lambda leaf: leaf.value[0])
    assert np.array_equal(search.cell.mask(best.box), weights == 1)


def test_owen_values_add_up_in_any_game() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 8))

    def game(left: NDArray[np.bool_]) -> float:
        return float(np.tanh(weights[left].sum()) + left[2:4, 2:4].all())

    search = play(Owen(Grid(("cell",), (8, 8)), np.array([game(np.zeros((8, 8), bool))]), 49), game)
    total = game(np.ones((8, 8), bool)) - game(np.zeros((8, 8), bool))
    assert sum(leaf.value[0] for leaf in search.leaves) == pytest.approx(total)


def test_evidence_that_is_there_twice_is_shared_by_owen_values() -> None:
    def game(left: NDArray[np.bool_]) -> float:
        return float(left[3] or left[12])

    search = play(Owen(Grid(("cell",), (16,)), np.array([0.0]), 40), game)
    density = search.density(0)
    assert density[[3, 12]].sum() > 0.8
    assert density[3] == pytest.approx(density[12])


def test_few_passes_give_few_parts() -> None:
    search = play(Occlusion(Grid(("cell",), (16, 16)), np.array([0.0]), 3), linear(np.ones((16, 16))))
    assert 1 <= len(search.leaves) <= 2


def test_few_columns_get_exact_shapley_values() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(2**4, 1))

    def game(left: NDArray[np.bool_]) -> float:
        return float(values[int((left * 2 ** np.arange(4)).sum()), 0])

    cell = Grid(("cell",), (4,))
    search = play(ColumnShapley(cell, values[0], 20), game)
    found = np.array([leaf.value for leaf in search.leaves])
    np.testing.assert_allclose(found, shapley_values(values))


def test_more_columns_get_values_that_add_up_and_are_near_the_exact_ones() -> None:
    random = np.random.default_rng(1)
    weights, pairs = random.normal(size=9), random.normal(0, 0.3, size=(9, 9))

    def game(left: NDArray[np.bool_]) -> float:
        return float(weights[left].sum() + left @ pairs @ left)

    search = play(ColumnShapley(Grid(("cell",), (9,)), np.array([0.0]), 60), game)
    found = np.array([leaf.value[0] for leaf in search.leaves])
    exact = shapley_values(np.array([[game(coalition)] for coalition in all_coalitions(9)]))[:, 0]
    assert found.sum() == pytest.approx(exact.sum())
    np.testing.assert_allclose(found, exact, atol=1e-6)  # kernel SHAP is exact for games of pairs


def test_columns_get_shapley_values_only_where_passes_suffice() -> None:
    assert can_be_shapley(Grid(("cell",), (10,)), 21)
    assert not can_be_shapley(Grid(("cell",), (10,)), 20)


def test_kernel_shap_of_all_coalitions_is_the_shapley_value() -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=(2**5, 2))
    coalitions = all_coalitions(5)[1:-1]
    sizes = coalitions.sum(axis=1)
    weights = np.array([4 / (len(list(sizes[sizes == size])) * size * (5 - size)) for size in sizes])
    found = kernel_shap(coalitions, weights, values[1:-1] - values[0], values[-1] - values[0])
    np.testing.assert_allclose(found, shapley_values(values), atol=1e-9)


def test_coalitions_come_with_their_complements() -> None:
    coalitions, weights = kernel_coalitions(8, 40)
    assert len(coalitions) == len(weights) <= 40
    known = {tuple(row) for row in coalitions.tolist()}
    assert all(tuple(row) in known for row in (~coalitions).tolist())
