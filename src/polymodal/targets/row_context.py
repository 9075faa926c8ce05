"""The other columns of the rows of a target.

Shape legend: N rows of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.schema.schema import StreamSchema


@dataclass(frozen=True)
class RowContext:
    """The other columns of the rows of a target, for targets that need them (boxes: the size of the image).

    Attributes:
        cells: Column to the raw cells of the same rows.
        folder: Base folder of relative paths.
        columns: Stream to arrays, of the whole table.
        rows: int64, indices of the rows in those arrays; None for all.
        streams: The schema's streams, in their order; given when fitting.
        shapes: Stream to the shape of one decoded cell, where there are arrays.
    """

    cells: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    folder: Path | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    rows: NDArray[np.int64] | None = None
    streams: tuple[StreamSchema, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def row_present(self) -> dict[str, NDArray[np.bool_]]:
        """Return where each stream is present: stream to bool ``[N]``."""
        found = {stream: column.row_present for stream, column in self.columns.items()}
        return found if self.rows is None else {stream: present[self.rows] for stream, present in found.items()}
