"""Embeddings: one vector a row, and one a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.arrays import BrokenCell, Cell
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.model.chunks import iterate_chunks
from polymodal.model.inference_network import Floats
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors of a table's rows, in its order.

    Attributes:
        rows: float32 ``[rows, D]``: the mean of a row's streams in the joint space, or, of a model with targets,
            the fused row. Zeros where every stream is absent.
        streams: Stream to float32 ``[rows, D]``, zeros where it is absent; empty for a model with targets.
        broken_cells: Cells that could not be decoded and counted as absent.
    """

    rows: Floats
    streams: dict[str, Floats]
    broken_cells: list[BrokenCell]

    def to_columns(self) -> dict[str, list[Cell]]:
        """Convert the vectors to columns of a table; an absent vector is an empty cell.

        Returns:
            ``embedding`` and ``embedding:STREAM`` to lists of numbers.
        """
        columns = {"embedding": self.rows} | {f"embedding:{name}": vectors for name, vectors in self.streams.items()}
        return {name: [row.tolist() if row.any() else None for row in vectors] for name, vectors in columns.items()}


def embed_table(
    model: TrainedModel, table: Table, cache: ArrayCache, progress: Progress, *, strict: bool = False
) -> Embeddings:
    """Embed every row of a table.

    Args:
        model: The trained model.
        table: Rows to embed; absent columns count as absent cells.
        cache: Cache of decoded arrays.
        progress: Reports progress.
        strict: Whether absent columns, broken cells and unseen categories raise.

    Returns:
        Unit vectors and broken cells.
    """
    chunks = list(embed_chunks(model, table, cache, progress, strict=strict))
    streams = {name: np.concatenate([chunk.streams[name] for chunk in chunks]) for name in chunks[0].streams}
    broken = [cell for chunk in chunks for cell in chunk.broken_cells]
    return Embeddings(np.concatenate([chunk.rows for chunk in chunks]), streams, broken)


def embed_chunks(
    model: TrainedModel, source: Any, cache: ArrayCache, progress: Progress, *, strict: bool = False
) -> Iterator[Embeddings]:
    """Embed a table chunk by chunk, in memory that does not grow with its rows.

    Args:
        model: The trained model.
        source: As for ``read_table``; a file is read lazily.
        cache: Cache of decoded arrays.
        progress: Reports progress.
        strict: Whether absent columns, broken cells and unseen categories raise.

    Yields:
        The vectors of the next rows; broken cells are named by their row in the whole table.
    """
    for table, check in iterate_chunks(model, source, progress, "embedding", strict=strict):
        columns, broken = check.transform(table, cache)
        rows, streams = model.network.embed(model.network.precompute(columns, cache, progress))
        yield Embeddings(rows, streams, broken)
