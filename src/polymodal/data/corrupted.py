"""Decodes the cells of a stream with noise in them, chunk by chunk: a corrupted picture is an array in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column, concatenate_columns
from polymodal.corruptions import CorruptionContext, corrupt_cell, kinds_of
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import StreamSchema
from polymodal.data.tables.stored_columns import take_cells
from polymodal.data.tables.table import Table
from polymodal.modalities import Modality, Tabular

CHUNK_CELLS = 64
"""Corrupted cells that are in memory at once: pictures and sounds of their full size."""

DrawNoise = Callable[[str, int], tuple[str, int] | None]
"""From a column and a row of the table to the kind of noise in that cell and its severity; None leaves it clean."""


@dataclass(frozen=True)
class CorruptedStream:
    """A stream with noise in its cells.

    Attributes:
        column: The arrays.
        cells: Column to corrupted cells, of streams that hold no files: baselines read texts and numbers as they stand.
    """

    column: Column
    cells: Mapping[str, Sequence[Cell]]


def stream_kinds(preprocessor: Preprocessor, stream: StreamSchema) -> dict[str, tuple[str, ...]]:
    """Return the kinds of noise that the cells of a stream can have.

    Args:
        preprocessor: The fitted preprocessor.
        stream: One of its streams.

    Returns:
        Column to kinds; without the columns that have none.
    """
    found = {column: kinds_of(preprocessor.schema.modality_of(column)) for column in stream.columns}
    return {column: kinds for column, kinds in found.items() if kinds}


def corrupt_stream(
    preprocessor: Preprocessor,
    table: Table,
    rows: NDArray[np.int64],
    stream: StreamSchema,
    draw: DrawNoise,
    *,
    seed: int = 0,
    num_threads: int | None = None,
) -> CorruptedStream:
    """Put noise into the cells of a stream and decode them, on the same path as clean cells.

    Args:
        preprocessor: The fitted preprocessor.
        table: The table, with derived columns (``Schema.with_derived``).
        rows: int64, rows of the table to decode; their random numbers depend on their place in the table, and cells
            that are mixed into others are theirs.
        stream: The stream.
        draw: Says which noise a cell has.
        seed: Fixes the random numbers.
        num_threads: Number of decoding threads; None: all cores.

    Returns:
        Arrays and cells of the rows.
    """
    modality = preprocessor.modalities[stream.name]
    contexts = {name: _context(modality, table, name, rows) for name in stream.columns}
    columns: list[Column] = []
    cells: dict[str, list[Cell]] = {name: [] for name in stream.columns}
    for start in range(0, max(len(rows), 1), CHUNK_CELLS):
        chunk = rows[start : start + CHUNK_CELLS]
        noisy = {name: _corrupt(table, name, chunk, contexts[name], draw, seed) for name in stream.columns}
        given = noisy[stream.columns[0]] if modality.is_column else noisy
        columns.append(modality.transform(given, table.folder, num_threads=num_threads)[0])
        if not modality.is_file:
            for name, found in noisy.items():
                cells[name] += found
    return CorruptedStream(concatenate_columns(columns), {} if modality.is_file else cells)


def _context(modality: Modality, table: Table, column: str, rows: NDArray[np.int64]) -> CorruptionContext:
    """Return what is known of a column: other rows are those that are decoded, none that a split holds out."""
    fitted = modality.members[column] if isinstance(modality, Tabular) else modality
    others = take_cells(table.columns[column], rows) if column in table.columns else ()
    return CorruptionContext(table.folder, fitted, others)


def _corrupt(
    table: Table, column: str, rows: NDArray[np.int64], context: CorruptionContext, draw: DrawNoise, seed: int
) -> list[Cell]:
    if column not in table.columns:
        return [None] * len(rows)
    cells = zip(rows.tolist(), take_cells(table.columns[column], rows), strict=True)
    return [_with_noise(draw(column, row), cell, context, seed, column, row) for row, cell in cells]


def _with_noise(
    noise: tuple[str, int] | None, cell: Cell, context: CorruptionContext, seed: int, column: str, row: int
) -> Cell:
    if noise is None:
        return cell
    return corrupt_cell(noise[0], cell, noise[1], context=context, seed=seed, column=column, row=row)
