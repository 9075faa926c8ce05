"""A network in ONNX Runtime: one graph for each encoder, and one for the fusion and all heads (no torch).

Shape legend: B rows of the batch, T tokens, P locations or steps of the detail, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.bundle.graph_info import BundleInfo
from polymodal.bundle.session import Arrays
from polymodal.model.batches import BATCH_ROWS
from polymodal.model.inference_network import (
    Floats,
    InferenceNetwork,
    NetworkPredictions,
    StreamEmbeddings,
    StreamMask,
    normalise_rows,
)
from polymodal.targets import AnyTarget
from polymodal.targets.structured import StructuredPrediction, StructuredTarget

RAGGED_ROWS = 16
"""Most rows of a batch of texts, sounds and the like: in small batches of similar length there is little padding."""
VALUES_AT_ONCE = 8_000_000
"""Approximate maximum number of values of cells that are encoded at once, as in torch."""


@dataclass(frozen=True)
class StreamTokens:
    """The tokens of a stream.

    Attributes:
        values: float32 ``[B, T, W]``.
        present: bool ``[B, T]``.
        detail: float32 ``[B, P, W]``, where the encoder gives locations or steps.
        detail_present: bool ``[B, P]``.
    """

    values: Floats
    present: NDArray[np.bool_]
    detail: Floats | None = None
    detail_present: NDArray[np.bool_] | None = None

    def inputs(self, number: int, is_hidden: bool) -> dict[str, NDArray[Any]]:
        """Return the inputs of the fusion's graph.

        Args:
            number: Number of the stream.
            is_hidden: Whether it is masked in all rows.

        Returns:
            Input name to array.
        """
        shown = not is_hidden
        arrays = {f"tokens:{number}": self.values, f"present:{number}": self.present & shown}
        if self.detail is not None and self.detail_present is not None:
            arrays[f"detail:{number}"] = self.detail if shown else np.zeros_like(self.detail)
            arrays[f"detail_present:{number}"] = self.detail_present & shown
        return arrays


class RunnableGraph(Protocol):
    """A graph of a bundle, whatever runs it."""

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Run the graph.

        Args:
            arrays: Input name to array; may hold more than the graph reads.

        Returns:
            Output name to array.
        """


class GraphNetwork(InferenceNetwork):
    """An exported network: an ``InferenceNetwork`` that needs no torch.

    Attributes:
        streams: Names of the streams.
        targets: Names of the flat targets.
        structured: Names of the structured targets.
        width: Width of the tokens.
        info: What ``bundle.json`` says.
    """

    def __init__(
        self,
        info: BundleInfo,
        encoders: Sequence[RunnableGraph],
        fusion: RunnableGraph,
        targets: Mapping[str, AnyTarget],
        steps: Mapping[str, RunnableGraph] | None = None,
    ) -> None:
        """Join the graphs.

        Args:
            info: What ``bundle.json`` says.
            encoders: The encoders' graphs by their numbers.
            fusion: The graph of the fusion and the heads.
            targets: Name to fitted target.
            steps: Structured target to the graph of its step, of those that are read step by step.
        """
        self.info = info
        self.streams, self.width = info.fusion.streams, info.fusion.width
        self._structured = {name: target for name, target in targets.items() if isinstance(target, StructuredTarget)}
        self.targets = tuple(name for name in targets if name not in self._structured)
        self.structured = tuple(self._structured)
        self._encoders, self._fusion, self._steps = encoders, fusion, steps or {}

    @property
    def has_pretrained(self) -> bool:
        """Whether an encoder came from a pretrained checkpoint, so that a row takes long."""
        return bool(self.info.pretrained)

    def try_row(self, columns: Mapping[str, Column]) -> None:
        """Pass one row through all graphs, to find parts that do not fit.

        Args:
            columns: Stream to arrays of one row.
        """
        self._run_batch({stream: columns[stream] for stream in self.streams}, np.arange(1), [frozenset()])

    def encode(self, columns: Mapping[str, Column], rows: NDArray[np.int64] | slice) -> dict[str, StreamTokens]:
        """Encode every stream's present rows; a stream that is absent in all of them costs nothing.

        Args:
            columns: Stream to arrays.
            rows: Rows to encode.

        Returns:
            Stream to tokens.
        """
        return {stream: self._encode(stream, columns[stream].take(rows)) for stream in self.streams}

    def _encode(self, stream: str, column: Column) -> StreamTokens:
        number = self.info.encoders[stream]
        rows = np.flatnonzero(column.row_present)
        if not len(rows):
            return self._absent(stream, len(column))
        given = column if len(rows) == len(column) else column.take(rows)
        found = _run_in_parts(self._encoders[number], _encoder_inputs(given))
        values, present = (
            _scatter(found["tokens"], rows, len(column)),
            _scatter(found["token_present"], rows, len(column)),
        )
        if stream not in self.info.fusion.details:
            return StreamTokens(values, present)
        detail = _scatter(found["detail"], rows, len(column))
        return StreamTokens(values, present, detail, _scatter(found["detail_present"], rows, len(column)))

    def _absent(self, stream: str, num_rows: int) -> StreamTokens:
        """Return one absent token a row, and where the fusion takes a detail, an absent one."""
        values, present = np.zeros((num_rows, 1, self.width), np.float32), np.zeros((num_rows, 1), np.bool_)
        if stream not in self.info.fusion.details:
            return StreamTokens(values, present)
        locations = self.info.fusion.details[stream]
        size = 1 if locations is None else locations[0] * locations[1]
        detail = np.zeros((num_rows, size, self.width), np.float32)
        return StreamTokens(values, present, detail, np.zeros((num_rows, size), np.bool_))

    def _batch_rows(self, columns: Mapping[str, Column]) -> int:
        is_ragged = any(column.lengths is not None for column in columns.values())
        return min(super()._batch_rows(columns), RAGGED_ROWS if is_ragged else BATCH_ROWS)

    def _run_batch(
        self, columns: Mapping[str, Column], rows: NDArray[np.int64], masks: Sequence[StreamMask]
    ) -> list[NetworkPredictions]:
        tokens = self.encode(columns, rows)
        return [self._predictions(self._fuse(tokens, mask)) for mask in masks]

    def _fuse(self, tokens: Mapping[str, StreamTokens], mask: StreamMask = frozenset()) -> dict[str, NDArray[Any]]:
        inputs: dict[str, NDArray[Any]] = {}
        for number, stream in enumerate(self.streams):
            inputs |= tokens[stream].inputs(number, stream in mask)
        return self._fusion.run(inputs)

    def _predictions(self, outputs: Mapping[str, NDArray[Any]]) -> NetworkPredictions:
        numbers = {stream: number for number, stream in enumerate(self.streams)}
        return NetworkPredictions(
            fused={name: outputs[f"fused:{name}"] for name in self.targets if f"fused:{name}" in outputs},
            streams={name: {s: outputs[f"stream:{name}:{i}"] for s, i in numbers.items()} for name in self.targets},
            weights=outputs.get("weights"),
            structured={name: self._read(name, target, outputs) for name, target in self._structured.items()},
        )

    def _read(
        self, name: str, target: StructuredTarget, outputs: Mapping[str, NDArray[Any]]
    ) -> list[StructuredPrediction]:
        step = self._steps.get(name)
        return target.read_outputs(_under(outputs, f"{name}:"), None if step is None else step.run)

    def _embed_batch(self, columns: Mapping[str, Column], rows: slice) -> tuple[Floats, dict[str, Floats]]:
        tokens = self.encode(columns, rows)
        outputs = self._fuse(tokens)
        joint = next((name for name, target in self._structured.items() if target.kind == "embedding"), None)
        if joint is not None:
            return _joint_embeddings(self.streams, outputs[f"{joint}:vectors"], outputs[f"{joint}:present"])
        if "pooled" not in outputs:
            pooled = [outputs[f"stream_pooled:{number}"] for number in range(len(self.streams))]
            return normalise_rows(np.concatenate(pooled, axis=1)), {}
        present = np.any([found.present.any(axis=1) for found in tokens.values()], axis=0)
        return normalise_rows(np.where(present[:, None], outputs["pooled"], np.float32(0))), {}

    def _embed_streams(self, columns: Mapping[str, Column], rows: slice) -> StreamEmbeddings:
        tokens = self.encode(columns, rows)
        values = {stream: _mean(found) for stream, found in tokens.items()}
        return StreamEmbeddings(values, {s: np.asarray(found.present.any(axis=1)) for s, found in tokens.items()})


def _encoder_inputs(column: Column) -> dict[str, NDArray[Any]]:
    """Return the inputs of an encoder's graph, ragged rows cut to the longest."""
    values, present, lengths = column.values, column.present, column.lengths
    if lengths is None:
        return {"values": values, "present": present}
    return {"values": values[:, : max(int(lengths.max(initial=1)), 1)], "present": present, "lengths": lengths}


def _run_in_parts(graph: RunnableGraph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run an encoder's graph on a few rows at a time, to bound the memory of feature maps."""
    num_rows, at_once = len(inputs["values"]), max(1, VALUES_AT_ONCE // max(inputs["values"][0].size, 1))
    if num_rows <= at_once:
        return graph.run(inputs)
    starts = range(0, num_rows, at_once)
    parts = [graph.run({name: array[start : start + at_once] for name, array in inputs.items()}) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _scatter(values: NDArray[Any], rows: NDArray[np.int64], num_rows: int) -> NDArray[Any]:
    """Scatter what was computed of some rows among all rows; the others are zeros."""
    if len(rows) == num_rows:
        return values
    scattered = np.zeros((num_rows, *values.shape[1:]), values.dtype)
    scattered[rows] = values
    return scattered


def _mean(tokens: StreamTokens) -> Floats:
    total = np.where(tokens.present[..., None], tokens.values, np.float32(0)).sum(axis=1)
    return np.asarray(total / np.maximum(tokens.present.sum(axis=1, keepdims=True), 1), np.float32)


def _joint_embeddings(
    streams: Sequence[str], vectors: Floats, present: NDArray[np.bool_]
) -> tuple[Floats, dict[str, Floats]]:
    kept = np.where(present[..., None], vectors, np.float32(0))
    return normalise_rows(kept.sum(axis=1)), {name: kept[:, index] for index, name in enumerate(streams)}


def _under(outputs: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in outputs.items() if name.startswith(prefix)}
