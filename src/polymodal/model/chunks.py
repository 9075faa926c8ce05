"""Reading a table of any length in chunks of rows that fit into bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polymodal.data.input_check import InputCheck
from polymodal.data.tables.table import READERS, Table, iterate_table
from polymodal.data.tables.text_files import read_jsonl
from polymodal.model.batches import BATCH_ROWS
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress

CHUNK_ROWS = 4096
"""Most rows that are decoded at once."""
CHUNK_BYTES = 2**26
"""Approximate limit of the size of their arrays."""


def iterate_chunks(
    model: TrainedModel, source: Any, progress: Progress, phase_name: str, *, strict: bool = False
) -> Iterator[tuple[Table, InputCheck]]:
    """Read a table chunk by chunk, report progress, and tell once what the model lacks in it.

    The size of chunks depends on the model alone, so that predictions are the same bits however the table is read.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read lazily.
        progress: Reports progress.
        phase_name: Name of the phase.
        strict: Whether absent columns, broken cells and unseen categories raise.

    Yields:
        The next rows, and what transforms them to arrays; each chunk has to be transformed.

    Raises:
        SchemaError: If the table has no input column of the model.
    """
    total = source.num_rows if isinstance(source, Table) else None
    is_short = total is not None and total <= BATCH_ROWS
    check: InputCheck | None = None
    with progress.phase(phase_name, total) as phase:
        for rows in [source] if is_short else iterate_table(source, chunk_rows(model)):
            table = model.with_features(rows)
            check = check or InputCheck(model.preprocessor, table.name, strict=strict)
            check.see_columns(table.columns, more_may_come=_may_have_more_columns(source))
            yield table, check
            phase.advance(table.num_rows)
    if check is not None:
        check.finish()


def _may_have_more_columns(source: Any) -> bool:
    """Return whether later rows may have columns that earlier ones lack: each line of JSON names its own."""
    return isinstance(source, str | Path) and READERS.get(Path(source).suffix.lower()) is read_jsonl


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
