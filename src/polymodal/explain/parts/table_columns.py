"""Columns of a stream of numbers, categories and dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Atoms, Box, CellSource, DividedCell, Floats, IndivisibleCellError
from polymodal.modalities.base import is_absent

LISTED_COLUMNS = 3


@dataclass(frozen=True)
class TableColumns(DividedCell):
    """The columns of a stream that are there; a column is taken away by making it absent.

    Attributes:
        columns: Their names.
        cells: Their cells.
    """

    columns: tuple[str, ...]
    cells: tuple[Cell, ...]

    kind: ClassVar[PartKind] = "columns"

    @classmethod
    def divide(cls, source: CellSource) -> Self:
        """Find the columns that are there.

        Args:
            source: The cells of a row's numbers, categories and dates.

        Returns:
            The columns.

        Raises:
            IndivisibleCellError: If none is there.
        """
        present = {name: cell for name, cell in source.cells.items() if not is_absent(cell)}
        if not present:
            raise IndivisibleCellError("all its cells are absent")
        return cls(tuple(present), tuple(present.values()))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of columns."""
        return (len(self.columns),)

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Make columns absent.

        Args:
            removed: bool ``[columns]``.

        Returns:
            Column to its cell, or None.
        """
        pairs = zip(self.columns, self.cells, removed, strict=True)
        return {name: None if gone else cell for name, cell, gone in pairs}

    def pool(self, values: Floats, array: NDArray[Any], modality: Any) -> Floats:  # noqa: ARG002
        """Add up the values of fields by columns; a date and an encoded category have several.

        Args:
            values: float64 ``[fields]``, of all that the encoder reads.
            array: Not needed.
            modality: The fitted columns.

        Returns:
            float64 ``[columns]``, of those that are there.
        """
        columns = np.array([field.column for field in modality.encoder_fields])
        return np.array([values[columns == name].sum() for name in self.columns])

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe one column or several neighbouring ones.

        Args:
            box: The columns.

        Returns:
            Its name; of several the first and the last one.
        """
        names = self.columns[box[0][0] : box[0][1]]
        listed = ", ".join(names)
        label = listed if len(names) <= LISTED_COLUMNS else f"{names[0]} to {names[-1]} ({len(names)} columns)"
        return label, {"column": names[0] if len(names) == 1 else list(names)}
