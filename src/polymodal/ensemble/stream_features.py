"""Cheap features of one stream, for the baselines (numpy, scipy; fitted on training rows only).

Two forms are made of each stream: for linear models, centred numbers of a comparable size in which an absent cell
is zero; for trees, plain numbers in which an absent cell is NaN. What stands in an absent cell is never read.

Shape legend: N rows, D dense features, S sparse features, K features for trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.schema.schema import StreamSchema
from polymodal.ensemble.audio_features import sound_features
from polymodal.ensemble.image_features import thumbnails, video_features
from polymodal.ensemble.sensor_features import cloud_features, series_features
from polymodal.ensemble.text_features import TextGrams
from polymodal.modalities import ModalityEntry
from polymodal.modalities.geo import place_features
from polymodal.plugins import AspectTable

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
        plain = cls(
            stream=stream.name,
            modality=stream.modality,
            column="",
            cardinalities=[],
            side=0,
            scaling=Scaling(mean=np.zeros(0, np.float32), scale=np.zeros(0, np.float32), share=1.0),
            grams=None,
        )
        return plain.entry.draft(plain, stream, fitted, column)

    @property
    def entry(self) -> FeatureEntry:
        """How features of the modality are made."""
        return FEATURES[self.modality]

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
        return self.entry.measure(self, column)

    def transform(
        self, column: Column, cells: Mapping[str, Sequence[Cell]], forms: frozenset[str] = FORMS
    ) -> StreamPart:
        """Return the features of rows: dense, sparse (None but for text) and for trees."""
        present, nothing = column.row_present, np.zeros((len(column), 0), np.float32)
        is_measured = LINEAR in forms or self.entry.trees is None
        values, num_shared = self.measure(column) if is_measured else (nothing, 0)
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

    def _for_trees(self, column: Column, values: Floats, num_shared: int, weights: Any) -> Floats:
        present = column.row_present
        if self.grams is not None:
            return _blank(weights[:, self.grams.frequent].toarray(), present)
        if self.entry.trees is not None:
            return self.entry.trees(column)
        return _blank(self.entry.thin(values, num_shared), present)


def _plain_draft(plain: StreamFeatures, _stream: StreamSchema, _fitted: Any, _column: Column) -> StreamFeatures:
    return plain


def _all_features(values: Floats, _num_shared: int) -> Floats:
    return values


class FeatureEntry(NamedTuple):
    """How cheap features of one modality are made.

    Attributes:
        measure: From fitted features and arrays to the dense features ``[N, D]``, and how many of the first are pixels
            of a picture; for rows where the stream is absent they may be anything finite.
        draft: From plain features, the stream, its fitted modality and arrays to features for which all is settled
            that needs no values.
        trees: From arrays to the features for trees ``[N, K]``, NaN where absent; None takes them of the dense ones.
        thin: Chooses those for trees of the dense features, given how many of the first are pixels.
    """

    measure: Callable[[StreamFeatures, Column], tuple[Floats, int]]
    draft: Callable[[StreamFeatures, StreamSchema, Any, Column], StreamFeatures] = _plain_draft
    trees: Callable[[Column], Floats] | None = None
    thin: Callable[[Floats, int], Floats] = _all_features


def _table_draft(plain: StreamFeatures, _stream: StreamSchema, fitted: Any, _column: Column) -> StreamFeatures:
    return replace(plain, cardinalities=[_cardinality(field) for field in fitted.state()["fields"]])


def _measure_table(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    """Return numbers with zero where absent, whether each is present, and one column a category."""
    values = _clean(column.values, column.present)
    parts = [column.present.astype(np.float32)]
    for field, cardinality in enumerate(features.cardinalities):
        if not cardinality:
            parts.append(values[:, [field]])
            continue
        codes = np.arange(min(cardinality, MAX_ONE_HOT), dtype=np.float32)
        parts.append(((values[:, [field]] == codes) & column.present[:, [field]]).astype(np.float32))
    return np.concatenate(parts, axis=1), 0


def _table_trees(column: Column) -> Floats:
    return np.where(column.present, column.values, np.nan).astype(np.float32)


def _text_draft(plain: StreamFeatures, stream: StreamSchema, _fitted: Any, _column: Column) -> StreamFeatures:
    return replace(plain, column=stream.columns[0])


def _measure_nothing(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    """Return no dense features: texts have sparse ones."""
    return np.zeros((len(column), 0), np.float32), 0


def _picture_draft(plain: StreamFeatures, _stream: StreamSchema, _fitted: Any, column: Column) -> StreamFeatures:
    return replace(plain, side=_thumbnail_side(column))


def _measure_image(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return thumbnails(column, features.side)


def _image_trees(column: Column) -> Floats:
    return _blank(thumbnails(column, _tree_side(column))[0], column.row_present)


def _measure_video(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return video_features(column, features.side)


def _video_trees(column: Column) -> Floats:
    return _blank(video_features(column, _tree_side(column), with_differences=True)[0], column.row_present)


def _sound_draft(plain: StreamFeatures, _stream: StreamSchema, fitted: Any, _column: Column) -> StreamFeatures:
    return replace(plain, channels=fitted.channels)


def _measure_sound(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return sound_features(column, features.channels)


def _every_second_pixel(values: Floats, num_shared: int) -> Floats:
    return np.concatenate([values[:, :num_shared:2], values[:, num_shared:]], axis=1)


def _measure_vector(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return _clean(column.values, column.present), 0


def _measure_series(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return series_features(column), 0


def _measure_points(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return cloud_features(column), 0


def _tree_side(column: Column) -> int:
    return TREE_SIDES.get(column.values.shape[-1], 8)


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


FEATURES: AspectTable[FeatureEntry] = AspectTable(
    ModalityEntry,
    "features",
    {
        "tabular": FeatureEntry(_measure_table, _table_draft, trees=_table_trees),
        "text": FeatureEntry(_measure_nothing, _text_draft),
        "image": FeatureEntry(_measure_image, _picture_draft, trees=_image_trees),
        "audio": FeatureEntry(_measure_sound, _sound_draft, thin=_every_second_pixel),
        "video": FeatureEntry(_measure_video, _picture_draft, trees=_video_trees),
        "vector": FeatureEntry(_measure_vector),
        "series": FeatureEntry(_measure_series),
        "points": FeatureEntry(_measure_points),
        "geo": FeatureEntry(lambda _, column: (place_features(column), 0)),
    },
)
"""Modality of a stream to how its cheap features are made; the baselines leave out streams of other modalities."""
