"""Ranges of a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Atoms, Box, CellSource, DividedCell, Floats, atom_of, edges, enlarge, spread
from polymodal.modalities.vector import read_vector

RANGE_ATOMS = 64
"""Most ranges of a vector."""


@dataclass(frozen=True)
class Dimensions(DividedCell):
    """A vector and ranges of it; a range is taken away by the mean of training.

    Attributes:
        columns: The vector's column.
        values: float64 ``[numbers]``.
        means: Mean of each in training.
        bounds: Edges of the atoms.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    means: NDArray[np.float64]
    bounds: NDArray[np.int64]

    kind: ClassVar[PartKind] = "dimensions"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Read a vector.

        Args:
            source: A vector.

        Returns:
            The vector.
        """
        values = read_vector(source.cell, source.folder)
        return cls((source.column,), values, np.array(source.modality.mean), edges(len(values), RANGE_ATOMS))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of ranges."""
        return (len(self.bounds) - 1,)

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Replace ranges by the mean of training.

        Args:
            removed: bool ``[ranges]``.

        Returns:
            Column to float64 ``[numbers]``.
        """
        return {self.columns[0]: np.where(enlarge(removed, self.bounds), self.means, self.values)}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of numbers by ranges.

        Args:
            values: float64 ``[numbers]``.
            array: Not needed.
            modality: Not needed.

        Returns:
            float64 ``[ranges]``.
        """
        return spread(values, [atom_of(np.arange(len(values)), self.bounds)], self.shape)

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe a range.

        Args:
            box: Its atoms.

        Returns:
            From its first number (from 0) to behind its last one.
        """
        start, end = (int(self.bounds[place]) for place in box[0])
        label = f"number {start}" if end - start == 1 else f"numbers {start}-{end - 1}"
        return label, {"range": [start, end]}
