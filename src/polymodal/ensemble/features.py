"""Cheap features of all streams side by side, for the baselines (numpy, scipy; fitted on training rows only).

Shape legend: N rows, D dense features, S sparse features, K features for trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.schema.schema import Schema
from polymodal.ensemble.stream_features import FEATURES, FORMS, Floats, Scaling, StreamFeatures, StreamPart
from polymodal.ensemble.text_features import TextGrams

KEPT = ("stream", "modality", "column", "cardinalities", "side", "channels")


@dataclass(frozen=True)
class FeatureBlocks:
    """Features of some rows.

    Attributes:
        dense: float32 ``[N, D]`` for linear models, finite.
        sparse: scipy CSR float32 ``[N, S]`` for linear models; None without texts.
        trees: float32 ``[N, K]`` for trees, NaN where absent.

    A form that was not asked for has no features.
    """

    dense: Floats
    sparse: Any
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
        return FeatureBlocks(self.dense[rows], None if self.sparse is None else self.sparse[rows], self.trees[rows])

    @staticmethod
    def joined(parts: Sequence[FeatureBlocks]) -> FeatureBlocks:
        """Put rows below each other.

        Args:
            parts: At least one, from the same extractor.

        Returns:
            The features of all rows.
        """
        if len(parts) == 1:
            return parts[0]
        from scipy.sparse import vstack

        sparse = None if parts[0].sparse is None else vstack([part.sparse for part in parts], format="csr")
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
    def draft(cls, schema: Schema, modalities: Mapping[str, Any], columns: Mapping[str, Column]) -> FeatureExtractor:
        """Settle what is to be learnt, before any value is looked at.

        Args:
            schema: Names the streams.
            modalities: Stream to fitted modality.
            columns: Stream to arrays of the training rows, of which only the shapes count.

        Returns:
            Features that are not fitted yet.
        """
        return cls(
            [
                StreamFeatures.draft(stream, modalities[stream.name], columns[stream.name])
                for stream in schema.streams
                if stream.name in columns and stream.modality in FEATURES
            ]
        )

    def fit(self, columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]]) -> FeatureExtractor:
        """Learn the features from training rows.

        Args:
            columns: Stream to arrays of the training rows.
            cells: Column to raw cells of the training rows; only text columns are read.

        Returns:
            The fitted features.
        """
        return FeatureExtractor([stream.fit(columns[stream.stream], cells) for stream in self.streams])

    @property
    def text_columns(self) -> list[str]:
        """The columns whose raw cells are read."""
        return [stream.column for stream in self.streams if stream.column]

    def transform(
        self, columns: Mapping[str, Column], cells: Mapping[str, Sequence[Cell]], forms: frozenset[str] = FORMS
    ) -> FeatureBlocks:
        """Make the features of rows.

        Args:
            columns: Stream to arrays.
            cells: Column to raw cells.
            forms: What is wanted: ``LINEAR``, ``TREES`` or both.

        Returns:
            The features.
        """
        return self.transform_views(columns, cells, [frozenset()], forms)[0]

    def transform_views(
        self,
        columns: Mapping[str, Column],
        cells: Mapping[str, Sequence[Cell]],
        views: Sequence[frozenset[str]],
        forms: frozenset[str] = FORMS,
    ) -> list[FeatureBlocks]:
        """Make the features of rows several times, each time with some streams taken away.

        Args:
            columns: Stream to arrays.
            cells: Column to raw cells.
            views: The streams to take away, each time.
            forms: What is wanted: ``LINEAR``, ``TREES`` or both.

        Returns:
            The features, once a view.
        """
        whole = [stream.transform(columns[stream.stream], cells, forms) for stream in self.streams]
        hidden = frozenset().union(*views)
        absent = {s.stream: s.transform_absent(columns[s.stream], forms) for s in self.streams if s.stream in hidden}
        parts = list(zip([stream.stream for stream in self.streams], whole, strict=True))
        return [_joined([absent[name] if name in view else part for name, part in parts]) for view in views]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the fitted state as plain JSON and named arrays."""
        plain, arrays = [], {}
        for place, stream in enumerate(self.streams):
            found = {"mean": stream.scaling.mean, "scale": stream.scaling.scale}
            kept = {name: getattr(stream, name) for name in KEPT}
            kept |= {"share": stream.scaling.share, "grams": None}
            if stream.grams is not None:
                kept["grams"], grams = stream.grams.state()
                found |= grams
            plain.append(kept)
            arrays.update({f"{place}.{name}": array for name, array in found.items()})
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
        for place, kept in enumerate(state["streams"]):
            own: dict[str, Any] = {
                name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{place}.")
            }
            scaling = Scaling(mean=own.pop("mean"), scale=own.pop("scale"), share=kept["share"])
            grams = None if kept["grams"] is None else TextGrams.from_state(kept["grams"], own)
            rest = {name: value for name, value in kept.items() if name not in ("share", "grams")}
            streams.append(StreamFeatures(**rest, scaling=scaling, grams=grams))
        return cls(streams)


def _joined(parts: Sequence[StreamPart]) -> FeatureBlocks:
    return FeatureBlocks(
        np.concatenate([dense for dense, _, _ in parts], axis=1),
        _side_by_side([weights for _, weights, _ in parts if weights is not None]),
        np.concatenate([trees for _, _, trees in parts], axis=1),
    )


def _side_by_side(sparse: list[Any]) -> Any:
    if len(sparse) < 2:
        return sparse[0] if sparse else None
    from scipy.sparse import hstack

    return hstack(sparse, format="csr")
