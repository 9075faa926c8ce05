"""Corrupts the cells of a column: the same cells for the same seed, column, row and kind."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from polymodal.arrays import Cell
from polymodal.corruptions.base import NUM_SEVERITIES, CorruptionContext
from polymodal.corruptions.table import CORRUPTIONS
from polymodal.errors import parameter_error
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import is_absent_media, try_decode


def corrupt_cell(
    kind: str,
    cell: Cell,
    severity: int,
    *,
    context: CorruptionContext | None = None,
    seed: int = 0,
    column: str = "",
    row: int = 0,
) -> Cell:
    """Corrupt a cell.

    The random numbers depend on seed, kind, column and row, not on the severity, so that a higher one is more of the
    same.

    Args:
        kind: Name of the corruption.
        cell: Any cell of its modality.
        severity: 1 to 5.
        context: Folder, fitted modality and cells of other rows.
        seed: Fixes the random numbers.
        column: Name of the column.
        row: The table's row, from 0.

    Returns:
        The corrupted cell. Absent cells and such as cannot be read are returned as they are.

    Raises:
        ConfigError: If the severity is not 1 to 5.

    Example:
        >>> corrupt_cell("text_word_drops", "a red circle on a wall", 5)
        'on wall'
    """
    if severity not in range(1, NUM_SEVERITIES + 1):
        raise parameter_error("severity", "corrupt_cell", f"a whole number from 1 to {NUM_SEVERITIES}", severity)
    if is_absent_media(cell):
        return cell
    corruption = CORRUPTIONS[kind]
    random = np.random.default_rng([seed, zlib.crc32(kind.encode()), zlib.crc32(column.encode()), row])
    level, known = corruption.levels[severity - 1], context or CorruptionContext()
    corrupted = try_decode(lambda cell: corruption.function(cell, level, random, known), cell)
    return cell if isinstance(corrupted, CellReadError) else corrupted


def corrupt_cells(
    kind: str,
    cells: Sequence[Cell],
    severity: int,
    *,
    context: CorruptionContext | None = None,
    seed: int = 0,
    column: str = "",
    rows: Sequence[int] | None = None,
) -> list[Cell]:
    """Corrupt cells of a column.

    Args:
        kind: Name of the corruption.
        cells: The cells.
        severity: 1 to 5.
        context: As for ``corrupt_cell``; None: what is known are these cells.
        seed: Fixes the random numbers.
        column: Name of the column.
        rows: The table's row of each cell, from 0; None: they are the first ones.

    Returns:
        One cell for each; absent ones stay absent.

    Raises:
        ConfigError: If the severity is not 1 to 5.
    """
    known = context or CorruptionContext(others=cells)
    places = range(len(cells)) if rows is None else rows
    return [
        corrupt_cell(kind, cell, severity, context=known, seed=seed, column=column, row=int(row))
        for cell, row in zip(cells, places, strict=True)
    ]
