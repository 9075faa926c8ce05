"""Shapley values of a row's columns: exact for few columns, estimated by kernel SHAP for more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polymodal.explain.parts import DividedCell
from polymodal.explain.parts.base import Atoms
from polymodal.explain.searches import Floats, Leaf, PartSearch
from polymodal.explain.shapley import all_coalitions, shapley_values


def can_be_shapley(cell: DividedCell, passes: int) -> bool:
    """Return whether the passes suffice for Shapley values: two for each column and one for the whole.

    Args:
        cell: The divided cell.
        passes: Network passes.

    Returns:
        True where they do.
    """
    return cell.kind == "columns" and 2 * cell.shape[0] + 1 <= passes


@dataclass
class ColumnShapley(PartSearch):
    """Shapley values of columns; they add up to the worth of the stream.

    All coalitions are asked where the passes suffice. Else kernel SHAP (Lundberg and Lee 2017, arXiv 1705.07874,
    theorem 2): every coalition without one column and of one column alone, then random ones with their complements, and
    the weighted least squares whose solution adds up.
    """

    method: ClassVar[str] = "shapley"
    coalitions: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    weights: Floats = field(default_factory=lambda: np.zeros(0))

    def requests(self) -> list[Atoms]:
        """Choose all coalitions in one round.

        Returns:
            Masks of the absent columns; none in later rounds.
        """
        if self.passes:
            return []
        count = self.cell.shape[0]
        if 2**count - 1 <= self.left:
            self.coalitions, self.weights = all_coalitions(count)[1:-1], np.zeros(0)
        else:
            self.coalitions, self.weights = kernel_coalitions(count, self.left - 1)
        return self._spend([np.zeros(count, bool), *~self.coalitions])

    def tell(self, answers: Floats) -> None:
        """Compute the values.

        Args:
            answers: float64 ``[R, K]``.
        """
        self.answer = answers[0]
        if len(self.weights):
            values = kernel_shap(self.coalitions, self.weights, answers[1:] - self.absent, self.answer - self.absent)
        else:
            values = shapley_values(np.concatenate([[self.absent], answers[1:], [self.answer]]))
        nothing = np.full_like(self.answer, np.nan)
        self.leaves = [Leaf(((place, place + 1),), value, nothing) for place, value in enumerate(values)]


def kernel_coalitions(count: int, most: int) -> tuple[NDArray[np.bool_], Floats]:
    """Choose coalitions and their weights in the regression of kernel SHAP.

    Coalitions of one player and of all but one are complete and have their exact weight; the others are drawn by the
    weight of their sizes, each with its complement, and share the weight that is left (Covert and Lee 2021, arXiv
    2012.01536, section 4: paired sampling).

    Args:
        count: Players, at least 3.
        most: Coalitions at most, at least twice the number of players.

    Returns:
        bool ``[coalitions, players]`` and float64 ``[coalitions]``.
    """
    single = np.eye(count, dtype=bool)
    of_size = np.array([(count - 1) / (size * (count - size)) for size in range(1, count)])
    pairs = (most - 2 * count) // 2
    ends = np.concatenate([single, ~single])
    weights = np.full(2 * count, of_size[0] / count)
    if not pairs or count < 4:
        return ends, weights
    rng = np.random.default_rng(0)
    inner = of_size[1:-1]
    sizes = rng.choice(np.arange(2, count - 1), pairs, p=inner / inner.sum())
    drawn = np.array([np.isin(np.arange(count), rng.permutation(count)[:size]) for size in sizes])
    shared = np.full(2 * pairs, inner.sum() / (2 * pairs))
    return np.concatenate([ends, drawn, ~drawn]), np.concatenate([weights, shared])


def kernel_shap(coalitions: NDArray[np.bool_], weights: Floats, gains: Floats, total: Floats) -> Floats:
    """Solve the weighted least squares of kernel SHAP, with the sum fixed.

    Args:
        coalitions: bool ``[coalitions, players]``.
        weights: float64 ``[coalitions]``.
        gains: float64 ``[coalitions, K]``, what each coalition adds to the empty one.
        total: float64 ``[K]``, what all players add to it.

    Returns:
        float64 ``[players, K]``, sum ``total``.
    """
    design = coalitions.astype(np.float64)
    root = np.sqrt(weights)[:, None]
    reduced, wanted = design[:, :-1] - design[:, -1:], gains - design[:, -1:] * total
    found, *_ = np.linalg.lstsq(root * reduced, root * wanted, rcond=None)
    return np.concatenate([found, [total - found.sum(axis=0)]])
