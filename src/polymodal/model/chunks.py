"""A table of any length, as many rows at a time as a model reads in bounded memory."""

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
"""Rows that are decoded at once, at most."""
CHUNK_BYTES = 2**26
"""About how large their arrays may be."""


def iterate_chunks(model: TrainedModel, source: Any, progress: Progress, verb: str) -> Iterator[tuple[Table, int]]:
    """Read a table window by window, and tell how far it is.

    Where windows begin depends on the model alone, so a table gets the same bits however it is read.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read as far as its windows are asked for.
        progress: Told how far it is.
        verb: What is done with the rows, as a phase's name.

    Yields:
        The next rows, and how many came before them.
    """
    done, total = 0, source.num_rows if isinstance(source, Table) else None
    is_short = total is not None and total <= BATCH_ROWS
    with progress.phase(verb, total) as phase:
        for table in [source] if is_short else iterate_table(source, chunk_rows(model)):
            yield table, done
            done += table.num_rows
            phase.advance(table.num_rows)


def chunk_rows(model: TrainedModel) -> int:
    """Return how many rows a model decodes at once.

    Args:
        model: The trained model.

    Returns:
        256 to 4096, fewer where the arrays of a row are large.
    """
    absent = Table({name: [None] for name in model.preprocessor.column_names})
    columns, _ = model.preprocessor.transform(absent)
    row_bytes = sum(column.values.nbytes for column in columns.values())
    return max(BATCH_ROWS, min(CHUNK_ROWS, CHUNK_BYTES // max(row_bytes, 1)))


def in_whole_table(broken: Sequence[BrokenCell], done: int) -> list[BrokenCell]:
    """Name a window's broken cells by their rows in the whole table.

    Args:
        broken: By their rows in the window.
        done: Rows before the window.

    Returns:
        The same cells.
    """
    return [replace(cell, row=cell.row + done) for cell in broken]
