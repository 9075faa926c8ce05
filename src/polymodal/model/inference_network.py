"""What prediction needs of a network, whether torch runs it or ONNX Runtime (no torch)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.model.batches import inference_batch_size, length_order
from polymodal.progress import Progress
from polymodal.targets.structured import StructuredPrediction

Floats = NDArray[np.float32]
StreamMask = frozenset[str]
"""Streams that are masked: treated as absent in every row."""
NO_MASK: StreamMask = frozenset()


@dataclass(frozen=True)
class NetworkPredictions:
    """What the network predicts for some rows under one stream mask.

    Attributes:
        fused: Flat target to head output ``[rows, output_dim]``.
        streams: Flat target to stream to ``[rows, output_dim]``.
        weights: The fusion's stream weights ``[rows, streams]``, where it has them.
        structured: Structured target to predictions, one a row.
    """

    fused: dict[str, Floats]
    streams: dict[str, dict[str, Floats]]
    weights: Floats | None
    structured: dict[str, list[StructuredPrediction]]


@dataclass(frozen=True)
class StreamEmbeddings:
    """The embedding of each stream of some rows, before streams are fused: what unusual rows and drift are found in.

    Attributes:
        values: Stream to float32 ``[rows, width]``, the mean of its tokens; zeros where it is absent.
        present: Stream to bool ``[rows]``, True where it is there.
    """

    values: dict[str, Floats]
    present: dict[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.present.values()), ()))


class InferenceNetwork(ABC):
    """A network that predicts and embeds rows, in batches; torch or ONNX Runtime runs a batch.

    Attributes:
        streams: Names of the streams, in their order.
        targets: Names of the flat targets.
        structured: Names of the structured targets.
        width: Width of the tokens.
    """

    streams: tuple[str, ...]
    targets: tuple[str, ...]
    structured: tuple[str, ...]
    width: int

    @property
    @abstractmethod
    def has_pretrained(self) -> bool:
        """Whether an encoder came from a pretrained checkpoint, so that a row takes long."""

    def precompute(
        self,
        columns: Mapping[str, Column],
        cache: ArrayCache,  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> dict[str, Column]:
        """Precompute what is the same for every pass over the rows: nothing, unless a network says otherwise.

        Args:
            columns: Stream to arrays; of all streams or of some.
            cache: Cache of the outputs.
            progress: Reports every batch.

        Returns:
            Stream to arrays, with ``outputs`` where there are some.
        """
        return dict(columns)

    def run(self, columns: Mapping[str, Column], masks: Sequence[StreamMask]) -> list[NetworkPredictions]:
        """Predict batches of rows of similar length; each batch is encoded once and fused once a mask.

        Args:
            columns: Stream to arrays.
            masks: Sets of streams to mask in the fusion.

        Returns:
            One ``NetworkPredictions`` a mask, in the order of the rows.
        """
        used = {stream: columns[stream] for stream in self.streams}
        num_rows, step = len(next(iter(columns.values()))), self._batch_rows(used)
        if num_rows <= step:
            return self._run_batch(used, np.arange(num_rows), masks)
        order = length_order(used)
        starts = range(0, num_rows, step)
        batches = [self._run_batch(used, order[start : start + step], masks) for start in starts]
        inverse = np.argsort(order)
        return [concatenate_predictions([batch[index] for batch in batches], inverse) for index in range(len(masks))]

    def embed(self, columns: Mapping[str, Column]) -> tuple[Floats, dict[str, Floats]]:
        """Embed rows.

        Args:
            columns: Stream to arrays.

        Returns:
            Unit vectors of rows ``[rows, D]`` and, of a model without targets, of each stream.
        """
        batches = [self._embed_batch(columns, rows) for rows in self._slices(columns)]
        streams = {name: np.concatenate([vectors[name] for _, vectors in batches]) for name in batches[0][1]}
        return np.concatenate([rows for rows, _ in batches]), streams

    def embed_streams(self, columns: Mapping[str, Column]) -> StreamEmbeddings:
        """Embed every stream by its encoder.

        Args:
            columns: Stream to arrays.

        Returns:
            One embedding for each stream and row.
        """
        return join_embeddings([self._embed_streams(columns, rows) for rows in self._slices(columns)])

    @abstractmethod
    def try_row(self, columns: Mapping[str, Column]) -> None:
        """Pass one row through all layers, to find parts that do not fit.

        Args:
            columns: Stream to arrays of one row.

        Raises:
            Exception: Whatever a part raises that does not fit.
        """

    def _batch_rows(self, columns: Mapping[str, Column]) -> int:
        """Choose the number of rows that are predicted at once."""
        return inference_batch_size(columns)

    def _slices(self, columns: Mapping[str, Column]) -> list[slice]:
        """Return the rows of each batch, at least one batch."""
        used = {stream: columns[stream] for stream in self.streams}
        num_rows, step = len(next(iter(used.values()))), inference_batch_size(used)
        return [slice(start, start + step) for start in range(0, max(num_rows, 1), step)]

    @abstractmethod
    def _run_batch(
        self, columns: Mapping[str, Column], rows: NDArray[np.int64], masks: Sequence[StreamMask]
    ) -> list[NetworkPredictions]:
        """Predict the rows of one batch, one ``NetworkPredictions`` a mask."""

    @abstractmethod
    def _embed_batch(self, columns: Mapping[str, Column], rows: slice) -> tuple[Floats, dict[str, Floats]]:
        """Embed the rows of one batch, and their streams where there is a joint space."""

    @abstractmethod
    def _embed_streams(self, columns: Mapping[str, Column], rows: slice) -> StreamEmbeddings:
        """Embed each stream of the rows of one batch."""


def join_embeddings(parts: Sequence[StreamEmbeddings]) -> StreamEmbeddings:
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


def concatenate_predictions(
    batches: Sequence[NetworkPredictions], order: NDArray[np.int64] | slice = slice(None)
) -> NetworkPredictions:
    """Concatenate the predictions of batches and put the rows into their order.

    Args:
        batches: At least one.
        order: For each row its place among the concatenated ones.

    Returns:
        All rows.
    """
    first = batches[0]
    weights = [batch.weights for batch in batches if batch.weights is not None]
    structured = {name: [row for batch in batches for row in batch.structured[name]] for name in first.structured}
    return NetworkPredictions(
        fused={name: np.concatenate([batch.fused[name] for batch in batches])[order] for name in first.fused},
        streams={
            name: {s: np.concatenate([batch.streams[name][s] for batch in batches])[order] for s in outputs}
            for name, outputs in first.streams.items()
        },
        weights=np.concatenate(weights)[order] if weights else None,
        structured={name: _in_order(rows, order) for name, rows in structured.items()},
    )


def _in_order(rows: list[StructuredPrediction], order: NDArray[np.int64] | slice) -> list[StructuredPrediction]:
    return rows[order] if isinstance(order, slice) else [rows[index] for index in order]


def normalise_rows(vectors: Floats) -> Floats:
    """Scale vectors to unit length.

    Args:
        vectors: float32 ``[rows, D]``.

    Returns:
        The same directions; zeros stay zeros.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
