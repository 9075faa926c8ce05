"""Cheap features of one stream, for the baselines (numpy, scipy; fitted on training rows only).

Two forms are made of each stream: for linear models, centred numbers of a comparable size in which an absent cell
is zero; for trees, plain numbers in which an absent cell is NaN. What stands in an absent cell is never read.

Shape legend: N rows, D dense features, S sparse features, K features for trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.schema.schema import StreamSchema
from polymodal.ensemble.audio_features import sound_features
from polymodal.ensemble.image_features import thumbnails, video_features
from polymodal.ensemble.sensor_features import cloud_features, series_features
from polymodal.ensemble.text_features import TextGrams

Floats = NDArray[np.float32]
StreamPart = tuple[Floats, Any, Floats]
"""The features of one stream: dense, sparse (None but for text) and for trees."""

LINEAR, TREES = "linear", "trees"
FORMS = frozenset({LINEAR, TREES})
MAX_SIDE = 28
MAX_DENSE_CELLS = 30_000_000
TREE_SIDES = {1: 12, 3: 8}
"""Channels to the longer side of the thumbnails that trees see, in pixels."""
STATISTICS_WEIGHT = 7.0
"""Statistics of a sound tell its speaker and its room as much as its content, so linear models see them small.

Chosen by the loss with one speaker, or one fold, of the training rows left out at a time.
"""
MAX_ONE_HOT = 100
CLIP = 5.0
STATISTICS: dict[str, Callable[[Column], Floats]] = {"series": series_features, "points": cloud_features}


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Centre and scale of one block of dense features.

    Attributes:
        mean: float32 ``[D]``.
        scale: float32 ``[D]``, what the centred features are multiplied with.
        share: Share of training rows in which the stream is present.
    """

    mean: Floats
    scale: Floats
    share: float

    @classmethod
    def fit(cls, values: Floats, present: NDArray[np.bool_], num_shared: int) -> Scaling:
        """Measure training rows.

        Args:
            values: ``[N, D]``.
            present: bool ``[N]``.
            num_shared: The first so many features (pixels) keep their sizes relative to each other, and together
                weigh as much as the square root of their number. The features after them weigh together as much
                as three of variance one; without pixels each feature has variance one.

        Returns:
            The scaling.
        """
        seen = values[present].astype(np.float64) if present.any() else np.zeros((1, values.shape[1]))
        variance = seen.var(axis=0)
        variance[:num_shared] = variance[:num_shared].sum() / max(num_shared, 1) ** 0.5
        if num_shared:
            variance[num_shared:] *= (values.shape[1] - num_shared) / STATISTICS_WEIGHT
        spread = np.where(variance > 1e-12, variance, np.inf)
        scale = (1.0 / np.sqrt(spread)).astype(np.float32)
        return cls(mean=seen.mean(axis=0).astype(np.float32), scale=scale, share=float(present.mean()))

    def apply(self, values: Floats, present: NDArray[np.bool_]) -> Floats:
        """Return ``[N, D + 1]``: scaled features, zero where absent, and whether the stream is present."""
        scaled = np.clip((values - self.mean) * self.scale, -CLIP, CLIP)
        scaled = np.where(present[:, None], scaled, 0.0)
        return np.column_stack([scaled, present - np.float32(self.share)]).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class StreamFeatures:
    """Fitted features of one stream.

    Attributes:
        stream: Its name.
        modality: Its modality.
        column: Its text column; "" for the others.
        cardinalities: Number of categories of each table field, 0 for a number; empty for the others.
        side: Side of thumbnails in pixels; 0 for the others.
        channels: Channels of a sound, whose features follow each other; 1 for the others.
        scaling: Of the dense features.
        grams: Of a text; None for the others.
    """

    stream: str
    modality: str
    column: str
    cardinalities: list[int]
    side: int
    scaling: Scaling
    grams: TextGrams | None
    channels: int = 1

    @classmethod
    def draft(cls, stream: StreamSchema, fitted: Any, column: Column) -> StreamFeatures:
        """Settle what is to be learnt of one stream, before any value is looked at.

        Args:
            stream: The stream.
            fitted: Its fitted modality; a table stream's ``fields`` are read.
            column: Its arrays, of which only the shape counts.

        Returns:
            Features that are not fitted yet.
        """
        fields = fitted.state()["fields"] if stream.modality == "tabular" else []
        return cls(
            stream=stream.name,
            modality=stream.modality,
            column=stream.columns[0] if stream.modality == "text" else "",
            cardinalities=[_cardinality(field) for field in fields],
            side=_thumbnail_side(column) if stream.modality in ("image", "video") else 0,
            scaling=Scaling(mean=np.zeros(0, np.float32), scale=np.zeros(0, np.float32), share=1.0),
            grams=None,
            channels=fitted.channels if stream.modality == "audio" else 1,
        )

    def fit(self, column: Column, cells: Mapping[str, Sequence[Cell]]) -> StreamFeatures:
        """Learn the features of one stream from training rows.

        Args:
            column: Its arrays.
            cells: Column to raw cells.

        Returns:
            The fitted features.
        """
        grams = TextGrams.fit(_texts(cells[self.column], column.row_present)) if self.column else None
        values, num_shared = self.measure(column)
        return replace(self, grams=grams, scaling=Scaling.fit(values, column.row_present, num_shared))

    def measure(self, column: Column) -> tuple[Floats, int]:
        """Return the dense features ``[N, D]`` of rows, and how many of the first are pixels of a picture."""
        if self.modality == "image":
            return thumbnails(column, self.side)
        if self.modality == "audio":
            return sound_features(column, self.channels)
        if self.modality == "video":
            return video_features(column, self.side)
        if self.modality == "tabular":
            return _table_features(column, self.cardinalities)
        if self.modality == "vector":
            return _clean(column.values, column.present), 0
        if self.modality in STATISTICS:
            return STATISTICS[self.modality](column), 0
        return np.zeros((len(column), 0), np.float32), 0

    def transform(
        self, column: Column, cells: Mapping[str, Sequence[Cell]], forms: frozenset[str] = FORMS
    ) -> StreamPart:
        """Return the features of rows: dense, sparse (None but for text) and for trees."""
        present, nothing = column.row_present, np.zeros((len(column), 0), np.float32)
        values, num_shared = (nothing, 0) if self._reads_no_values(forms) else self.measure(column)
        dense = self.scaling.apply(values, present) if LINEAR in forms else nothing
        weights = None
        if self.grams is not None:
            absent: list[Cell] = [None] * len(column)
            weights = self.grams.transform(_texts(cells.get(self.column, absent), present))
        trees = self._for_trees(column, values, num_shared, weights) if TREES in forms else nothing
        return dense, weights if LINEAR in forms else None, trees

    def transform_absent(self, column: Column, forms: frozenset[str] = FORMS) -> StreamPart:
        """Return the features of rows in which the stream is absent.

        Args:
            column: The stream's arrays.
            forms: What is wanted.

        Returns:
            As of ``transform``; computed of one row, which all others are like.
        """
        rows = np.zeros(len(column), np.int64)
        one = column.take(rows[:1]).without(np.ones(len(rows[:1]), np.bool_))
        dense, weights, trees = self.transform(one, {}, forms)
        return dense[rows], None if weights is None else weights[rows], trees[rows]

    def _reads_no_values(self, forms: frozenset[str]) -> bool:
        """Tell whether the dense features are not needed: trees see other pictures and plain table fields."""
        return LINEAR not in forms and self.modality in ("image", "video", "tabular")

    def _for_trees(self, column: Column, values: Floats, num_shared: int, weights: Any) -> Floats:
        present = column.row_present
        if self.grams is not None:
            return _blank(weights[:, self.grams.frequent].toarray(), present)
        if self.modality == "tabular":
            return np.where(column.present, column.values, np.nan).astype(np.float32)
        if self.modality == "image":
            values = thumbnails(column, TREE_SIDES.get(column.values.shape[-1], 8))[0]
        if self.modality == "video":
            values = video_features(column, TREE_SIDES.get(column.values.shape[-1], 8), with_differences=True)[0]
        if self.modality == "audio":
            values = np.concatenate([values[:, :num_shared:2], values[:, num_shared:]], axis=1)
        return _blank(values, present)


def _table_features(column: Column, cardinalities: list[int]) -> tuple[Floats, int]:
    """Return numbers with zero where absent, whether each is present, and one column a category."""
    values = _clean(column.values, column.present)
    parts = [column.present.astype(np.float32)]
    for field, cardinality in enumerate(cardinalities):
        if not cardinality:
            parts.append(values[:, [field]])
            continue
        codes = np.arange(min(cardinality, MAX_ONE_HOT), dtype=np.float32)
        parts.append(((values[:, [field]] == codes) & column.present[:, [field]]).astype(np.float32))
    return np.concatenate(parts, axis=1), 0


def _thumbnail_side(column: Column) -> int:
    channels = column.values.shape[-1]
    return int(min(MAX_SIDE, max(8, (MAX_DENSE_CELLS / max(len(column), 1) / channels) ** 0.5)))


def _cardinality(field: Mapping[str, Any]) -> int:
    return int(field["cardinality"]) if field["kind"] == "category" else 0


def _texts(cells: Sequence[Cell], present: NDArray[np.bool_]) -> list[str]:
    return [str(cell) if there and cell is not None else "" for cell, there in zip(cells, present, strict=True)]


def _clean(values: NDArray[Any], present: NDArray[np.bool_]) -> Floats:
    there = present if present.ndim == values.ndim else present[:, None]
    return np.where(there, values, 0.0).astype(np.float32)


def _blank(values: Floats, present: NDArray[np.bool_]) -> Floats:
    return np.where(present[:, None], values, np.float32(np.nan))
