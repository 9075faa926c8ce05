"""A cell cut into parts: a grid of atoms, boxes of atoms, and the cell without some of them.

Shape legend: A atoms along each axis of the grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import Part, PartKind

Box = tuple[tuple[int, int], ...]
"""Atoms from the first to before the last, along each axis of the grid."""
Atoms = NDArray[np.bool_]
"""True for the atoms that are taken away: ``[A, ...]``."""
Floats = NDArray[np.float64]


class IndivisibleCellError(Exception):
    """A cell without parts that could be taken away; the message is the reason, as one clause."""


@dataclass(frozen=True)
class CellSource:
    """The cells of one stream in one row.

    Attributes:
        modality: The stream's fitted modality.
        cells: Column to cell.
        folder: Base folder of relative paths.
    """

    modality: Any
    cells: Mapping[str, Cell]
    folder: Path | None

    @property
    def column(self) -> str:
        """The stream's column, or the first of several."""
        return next(iter(self.cells))

    @property
    def cell(self) -> Cell:
        """The cell of that column."""
        return self.cells[self.column]


class DividedCell(ABC):
    """A cell (or the cells of a stream of several columns) as a grid of atoms, the smallest parts.

    Attributes:
        kind: What the parts are.
        columns: The columns whose cells change when atoms are taken away.
    """

    kind: ClassVar[PartKind]
    columns: tuple[str, ...]

    @classmethod
    @abstractmethod
    def divide(cls, source: CellSource) -> Self:
        """Cut a cell.

        Args:
            source: The cells of one stream in one row.

        Returns:
            The divided cell.

        Raises:
            IndivisibleCellError: If there is nothing to cut.
        """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Atoms along each axis."""

    @property
    def whole(self) -> Box:
        """The box of all atoms."""
        return tuple((0, size) for size in self.shape)

    @abstractmethod
    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe a box.

        Args:
            box: Some atoms.

        Returns:
            Label and place, as ``Part`` has them.
        """

    @abstractmethod
    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Take atoms away.

        Args:
            removed: bool, of the grid's shape; not all of them True.

        Returns:
            Column to changed cell.
        """

    @abstractmethod
    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:
        """Add up values of the cell's array, as encoders read it, by the atoms they come from.

        Args:
            values: float64, of the shape of the decoded cell; token by token of a text, field by field of columns.
            array: The decoded cell, of the same shape; of a text and of columns what stands there.
            modality: The stream's fitted modality.

        Returns:
            float64, of the grid's shape.
        """

    def without(self, removed: Atoms) -> dict[str, Cell]:
        """Take atoms away; a cell of which no atom is left is absent.

        Args:
            removed: bool, of the grid's shape; True for what is taken away.

        Returns:
            Column to changed cell, None where it is absent.
        """
        return dict.fromkeys(self.columns) if removed.all() else self.remove(removed)

    def part(self, box: Box, value: float) -> Part:
        """Make a part of a box.

        Args:
            box: Its atoms.
            value: What it did to the answer.

        Returns:
            The part.
        """
        label, place = self.describe(box)
        return Part(label, place, value)

    def halves(self, box: Box) -> tuple[Box, Box] | None:
        """Cut a box in two along its longest axis.

        Args:
            box: Some atoms.

        Returns:
            Two boxes; None of a single atom.
        """
        lengths = [(stop - start) * weight for (start, stop), weight in zip(box, self.weights(), strict=True)]
        divisible = [axis for axis, (start, stop) in enumerate(box) if stop - start > 1]
        if not divisible:
            return None
        axis = max(divisible, key=lambda place: lengths[place])
        start, stop = box[axis]
        middle = (start + stop) // 2
        return (
            (*box[:axis], (start, middle), *box[axis + 1 :]),
            (*box[:axis], (middle, stop), *box[axis + 1 :]),
        )

    def weights(self) -> tuple[float, ...]:
        """Return the length of an atom along each axis, to find the axis along which a box is longest."""
        return (1.0,) * len(self.shape)

    def mask(self, box: Box) -> Atoms:
        """Return the atoms of a box.

        Args:
            box: Some atoms.

        Returns:
            bool, of the grid's shape.
        """
        atoms = np.zeros(self.shape, bool)
        atoms[tuple(slice(start, stop) for start, stop in box)] = True
        return atoms


def edges(length: int, most: int) -> NDArray[np.int64]:
    """Cut a length into equal stretches.

    Args:
        length: At least 1.
        most: Stretches at most.

    Returns:
        int64, rising from 0 to the length; one more than there are stretches.
    """
    count = max(1, min(length, most))
    return np.arange(count + 1) * length // count


def enlarge(atoms: Atoms, *axes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Enlarge a grid of atoms to the values that they stand for.

    Args:
        atoms: bool ``[A, ...]``.
        *axes: Edges of the atoms along each axis.

    Returns:
        bool, as long along each axis as its last edge.
    """
    for axis, bounds in enumerate(axes):
        atoms = np.repeat(atoms, np.diff(bounds), axis=axis)
    return atoms


def spread(values: Floats, atoms: Sequence[NDArray[np.int64]], shape: tuple[int, ...]) -> Floats:
    """Add up a grid of values by the atoms along each axis.

    Args:
        values: float64, one axis for each axis of the atoms.
        atoms: int64, the atom of each place along an axis; beyond the first and last one the nearest is taken.
        shape: Atoms along each axis.

    Returns:
        float64 of that shape, the same sum.
    """
    for axis, (places, count) in enumerate(zip(atoms, shape, strict=True)):
        moved = np.moveaxis(values, axis, 0)
        summed = np.zeros((count, *moved.shape[1:]))
        np.add.at(summed, np.clip(places, 0, count - 1), moved)
        values = np.moveaxis(summed, 0, axis)
    return values


def atom_of(positions: NDArray[Any], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the atom of positions along an axis.

    Args:
        positions: In the unit of the edges.
        bounds: Edges, rising.

    Returns:
        int64, -1 before the first edge.
    """
    return np.asarray(np.searchsorted(bounds, positions, side="right") - 1, np.int64)


def percent(low: float, high: float) -> str:
    """Format a range of shares.

    Args:
        low: From 0.
        high: To 1.

    Returns:
        Such as "25-50 %".
    """
    return f"{100 * low:.0f}-{100 * high:.0f} %"
