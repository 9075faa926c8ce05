"""Values of the parts of one cell by halving it again and again where the answer depends on it.

Two games are played, in both of which all other parts of the cell are there (K outputs, ``f`` the answer without the
named atoms):

- ``occlusion`` (Zeiler and Fergus 2014): a part's value is ``f(nothing) - f(part)``.
- ``owen``: Owen values over a binary hierarchy of parts (Owen 1977), as the partition explainer of Lundberg's ``shap``
  computes them: two halves a and b share what their box is worth by their Shapley values, ``((f(b) - f(a and b)) +
  (f(nothing) - f(a))) / 2`` for a. Differs from the source: a box is halved with everything outside of it present
  only, and what its own value departs from ``f(nothing) - f(box)`` is added to its halves alike, so that parts always
  add up to the whole cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.explain.explanation import Part
from polymodal.explain.parts import DividedCell
from polymodal.explain.parts.base import Box

Floats = NDArray[np.float64]
HalvingMethod = Literal["owen", "occlusion"]

FIRST_HALVINGS = 3
"""So many times the largest part is halved, later the one that matters most."""
SIZE_WEIGHT = 0.1
"""What the size of a part counts beside its value: halves that cancel each other are found in large parts."""


@dataclass(frozen=True)
class Leaf:
    """A part that was not halved yet.

    Attributes:
        box: Its atoms.
        value: What it is worth, ``[K]``.
        without: The answer without it, ``[K]``.
    """

    box: Box
    value: Floats
    without: Floats


@dataclass
class Halving:
    """The parts of one cell of one row while they are found.

    Attributes:
        cell: The divided cell.
        method: The game.
        answer: The answer with the whole cell, ``[K]``.
        leaves: The parts so far.
        passes: Network passes that were spent on it.
        num_halvings: How often a part was halved.
    """

    cell: DividedCell
    method: HalvingMethod
    answer: Floats
    leaves: list[Leaf] = field(default_factory=list)
    passes: int = 0
    num_halvings: int = 0

    def start(self, absent: Floats) -> None:
        """Begin with the whole cell as one part.

        Args:
            absent: The answer without the cell, ``[K]``.
        """
        self.leaves = [Leaf(self.cell.whole, self.answer - absent, absent)]

    def ranked(self, scale: Floats) -> list[tuple[float, Leaf]]:
        """Rank the parts that can be halved.

        Args:
            scale: What each output is divided by, ``[K]``.

        Returns:
            Priority and part, the highest first.
        """
        total = self.cell.mask(self.cell.whole).size
        found = []
        for leaf in self.leaves:
            if self.cell.halves(leaf.box) is None:
                continue
            share = self.cell.mask(leaf.box).sum() / total
            value = float((np.abs(leaf.value) / scale).max()) + SIZE_WEIGHT * share
            found.append((1e6 * share if self.num_halvings < FIRST_HALVINGS else value, leaf))
        return sorted(found, key=lambda pair: -pair[0])

    def halve(self, leaf: Leaf, without: tuple[Floats, Floats]) -> None:
        """Replace a part by its halves.

        Args:
            leaf: The part.
            without: The answers without the first and without the second half.
        """
        halves = self.cell.halves(leaf.box)
        assert halves is not None
        values = self._shares(leaf, *without)
        place = self.leaves.index(leaf)
        self.leaves[place : place + 1] = [
            Leaf(box, value, answer) for box, value, answer in zip(halves, values, without, strict=True)
        ]
        self.passes, self.num_halvings = self.passes + 2, self.num_halvings + 1

    def _shares(self, leaf: Leaf, without_a: Floats, without_b: Floats) -> tuple[Floats, Floats]:
        if self.method == "occlusion":
            return self.answer - without_a, self.answer - without_b
        share_a = ((self.answer - without_a) + (without_b - leaf.without)) / 2
        share_b = ((self.answer - without_b) + (without_a - leaf.without)) / 2
        rest = (leaf.value - share_a - share_b) / 2
        return share_a + rest, share_b + rest

    def parts(self, output: int) -> list[Part]:
        """Return the parts for one output.

        Args:
            output: Its number.

        Returns:
            The parts in the order of their place.
        """
        return [self.cell.part(leaf.box, float(leaf.value[output])) for leaf in self.leaves]

    def density(self, output: int) -> Floats:
        """Spread the parts' values evenly over their atoms.

        Args:
            output: The output's number.

        Returns:
            float64, of the grid's shape.
        """
        values = np.zeros(self.cell.shape)
        for leaf in self.leaves:
            atoms = self.cell.mask(leaf.box)
            values[atoms] = leaf.value[output] / atoms.sum()
        return values
