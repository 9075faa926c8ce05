"""Vectors: fixed-length lists of numbers, standardised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.array_files import is_list_text, parse_json
from polymodal.modalities.base import CellReadError, Modality, Settings, fit_mean_std, standardise
from polymodal.modalities.decoding import decode_fixed, map_cells, sample_cells
from polymodal.modalities.media import NUMPY_MAGIC, as_array, load_npy, read_media

SAMPLE_SIZE = 20_000


class VectorSettings(Settings):
    """Options of vectors.

    Attributes:
        dim: Numbers per cell; None takes the training cells' most common count.
    """

    dim: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, kw_only=True)
class Vector(Modality):
    """Vectors of one length, each number standardised by itself and limited to -10..10.

    Attributes:
        dim: Numbers per cell.
        mean: Mean of each number over training cells.
        std: Standard deviation of each; 1 where it never changes.
    """

    dim: int
    mean: list[float]
    std: list[float]

    name: ClassVar[str] = "vector"
    summary: ClassVar[str] = "fixed-length lists of numbers, arrays or .npy files, standardised"
    paper: ClassVar[str] = "NumPy .npy format 1.0 and 2.0, read without pickle"
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    is_json: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = VectorSettings

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: VectorSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Vector:
        """Fit the length, means and standard deviations on at most 20,000 of the cells.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            The fitted modality; of length 1 where no cell can be read.
        """
        read = partial(read_vector, folder=folder)
        found = [values for _, values in sample_cells(cells, read, SAMPLE_SIZE, num_threads)]
        dim = settings.dim or _common_length(found)
        rows = np.array([values for values in found if len(values) == dim], np.float64).reshape(-1, dim)
        mean, std = fit_mean_std(rows)
        return cls(dim=dim, mean=[float(value) for value in mean], std=[float(value) for value in std])

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Standardise vectors.

        Args:
            cells: Lists, arrays, ``.npy`` paths or bytes, or JSON text ``[1, 2.5]``.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            float32 ``[rows, dim]``; and the broken cells: of another length, or with NaN or infinity.
        """
        work = map_cells(partial(self._read, folder=folder))
        return decode_fixed(cells, work, (self.dim,), np.float32, num_threads, chunk_size=256)

    def _read(self, cell: Cell, folder: Path | None) -> NDArray[np.float32]:
        values = read_vector(cell, folder)
        if len(values) != self.dim:
            raise CellReadError(f"holds {len(values)} numbers; expected {self.dim}, as in training")
        return standardise(values, np.array(self.mean), np.array(self.std))

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Vector:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def read_vector(cell: Cell, folder: Path | None) -> NDArray[np.float64]:
    """Read a cell's numbers; an array of several axes is read row by row.

    Args:
        cell: List, array, ``.npy`` path or bytes, or JSON text.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        float64 ``[numbers]``, finite, at least one.

    Raises:
        CellReadError: If there are no such numbers.
    """
    return read_numbers(cell, folder).reshape(-1)


def read_numbers(cell: Cell, folder: Path | None) -> NDArray[np.float64]:
    """Read a cell's numbers in their shape.

    Args:
        cell: List, array, ``.npy`` path or bytes, or JSON text.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        float64 of any shape, finite, at least one number.

    Raises:
        CellReadError: If there are no such numbers.
    """
    content = parse_json(cell) if isinstance(cell, str) and is_list_text(cell) else read_media(cell, folder)
    if isinstance(content, bytes):
        if not content.startswith(NUMPY_MAGIC):
            raise CellReadError("is not a .npy file; expected numbers saved with numpy.save")
        content = load_npy(content)
    values = as_array(content).astype(np.float64)
    if not values.size:
        raise CellReadError("holds no numbers")
    num_wrong = int((~np.isfinite(values)).sum())
    if num_wrong:
        raise CellReadError(f"holds {num_wrong:,} of {values.size:,} values that are NaN or infinite")
    return values


def _common_length(found: list[NDArray[np.float64]]) -> int:
    counts = Counter(len(values) for values in found)
    return max(counts, key=lambda length: (counts[length], length), default=1)
