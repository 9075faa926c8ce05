"""Inference of a network in torch: batches of rows of similar length, without gradients."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache, content_key
from polymodal.encoders import Pretrained
from polymodal.model.collate import collate
from polymodal.model.inference_network import (
    NO_MASK,
    Floats,
    InferenceNetwork,
    NetworkPredictions,
    StreamEmbeddings,
    StreamMask,
    normalise_rows,
)
from polymodal.progress import Progress
from polymodal.targets.embedding_head import EmbeddingHead
from polymodal.targets.structured import StructuredPrediction
from polymodal.tokens import ColumnBatch, Fused, Tokens


class NetworkInference(nn.Module, InferenceNetwork):
    """The part of ``Network`` that predicts and embeds rows: an ``InferenceNetwork``.

    Attributes:
        structured_heads: The heads of the structured targets.
    """

    structured_heads: nn.ModuleList

    @property
    @abstractmethod
    def encoders(self) -> list[nn.Module]:
        """The encoder of each stream."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are."""

    @abstractmethod
    def encode(self, batch: Mapping[str, ColumnBatch]) -> dict[str, Tokens]:
        """Encode every stream's present rows."""

    @abstractmethod
    def fuse(self, tokens: Mapping[str, Tokens], hidden: Tensor | None = None) -> Fused | None:
        """Fuse the streams."""

    @abstractmethod
    def stream_outputs(self, tokens: Mapping[str, Tokens]) -> dict[str, dict[str, Tensor]]:
        """Run each stream's own heads."""

    @abstractmethod
    def fused_outputs(
        self,
        tokens: Mapping[str, Tokens],
        streams: Mapping[str, Mapping[str, Tensor]],
        fused: Fused | None,
        hidden: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predict every flat target."""

    @abstractmethod
    def predict_structured(self, fused: Fused) -> dict[str, list[StructuredPrediction]]:
        """Predict the structured targets."""

    @property
    def has_pretrained(self) -> bool:
        """Whether an encoder came from a pretrained checkpoint, so that a row takes long."""
        return any(isinstance(encoder, Pretrained) for encoder in self.encoders)

    def precompute(self, columns: Mapping[str, Column], cache: ArrayCache, progress: Progress) -> dict[str, Column]:
        """Precompute the outputs of frozen pretrained encoders.

        Args:
            columns: Stream to arrays; of all streams or of some.
            cache: Cache of the outputs.
            progress: Reports every batch.

        Returns:
            Stream to arrays, with ``outputs`` for frozen encoders.
        """
        result = dict(columns)
        for stream, encoder in zip(self.streams, self.encoders, strict=True):
            if stream in columns and isinstance(encoder, Pretrained) and encoder.is_frozen:
                outputs = _outputs(encoder, columns[stream], cache, progress)
                result[stream] = dataclasses.replace(columns[stream], outputs=outputs)
        return result

    def try_row(self, columns: Mapping[str, Column]) -> None:
        """Pass one row through all layers, to find parts that do not fit.

        Args:
            columns: Stream to arrays of one row.
        """
        with torch.inference_mode():
            self(collate(columns, np.arange(1)))

    def _collate(self, columns: Mapping[str, Column], rows: NDArray[np.int64] | slice) -> dict[str, ColumnBatch]:
        used = {stream: columns[stream] for stream in self.streams}
        return {stream: column.to(self.device) for stream, column in collate(used, rows).items()}

    def _encode(self, batch: Mapping[str, ColumnBatch]) -> dict[str, Tokens]:
        """Encode in evaluation mode."""
        if self.training:
            self.eval()
        return self.encode(batch)

    def _run_batch(
        self, columns: Mapping[str, Column], rows: NDArray[np.int64], masks: Sequence[StreamMask]
    ) -> list[NetworkPredictions]:
        with torch.inference_mode():
            tokens = self._encode(self._collate(columns, rows))
            streams = self.stream_outputs(tokens)
            return [self._run_mask(tokens, streams, mask, len(rows)) for mask in masks]

    def _run_mask(
        self, tokens: Mapping[str, Tokens], streams: Mapping[str, Mapping[str, Tensor]], mask: StreamMask, num_rows: int
    ) -> NetworkPredictions:
        hidden = self._hidden(mask, num_rows)
        fused = self.fuse(tokens, hidden)
        outputs = self.fused_outputs(tokens, streams, fused, hidden)
        return NetworkPredictions(
            fused={name: _array(output) for name, output in outputs.items()},
            streams={name: {s: _array(output) for s, output in found.items()} for name, found in streams.items()},
            weights=None if fused is None or fused.weights is None else _array(fused.weights),
            structured={} if fused is None else self.predict_structured(fused),
        )

    def _hidden(self, mask: StreamMask, num_rows: int) -> Tensor | None:
        if mask == NO_MASK:
            return None
        return torch.tensor([stream in mask for stream in self.streams], device=self.device).expand(num_rows, -1)

    def _embed_batch(self, columns: Mapping[str, Column], rows: slice) -> tuple[Floats, dict[str, Floats]]:
        batch = self._collate(columns, rows)
        with torch.inference_mode():
            tokens = self._encode(batch)
            fused = self.fuse(tokens)
            if fused is None:
                pooled = torch.cat([tokens[stream].pooled() for stream in self.streams], dim=1)
                return normalise_rows(_array(pooled)), {}
            head = next((head for head in self.structured_heads if isinstance(head, EmbeddingHead)), None)
            if head is not None:
                return _joint_embeddings(head, fused)
            present = torch.stack([column.row_present for column in batch.values()], dim=1).any(dim=1, keepdim=True)
            return normalise_rows(_array(torch.where(present, fused.pooled, 0.0))), {}

    def _embed_streams(self, columns: Mapping[str, Column], rows: slice) -> StreamEmbeddings:
        batch = self._collate(columns, rows)
        with torch.inference_mode():
            tokens = self._encode(batch)
            values = {stream: _array(tokens[stream].pooled()) for stream in self.streams}
            present = {stream: tokens[stream].row_present.cpu().numpy() for stream in self.streams}
        return StreamEmbeddings(values, present)


def _outputs(encoder: Pretrained, column: Column, cache: ArrayCache, progress: Progress) -> Column:
    if cache.folder is None:
        return encoder.precompute(column, progress)
    key = content_key("outputs", (encoder.fingerprint(), column.values, column.present, column.lengths))
    outputs, _ = cache.column(key, lambda entry: (encoder.precompute(column, progress, entry), []))
    return outputs


def _joint_embeddings(head: EmbeddingHead, fused: Fused) -> tuple[Floats, dict[str, Floats]]:
    vectors, present = head.project(fused.streams)
    kept = _array(torch.where(present.unsqueeze(2), vectors, 0.0))
    return normalise_rows(kept.sum(axis=1)), {name: kept[:, index] for index, name in enumerate(head.streams)}


def _array(values: Tensor) -> Floats:
    return np.asarray(values.float().cpu().numpy())
