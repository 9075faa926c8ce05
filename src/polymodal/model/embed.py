"""Embeddings: one vector a row, and one a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.model.batches import collate, inference_batch_size
from polymodal.model.chunks import iterate_chunks
from polymodal.model.network import Network
from polymodal.model.trained_model import TrainedModel, precompute
from polymodal.progress import Progress
from polymodal.targets.embedding_head import EmbeddingHead
from polymodal.tokens import Fused

Floats = NDArray[np.float32]


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
        rows, streams = embed_columns(model.network, precompute(model.network, columns, cache, progress))
        yield Embeddings(rows, streams, broken)


def embed_columns(network: Network, columns: Mapping[str, Column]) -> tuple[Floats, dict[str, Floats]]:
    """Embed decoded rows.

    Args:
        network: The network.
        columns: Stream to arrays.

    Returns:
        Row vectors and stream vectors.
    """
    network.eval()
    used = {stream: columns[stream] for stream in network.streams}
    num_rows = len(next(iter(used.values())))
    step = inference_batch_size(used)
    starts = range(0, max(num_rows, 1), step)
    batches = [_embed_batch(network, used, slice(start, start + step)) for start in starts]
    streams = {name: np.concatenate([vectors[name] for _, vectors in batches]) for name in batches[0][1]}
    return np.concatenate([rows for rows, _ in batches]), streams


def _embed_batch(network: Network, columns: Mapping[str, Column], rows: slice) -> tuple[Floats, dict[str, Floats]]:
    device = network.log_variances.device
    batch = {stream: column.to(device) for stream, column in collate(columns, rows).items()}
    with torch.inference_mode():
        tokens = network.encode(batch)
        fused = network.fuse(tokens)
        if fused is None:
            pooled = torch.cat([tokens[stream].pooled() for stream in network.streams], dim=1)
            return _normalized(pooled.float().cpu().numpy()), {}
        head = next((head for head in network.structured_heads if isinstance(head, EmbeddingHead)), None)
        if head is None:
            present = torch.stack([column.row_present for column in batch.values()], dim=1).any(dim=1, keepdim=True)
            return _normalized(torch.where(present, fused.pooled, 0.0).float().cpu().numpy()), {}
        return _joint_embeddings(head, fused)


def _joint_embeddings(head: EmbeddingHead, fused: Fused) -> tuple[Floats, dict[str, Floats]]:
    vectors, present = head.project(fused.streams)
    kept = torch.where(present.unsqueeze(2), vectors, 0.0).float().cpu().numpy()
    return _normalized(kept.sum(axis=1)), {name: kept[:, index] for index, name in enumerate(head.streams)}


def _normalized(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
