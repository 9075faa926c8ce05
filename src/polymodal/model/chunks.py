"""Reading a table of any length in chunks of rows that fit into bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from polymodal.arrays import BrokenCell
from polymodal.data.tables.table import Table, iterate_table
from polymodal.model.batches import BATCH_ROWS
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

CHUNK_ROWS = 4096
"""Most rows that are decoded at once."""
CHUNK_BYTES = 2**26
"""Approximate limit of the size of their arrays."""


def iterate_chunks(
    model: TrainedModel, source: Any, progress: Progress, phase_name: str
) -> Iterator[tuple[Table, int]]:
    """Read a table chunk by chunk, and report progress.

    The size of chunks depends on the model alone, so that predictions are the same bits however the table is read.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read lazily.
        progress: Reports progress.
        phase_name: Name of the phase.

    Yields:
        The next rows, and the index of the first of them, from 0.
    """
    first_row, total = 0, source.num_rows if isinstance(source, Table) else None
    is_short = total is not None and total <= BATCH_ROWS
    with progress.phase(phase_name, total) as phase:
        for table in [source] if is_short else iterate_table(source, chunk_rows(model)):
            yield table, first_row
            first_row += table.num_rows
            phase.advance(table.num_rows)


def chunk_rows(model: TrainedModel) -> int:
    """Choose the number of rows of a chunk.

    Args:
        model: The trained model.

    Returns:
        256 to 4096, fewer where the arrays of a row are large.
    """
    absent = Table({name: [None] for name in model.preprocessor.column_names})
    columns, _ = model.preprocessor.transform(absent)
    row_bytes = sum(column.values.nbytes for column in columns.values())
    return max(BATCH_ROWS, min(CHUNK_ROWS, CHUNK_BYTES // max(row_bytes, 1)))


def with_table_rows(broken: Sequence[BrokenCell], first_row: int) -> list[BrokenCell]:
    """Convert row numbers of broken cells from a chunk to the whole table.

    Args:
        broken: Broken cells, by their rows in the chunk.
        first_row: Rows before the chunk.

    Returns:
        The same cells, by their rows in the table.
    """
    return [replace(cell, row=cell.row + first_row) for cell in broken]
