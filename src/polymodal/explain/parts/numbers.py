"""Times × channels of a series, ranges of a vector, and columns of numbers, categories and dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.explain.explanation import PartKind
from polymodal.explain.parts.base import Atoms, Box, CellSource, DividedCell, IndivisibleCellError, edges, enlarge
from polymodal.modalities.base import is_absent
from polymodal.modalities.series import read_series, to_time_first
from polymodal.modalities.vector import read_vector

STEP_ATOMS = 32
"""Most stretches of a series."""
RANGE_ATOMS = 64
"""Most ranges of a vector."""
LISTED_COLUMNS = 3


@dataclass(frozen=True)
class TimeChannels(DividedCell):
    """A series and a grid over its steps and channels; an atom is taken away by the mean of training.

    Attributes:
        columns: The series' column.
        values: float64 ``[steps, channels]``.
        means: Mean of each channel in training.
        times: Edges of the stretches, in steps.
        is_channels_first: Whether the model expects ``[channels, steps]``.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    means: NDArray[np.float64]
    times: NDArray[np.int64]
    is_channels_first: bool

    kind: ClassVar[PartKind] = "time_channels"

    @classmethod
    def divide(cls, source: CellSource) -> TimeChannels:
        """Read a series.

        Args:
            source: A series.

        Returns:
            The series.
        """
        modality = source.modality
        read = read_series(source.cell, source.folder)
        values = to_time_first(read, modality.channels, modality.channels_first)
        times = edges(len(values), STEP_ATOMS)
        return cls((source.column,), values, np.array(modality.mean), times, modality.channels_first)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Stretches of time and channels."""
        return len(self.times) - 1, self.values.shape[1]

    def weights(self) -> tuple[float, ...]:
        """Return the length of an atom along each axis: channels are told apart before times."""
        return 1 / self.shape[0], 2.0

    def remove(self, removed: Atoms) -> dict[str, Cell]:
        """Replace atoms by the mean of training.

        Args:
            removed: bool ``[stretches, channels]``.

        Returns:
            Column to float64 ``[steps, channels]``, or the other way round where the model expects it so.
        """
        gone = enlarge(removed, self.times)
        changed = np.where(gone, self.means, self.values)
        return {self.columns[0]: changed.T if self.is_channels_first else changed}

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe some steps of one or several channels.

        Args:
            box: Its atoms.

        Returns:
            Steps from the first on, and the channel's number from 0, or the first and last of several.
        """
        steps = [int(self.times[place]) for place in box[0]]
        first, last = box[1][0], box[1][1] - 1
        channel = first if first == last else f"{first}-{last}"
        label = f"steps {steps[0]:,}-{steps[1]:,}, channel{'' if first == last else 's'} {channel}"
        return label, {"steps": steps, "channel": channel}


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
    def divide(cls, source: CellSource) -> Dimensions:
        """Read a vector.

        Args:
            source: A vector.

        Returns:
            The vector.
        """
        values = read_vector(source.cell, source.folder)
        return cls((source.column,), values, np.array(source.modality.mean), edges(len(values), RANGE_ATOMS))

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
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
    def divide(cls, source: CellSource) -> TableColumns:
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
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
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

    def describe(self, box: Box) -> tuple[str, dict[str, Any]]:
        """Describe one column or several neighbouring ones.

        Args:
            box: The columns.

        Returns:
            Its name; of several the first and the last one.
        """
        names = self.columns[box[0][0] : box[0][1]]
        label = ", ".join(names) if len(names) <= LISTED_COLUMNS else f"{names[0]} to {names[-1]} ({len(names)} columns)"
        return label, {"column": names[0] if len(names) == 1 else list(names)}
