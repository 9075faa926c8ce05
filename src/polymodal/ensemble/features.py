"""Features of all streams, concatenated, for the baselines (numpy; fitted on training rows only).

Shape legend: N rows, D dense features, S sparse features, K features for trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column, arrays_under, put_under
from polymodal.data.schema.schema import Schema
from polymodal.ensemble.number_features import NumberScaling
from polymodal.ensemble.sparse_rows import SparseRows
from polymodal.ensemble.stream_features import FEATURES, FORMS, Floats, Scaling, StreamFeatures, StreamPart
from polymodal.ensemble.text_features import TextGrams

STATE_FIELDS = ("stream", "modality", "column", "cardinalities", "side", "channels", "segment_steps")


@dataclass(frozen=True)
class FeatureBlocks:
    """Features of some rows.

    Attributes:
        dense: float32 ``[N, D]`` for linear models, finite.
        sparse: ``[N, S]`` for linear models; None without texts.
        trees: float32 ``[N, K]`` for trees, NaN where absent.

    A form that was not requested has no features.
    """

    dense: Floats
    sparse: SparseRows | None
    trees: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.dense)

    def take(self, rows: NDArray[Any]) -> FeatureBlocks:
        """Return some rows.

        Args:
            rows: Indices, or a bool mask.

        Returns:
            The features of those rows.
        """
        sparse = None if self.sparse is None else self.sparse.take(rows)
        return FeatureBlocks(self.dense[rows], sparse, self.trees[rows])

    @staticmethod
    def concatenate(parts: Sequence[FeatureBlocks]) -> FeatureBlocks:
        """Concatenate rows.

        Args:
            parts: At least one, from the same extractor.

        Returns:
            The features of all rows.
        """
        if len(parts) == 1:
            return parts[0]
        blocks = [part.sparse for part in parts if part.sparse is not None]
        sparse = SparseRows.concatenate(blocks) if blocks else None
        dense, trees = (np.concatenate([getattr(part, name) for part in parts]) for name in ("dense", "trees"))
        return FeatureBlocks(dense, sparse, trees)


@dataclass(frozen=True)
class FeatureExtractor:
    """Fitted features of all streams.

    Attributes:
        streams: One entry a stream, in the schema's order.
    """

    streams: list[StreamFeatures]

    @classmethod
    def unfitted(cls, schema: Schema, modalities: Mapping[str, Any], columns: Mapping[str, Column]) -> FeatureExtractor:
        """Initialise the features from shapes, before they are fitted.

        Args:
            schema: Names the streams.
            modalities: Stream to fitted modality.
            columns: Stream to arrays of the training rows, only their shapes are used.

        Returns:
            Unfitted features.
        """
        return cls(
            [
                StreamFeatures.unfitted(stream, modalities[stream.name], columns[stream.name])
                for stream in schema.streams
                if stream.name in columns and stream.modality in FEATURES
            ]
        )

    def fit(self, columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]]) -> FeatureExtractor:
        """Fit on training rows.

        Args:
            columns: Stream to arrays of the training rows.
            cells: Column to raw cells of the training rows; only texts and numbers are read.

        Returns:
            The fitted features.
        """
        return FeatureExtractor([stream.fit(columns[stream.stream], cells) for stream in self.streams])

    @property
    def cell_columns(self) -> list[str]:
        """The columns whose raw cells are read."""
        return [column for stream in self.streams for column in stream.cell_columns]

    def transform(
        self, columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]], forms: frozenset[str] = FORMS
    ) -> FeatureBlocks:
        """Compute the features of rows.

        Args:
            columns: Stream to arrays.
            cells: Column to raw cells.
            forms: The forms to compute: ``LINEAR``, ``TREES`` or both.

        Returns:
            The features.
        """
        return self.transform_masked(columns, cells, [frozenset()], forms)[0]

    def transform_masked(
        self,
        columns: Mapping[str, Column],
        cells: Mapping[str, Sequence[Cell]],
        masks: Sequence[frozenset[str]],
        forms: frozenset[str] = FORMS,
    ) -> list[FeatureBlocks]:
        """Compute the features of rows once per mask, with the streams of the mask absent.

        Args:
            columns: Stream to arrays.
            cells: Column to raw cells.
            masks: Sets of streams that are masked, one set per result.
            forms: The forms to compute: ``LINEAR``, ``TREES`` or both.

        Returns:
            The features, one per mask.
        """
        unmasked = [stream.transform(columns[stream.stream], cells, forms) for stream in self.streams]
        masked_streams = frozenset().union(*masks)
        absent = {
            s.stream: s.transform_absent(columns[s.stream], forms) for s in self.streams if s.stream in masked_streams
        }
        parts = list(zip([stream.stream for stream in self.streams], unmasked, strict=True))
        return [_concatenate([absent[name] if name in mask else part for name, part in parts]) for mask in masks]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the fitted state as plain JSON and named arrays."""
        plain, arrays = [], {}
        for place, stream in enumerate(self.streams):
            own_arrays = {"mean": stream.scaling.mean, "scale": stream.scaling.scale}
            own_state = {name: getattr(stream, name) for name in STATE_FIELDS}
            own_state |= {"share": stream.scaling.share, "grams": [], "numbers": None}
            for number, grams in enumerate(stream.grams):
                state, arrays_of_grams = grams.state()
                own_state["grams"].append(state)
                own_arrays |= put_under(arrays_of_grams, f"grams{number}.")
            if stream.numbers is not None:
                own_state["numbers"], numbers = stream.numbers.state()
                own_arrays |= put_under(numbers, "numbers.")
            plain.append(own_state)
            arrays.update(put_under(own_arrays, f"{place}."))
        return {"streams": plain}, arrays

    @classmethod
    def from_state(cls, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> FeatureExtractor:
        """Restore the extractor.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            An extractor whose features are bit-identical.
        """
        streams = []
        for place, own_state in enumerate(state["streams"]):
            own_arrays = arrays_under(arrays, f"{place}.")
            scaling = Scaling(mean=own_arrays["mean"], scale=own_arrays["scale"], share=own_state["share"])
            rest = {name: own_state[name] for name in STATE_FIELDS if name in own_state}
            grams, numbers = _grams_from(own_state["grams"], own_arrays), None
            if own_state.get("numbers") is not None:
                numbers = NumberScaling.from_state(own_state["numbers"], arrays_under(own_arrays, "numbers."))
            streams.append(StreamFeatures(**rest, scaling=scaling, grams=grams, numbers=numbers))
        return cls(streams)


def _grams_from(
    state: dict[str, Any] | list[dict[str, Any]] | None, arrays: dict[str, NDArray[Any]]
) -> tuple[TextGrams, ...]:
    """Restore the blocks of n-grams; models saved by earlier versions have one, or None, outside of a list."""
    if isinstance(state, dict):
        return (TextGrams.from_state(state, arrays),)
    blocks = enumerate(state or [])
    return tuple(TextGrams.from_state(block, arrays_under(arrays, f"grams{number}.")) for number, block in blocks)


def _concatenate(parts: Sequence[StreamPart]) -> FeatureBlocks:
    weights = [weights for _, weights, _ in parts if weights is not None]
    return FeatureBlocks(
        np.concatenate([dense for dense, _, _ in parts], axis=1),
        SparseRows.side_by_side(weights) if weights else None,
        np.concatenate([trees for _, _, trees in parts], axis=1),
    )
