"""The embedding of each stream of a row, before streams are fused: what unusual rows and drift are found in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.model.batches import collate, inference_batch_size
from polymodal.model.network import Network


@dataclass(frozen=True)
class StreamEmbeddings:
    """The embeddings of some rows.

    Attributes:
        values: Stream to float32 ``[rows, width]``, the mean of its tokens; zeros where it is absent.
        present: Stream to bool ``[rows]``, True where it is there.
    """

    values: dict[str, NDArray[np.float32]]
    present: dict[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.present.values()), ()))


def embed_streams(network: Network, columns: Mapping[str, Column]) -> StreamEmbeddings:
    """Embed every stream of decoded rows by the network's encoders.

    Args:
        network: The network.
        columns: Stream to arrays, frozen encoders' outputs included.

    Returns:
        One embedding for each stream and row.
    """
    network.eval()
    used = {stream: columns[stream] for stream in network.streams}
    step = inference_batch_size(used)
    num_rows = len(next(iter(used.values())))
    starts = range(0, max(num_rows, 1), step)
    batches = [_embed_batch(network, used, slice(start, start + step)) for start in starts]
    return join_embeddings(batches)


def join_embeddings(parts: list[StreamEmbeddings]) -> StreamEmbeddings:
    """Concatenate embeddings of one network.

    Args:
        parts: At least one.

    Returns:
        All rows.
    """
    streams = parts[0].values
    return StreamEmbeddings(
        {stream: np.concatenate([part.values[stream] for part in parts]) for stream in streams},
        {stream: np.concatenate([part.present[stream] for part in parts]) for stream in streams},
    )


def _embed_batch(network: Network, columns: Mapping[str, Column], rows: slice) -> StreamEmbeddings:
    device = network.log_variances.device
    batch = {stream: column.to(device) for stream, column in collate(columns, rows).items()}
    with torch.inference_mode():
        tokens = network.encode(batch)
        values = {stream: tokens[stream].pooled().float().cpu().numpy() for stream in network.streams}
        present = {stream: tokens[stream].row_present.cpu().numpy() for stream in network.streams}
    return StreamEmbeddings(values, present)
