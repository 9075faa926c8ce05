"""Finding the parts of one cell that matter: which atoms are taken away next, and what the answers say.

A search asks for changed cells in rounds and is told the answers. All searches of some rows run side by side, so that
one round of all of them is one table.

Shape legend: K outputs, R requests of a round.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polymodal.explain.explanation import Part
from polymodal.explain.parts import DividedCell
from polymodal.explain.parts.base import Atoms, Box

Floats = NDArray[np.float64]

EVEN_SHARE = 0.65
"""Share of the passes for parts of one size; the others halve the parts that matter most."""
HALVED_AT_ONCE = 2
FIRST_HALVINGS = 3
"""So many times the largest part is halved, later the one that matters most."""
SIZE_WEIGHT = 0.1
"""What the size of a part counts beside its value: halves that cancel each other are found in large parts."""


@dataclass(frozen=True)
class Leaf:
    """A part of a cell.

    Attributes:
        box: Its atoms.
        value: What it is worth, ``[K]``.
        without: The answer without it, ``[K]``.
        alone: The answer with nothing else of the cell, ``[K]``; None where it was not asked.
    """

    box: Box
    value: Floats
    without: Floats
    alone: Floats | None = None


@dataclass
class PartSearch(ABC):
    """The search in one cell of one row.

    Attributes:
        cell: The divided cell.
        absent: The answer without the cell, ``[K]``.
        left: Network passes that are left.
        answer: The answer with the whole cell, ``[K]``; known after the first round.
        leaves: The parts so far.
        passes: Network passes that were spent.
    """

    cell: DividedCell
    absent: Floats
    left: int
    answer: Floats = field(default_factory=lambda: np.zeros(0))
    leaves: list[Leaf] = field(default_factory=list)
    passes: int = 0

    method: ClassVar[str]

    @abstractmethod
    def requests(self) -> list[Atoms]:
        """Choose the atoms that are taken away in the next round.

        Returns:
            R masks, at most as many as passes are left; the first mask of the first round takes nothing away. None at
            the end.
        """

    @abstractmethod
    def tell(self, answers: Floats) -> None:
        """Take the answers of a round.

        Args:
            answers: float64 ``[R, K]``, the answer without the atoms of each request.
        """

    def parts(self, output: int) -> list[Part]:
        """Return the parts for one output.

        Args:
            output: Its number.

        Returns:
            The parts in the order of their place.
        """
        ordered = sorted(self.leaves, key=lambda leaf: leaf.box)
        return [self.cell.part(leaf.box, float(leaf.value[output])) for leaf in ordered]

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

    def _spend(self, masks: list[Atoms]) -> list[Atoms]:
        self.left, self.passes = self.left - len(masks), self.passes + len(masks)
        return masks

    def _most_valuable(self, most: int) -> list[Leaf]:
        """Return the parts that are halved next."""
        scale = np.abs([leaf.value for leaf in self.leaves]).max(axis=0)
        scale[scale == 0] = 1.0
        divisible = [leaf for leaf in self.leaves if self.cell.halves(leaf.box) is not None]
        divisible.sort(key=lambda leaf: -self._priority(leaf, scale))
        return divisible[: min(most, self.left // 2)]

    def _priority(self, leaf: Leaf, scale: Floats) -> float:
        return float((np.abs(leaf.value) / scale).max()) + SIZE_WEIGHT * self._share(leaf.box)

    def _share(self, box: Box) -> float:
        return size_of(box) / size_of(self.cell.whole)

    def _halve(self, leaves: list[Leaf]) -> list[tuple[Leaf, Box, Box]]:
        pairs = [(leaf, self.cell.halves(leaf.box)) for leaf in leaves]
        return [(leaf, *boxes) for leaf, boxes in pairs if boxes is not None]


@dataclass
class Occlusion(PartSearch):
    """A part's value is what the answer loses without it (Zeiler and Fergus 2014, arXiv 1311.2901, section 4.1).

    Differs from the source: the parts do not overlap, and those that matter most are halved until the passes are spent.
    """

    method: ClassVar[str] = "occlusion"
    halved: list[tuple[Leaf, Box, Box]] = field(default_factory=list)

    def requests(self) -> list[Atoms]:
        """Choose parts of one size first, later the halves of those that matter most.

        Returns:
            Masks.
        """
        if not self.passes:
            self._boxes = even_boxes(self.cell, max(1, int(EVEN_SHARE * (self.left - 1))))
            return self._spend([np.zeros(self.cell.shape, bool), *map(self.cell.mask, self._boxes)])
        self.halved = self._halve(self._most_valuable(HALVED_AT_ONCE))
        return self._spend([self.cell.mask(box) for _, *boxes in self.halved for box in boxes])

    def tell(self, answers: Floats) -> None:
        """Take the answers of a round.

        Args:
            answers: float64 ``[R, K]``.
        """
        if not self.leaves:
            self.answer = answers[0]
            self.leaves = self._leaves(self._boxes, answers[1:])
            return
        for (leaf, *boxes), place in zip(self.halved, range(0, len(answers), 2), strict=True):
            self.leaves.remove(leaf)
            self.leaves += self._leaves(boxes, answers[place : place + 2])

    def _leaves(self, boxes: list[Box], answers: Floats) -> list[Leaf]:
        return [Leaf(box, self.answer - without, without) for box, without in zip(boxes, answers, strict=True)]


@dataclass
class Owen(PartSearch):
    """Owen values over a binary hierarchy of parts (Owen 1977), as the partition explainer of ``shap`` computes them.

    Two halves a and b share the worth of their box by their Shapley values, once with all that is outside of the box
    present and once with none of it: a gets the mean of ``f(ab) - f(b)`` and ``f(a) - f(none)`` in both. Differs from
    the source: of the boxes outside, coalitions in between are not asked; what the worth of a box in these two games
    departs from its own value is added to both halves alike, so that the parts add up to the worth of the cell.
    """

    method: ClassVar[str] = "owen"
    halved: list[tuple[Leaf, Box, Box]] = field(default_factory=list)
    num_halvings: int = 0

    def requests(self) -> list[Atoms]:
        """Choose the halves of the parts that matter most; of the largest parts first.

        Returns:
            Masks, four for each part that is halved: without either half, and with nothing else than either.
        """
        if not self.passes:
            return self._spend([np.zeros(self.cell.shape, bool)])
        self.halved = self._halve(self._most_valuable(min(HALVED_AT_ONCE, self.left // 4)))
        self.num_halvings += len(self.halved)
        masks = [[self.cell.mask(box) for box in boxes] for _, *boxes in self.halved]
        return self._spend([mask for pair in masks for mask in (*pair, *(~mask for mask in pair))])

    def tell(self, answers: Floats) -> None:
        """Take the answers of a round.

        Args:
            answers: float64 ``[R, K]``.
        """
        if not self.leaves:
            self.answer = answers[0]
            self.leaves = [Leaf(self.cell.whole, self.answer - self.absent, self.absent, self.answer)]
            return
        for (leaf, *boxes), place in zip(self.halved, range(0, len(answers), 4), strict=True):
            without, alone = answers[place : place + 2], answers[place + 2 : place + 4]
            self.leaves.remove(leaf)
            self.leaves += map(Leaf, boxes, self._shares(leaf, without, alone), without, alone)

    def _shares(self, leaf: Leaf, without: Floats, alone: Floats) -> Floats:
        """Return the values of both halves, ``[2, K]``."""
        assert leaf.alone is not None
        inside = (without[::-1] - leaf.without) + (self.answer - without)
        outside = (alone - self.absent) + (leaf.alone - alone[::-1])
        shares: Floats = (inside + outside) / 4
        rest: Floats = (leaf.value - shares.sum(axis=0)) / 2
        return shares + rest

    def _priority(self, leaf: Leaf, scale: Floats) -> float:
        if self.num_halvings < FIRST_HALVINGS:
            return self._share(leaf.box)
        return super()._priority(leaf, scale)


def even_boxes(cell: DividedCell, most: int) -> list[Box]:
    """Cut a cell into parts of about one size.

    Args:
        cell: The divided cell.
        most: Parts at most.

    Returns:
        Boxes, in no order; single atoms where there are no more.
    """
    boxes = [cell.whole]
    while len(boxes) < most:
        largest = max(boxes, key=size_of)
        halves = cell.halves(largest)
        if halves is None:
            break
        boxes.remove(largest)
        boxes += halves
    return boxes


def size_of(box: Box) -> int:
    """Count the atoms of a box.

    Args:
        box: Its first and last atoms along each axis.

    Returns:
        Their number.
    """
    return int(np.prod([stop - start for start, stop in box]))
