"""Features of one stream for the baselines (numpy; fitted on training rows only).

Two forms are made of each stream: for linear models, centred numbers of a comparable size in which an absent cell
is zero; for trees, plain numbers in which an absent cell is NaN. Values of absent cells are not read.

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
from polymodal.ensemble.audio_features import audio_features
from polymodal.ensemble.image_features import thumbnails, video_features
from polymodal.ensemble.number_features import NumberScaling
from polymodal.ensemble.sensor_features import point_cloud_features, series_features
from polymodal.ensemble.sparse_rows import SparseRows
from polymodal.ensemble.text_features import TextGrams, fit_grams, transform_grams
from polymodal.modalities import ModalityEntry
from polymodal.modalities.datetime import COMPONENTS
from polymodal.modalities.geo import place_features
from polymodal.plugins import AspectTable

Floats = NDArray[np.float32]
StreamPart = tuple[Floats, SparseRows | None, Floats]
"""The features of one stream: dense, sparse (None except for text) and for trees."""

LINEAR, TREES = "linear", "trees"
FORMS = frozenset({LINEAR, TREES})
MAX_SIDE = 28
MAX_DENSE_CELLS = 30_000_000
TREE_SIDES = {1: 12, 3: 8}
"""Number of channels to the longer side of the thumbnails for trees, in pixels."""
STATISTICS_WEIGHT = 7.0
"""Weight of audio statistics in linear models; small, as they depend on speaker and room as much as on content.

Chosen by cross-validation over speakers or folds of the training rows.
"""
MAX_ONE_HOT = 100
CLIP = 5.0


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Mean and scale of a block of dense features.

    Attributes:
        mean: float32 ``[D]``.
        scale: float32 ``[D]``, factor of the centred features.
        share: Share of training rows where the stream is present.
    """

    mean: Floats
    scale: Floats
    share: float

    @classmethod
    def fit(cls, values: Floats, present: NDArray[np.bool_], num_pixels: int) -> Scaling:
        """Fit on training rows.

        Args:
            values: ``[N, D]``.
            present: bool ``[N]``.
            num_pixels: The first so many features (pixels) keep their sizes relative to each other, and together
                weigh as much as the square root of their number. The features after them weigh together as much
                as three of variance one; without pixels each feature has variance one.

        Returns:
            The scaling.
        """
        present_values = values[present].astype(np.float64) if present.any() else np.zeros((1, values.shape[1]))
        variance = present_values.var(axis=0)
        variance[:num_pixels] = variance[:num_pixels].sum() / max(num_pixels, 1) ** 0.5
        if num_pixels:
            variance[num_pixels:] *= (values.shape[1] - num_pixels) / STATISTICS_WEIGHT
        safe_variance = np.where(variance > 1e-12, variance, np.inf)
        scale = (1.0 / np.sqrt(safe_variance)).astype(np.float32)
        return cls(mean=present_values.mean(axis=0).astype(np.float32), scale=scale, share=float(present.mean()))

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
        segment_steps: Steps of a segment of a sound with long clips; 0 for the others.
        scaling: Of the dense features.
        grams: The blocks of n-grams of a text; none for the others.
        numbers: Of the raw numbers of a table; None without any, and in models that were saved before there were any.
    """

    stream: str
    modality: str
    column: str
    cardinalities: list[int]
    side: int
    scaling: Scaling
    grams: tuple[TextGrams, ...] = ()
    numbers: NumberScaling | None = None
    channels: int = 1
    segment_steps: int = 0

    @classmethod
    def unfitted(cls, stream: StreamSchema, fitted: Any, column: Column) -> StreamFeatures:
        """Initialise the features of one stream from shapes, before they are fitted.

        Args:
            stream: The stream.
            fitted: Its fitted modality; a table stream's ``fields`` are read.
            column: Its arrays; only their shapes are used.

        Returns:
            Unfitted features.
        """
        unfitted = cls(
            stream=stream.name,
            modality=stream.modality,
            column="",
            cardinalities=[],
            side=0,
            scaling=Scaling(mean=np.zeros(0, np.float32), scale=np.zeros(0, np.float32), share=1.0),
        )
        return unfitted.entry.initialise(unfitted, stream, fitted, column)

    @property
    def entry(self) -> FeatureEntry:
        """The functions of the modality."""
        return FEATURES[self.modality]

    def fit(self, column: Column, cells: Mapping[str, Sequence[Cell]]) -> StreamFeatures:
        """Fit on training rows.

        Args:
            column: Its arrays.
            cells: Column to raw cells.

        Returns:
            The fitted features.
        """
        grams = fit_grams(_texts(cells[self.column], column.row_present)) if self.column else ()
        numbers = None if self.numbers is None else self.numbers.fit(self._without_encoded(column), cells)
        fitted = replace(self, grams=grams, numbers=numbers)
        values, num_pixels = fitted.compute(fitted._own(column, cells))
        return replace(fitted, scaling=Scaling.fit(values, column.row_present, num_pixels))

    @property
    def cell_columns(self) -> list[str]:
        """The columns whose raw cells are read."""
        numbers = [] if self.numbers is None else [name for name in self.numbers.columns if name]
        return [self.column, *numbers] if self.column else numbers

    def _own(self, column: Column, cells: Mapping[str, Sequence[Cell]]) -> Column:
        column = self._without_encoded(column)
        return column if self.numbers is None else self.numbers.read(column, cells)

    def _without_encoded(self, column: Column) -> Column:
        """Leave out the numbers of encoded categories of a table, which follow all others and are for encoders."""
        num_fields = len(self.cardinalities) or column.values.shape[-1]
        if num_fields == column.values.shape[-1]:
            return column
        return Column(column.values[:, :num_fields], column.present[:, :num_fields])

    def compute(self, column: Column) -> tuple[Floats, int]:
        """Return the dense features ``[N, D]`` of rows, and how many of the first are pixels of an image."""
        return self.entry.compute(self, column)

    def transform(
        self, column: Column, cells: Mapping[str, Sequence[Cell]], forms: frozenset[str] = FORMS
    ) -> StreamPart:
        """Return the features of rows: dense, sparse (None except for text) and for trees."""
        present, empty = column.row_present, np.zeros((len(column), 0), np.float32)
        column = self._own(column, cells)
        is_measured = LINEAR in forms or self.entry.trees is None
        values, num_pixels = self.compute(column) if is_measured else (empty, 0)
        dense = self.scaling.apply(values, present) if LINEAR in forms else empty
        weights = None
        if self.grams:
            absent: list[Cell] = [None] * len(column)
            weights = transform_grams(self.grams, _texts(cells.get(self.column, absent), present))
        trees = self._for_trees(column, values, num_pixels, weights) if TREES in forms else empty
        return dense, weights if LINEAR in forms else None, trees

    def transform_absent(self, column: Column, forms: frozenset[str] = FORMS) -> StreamPart:
        """Return the features of rows where the stream is absent.

        Args:
            column: The stream's arrays.
            forms: The forms to compute.

        Returns:
            As of ``transform``; computed for one row and repeated.
        """
        rows = np.zeros(len(column), np.int64)
        absent_row = column.take(rows[:1]).without(np.ones(len(rows[:1]), np.bool_))
        dense, weights, trees = self.transform(absent_row, {}, forms)
        return dense[rows], None if weights is None else weights.take(rows), trees[rows]

    def _for_trees(self, column: Column, values: Floats, num_pixels: int, weights: SparseRows | None) -> Floats:
        present = column.row_present
        if weights is not None:
            return _nan_where_absent(weights.select(self.grams[0].frequent).to_dense(), present)
        if self.entry.trees is not None:
            return self.entry.trees(column)
        return _nan_where_absent(self.entry.select_for_trees(values, num_pixels), present)


def _as_is(unfitted: StreamFeatures, _stream: StreamSchema, _fitted: Any, _column: Column) -> StreamFeatures:
    return unfitted


def _all_features(values: Floats, _num_shared: int) -> Floats:
    return values


class FeatureEntry(NamedTuple):
    """The features of one modality for the baselines.

    Attributes:
        compute: Computes from fitted features and arrays the dense features ``[N, D]``, and how many of the first are
            pixels of an image; values of rows where the stream is absent may be any finite number.
        initialise: Sets what depends on the stream, its fitted modality and shapes only, on unfitted features.
        trees: Computes the features for trees ``[N, K]``, NaN where absent; None uses the dense ones.
        select_for_trees: Selects the features for trees from the dense ones, given the number of leading pixels.
    """

    compute: Callable[[StreamFeatures, Column], tuple[Floats, int]]
    initialise: Callable[[StreamFeatures, StreamSchema, Any, Column], StreamFeatures] = _as_is
    trees: Callable[[Column], Floats] | None = None
    select_for_trees: Callable[[Floats, int], Floats] = _all_features


def _with_cardinalities(
    unfitted: StreamFeatures, _stream: StreamSchema, fitted: Any, _column: Column
) -> StreamFeatures:
    state = fitted.state()
    columns = [name for member in state.get("members", []) for name in _number_columns(member)]
    numbers = NumberScaling.unfitted(columns) if any(columns) else None
    fields = state["fields"][: len(columns)] if columns else state["fields"]
    return replace(unfitted, cardinalities=[_cardinality(field) for field in fields], numbers=numbers)


def _number_columns(member: Mapping[str, Any]) -> list[str]:
    """Return for each field of a column its name if it is a plain number, else ""."""
    if member["modality"] == "number":
        return [member["column"]]
    return [""] * (1 if member["modality"] == "category" else len(COMPONENTS))


def _table_features(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    """Return numbers with zero where absent, whether each is present, and one column a category."""
    values = _zero_where_absent(column.values, column.present)
    parts, numbers = [column.present.astype(np.float32)], features.numbers
    if numbers is not None:
        parts.append(numbers.for_linear(values, column.present))
    for field, cardinality in enumerate(features.cardinalities):
        if numbers is not None and numbers.columns[field]:
            continue
        if not cardinality:
            parts.append(values[:, [field]])
            continue
        codes = np.arange(min(cardinality, MAX_ONE_HOT), dtype=np.float32)
        parts.append(((values[:, [field]] == codes) & column.present[:, [field]]).astype(np.float32))
    return np.concatenate(parts, axis=1), 0


def _table_trees(column: Column) -> Floats:
    return np.where(column.present, column.values, np.nan).astype(np.float32)


def _with_text_column(unfitted: StreamFeatures, stream: StreamSchema, _fitted: Any, _column: Column) -> StreamFeatures:
    return replace(unfitted, column=stream.columns[0])


def _no_features(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    """Return no dense features: text has sparse ones."""
    return np.zeros((len(column), 0), np.float32), 0


def _with_thumbnail_side(
    unfitted: StreamFeatures, _stream: StreamSchema, _fitted: Any, column: Column
) -> StreamFeatures:
    return replace(unfitted, side=_thumbnail_side(column))


def _image_features(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return thumbnails(column, features.side)


def _image_trees(column: Column) -> Floats:
    return _nan_where_absent(thumbnails(column, _tree_side(column))[0], column.row_present)


def _video_features(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return video_features(column, features.side)


def _video_trees(column: Column) -> Floats:
    return _nan_where_absent(video_features(column, _tree_side(column), with_differences=True)[0], column.row_present)


def _with_channels(unfitted: StreamFeatures, _stream: StreamSchema, fitted: Any, _column: Column) -> StreamFeatures:
    segment_steps = fitted.segment_steps if fitted.num_segments > 1 else 0
    return replace(unfitted, channels=fitted.channels, segment_steps=segment_steps)


def _audio_features(features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return audio_features(column, features.channels, features.segment_steps)


def _every_second_pixel(values: Floats, num_pixels: int) -> Floats:
    return np.concatenate([values[:, :num_pixels:2], values[:, num_pixels:]], axis=1)


def _vector_features(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return _zero_where_absent(column.values, column.present), 0


def _series_features(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return series_features(column), 0


def _point_features(_features: StreamFeatures, column: Column) -> tuple[Floats, int]:
    return point_cloud_features(column), 0


def _tree_side(column: Column) -> int:
    return TREE_SIDES.get(column.values.shape[-1], 8)


def _thumbnail_side(column: Column) -> int:
    channels = column.values.shape[-1]
    return int(min(MAX_SIDE, max(8, (MAX_DENSE_CELLS / max(len(column), 1) / channels) ** 0.5)))


def _cardinality(field: Mapping[str, Any]) -> int:
    return int(field["cardinality"]) if field["kind"] == "category" else 0


def _texts(cells: Sequence[Cell], present: NDArray[np.bool_]) -> list[str]:
    return [
        str(cell) if is_present and cell is not None else "" for cell, is_present in zip(cells, present, strict=True)
    ]


def _zero_where_absent(values: NDArray[Any], present: NDArray[np.bool_]) -> Floats:
    is_present = present if present.ndim == values.ndim else present[:, None]
    return np.where(is_present, values, 0.0).astype(np.float32)


def _nan_where_absent(values: Floats, present: NDArray[np.bool_]) -> Floats:
    return np.where(present[:, None], values, np.float32(np.nan))


FEATURES: AspectTable[FeatureEntry] = AspectTable(
    ModalityEntry,
    "features",
    {
        "tabular": FeatureEntry(_table_features, _with_cardinalities, trees=_table_trees),
        "text": FeatureEntry(_no_features, _with_text_column),
        "image": FeatureEntry(_image_features, _with_thumbnail_side, trees=_image_trees),
        "audio": FeatureEntry(_audio_features, _with_channels, select_for_trees=_every_second_pixel),
        "video": FeatureEntry(_video_features, _with_thumbnail_side, trees=_video_trees),
        "vector": FeatureEntry(_vector_features),
        "series": FeatureEntry(_series_features),
        "points": FeatureEntry(_point_features),
        "geo": FeatureEntry(lambda _, column: (place_features(column), 0)),
    },
)
"""Modality of a stream to its features for the baselines, which leave out streams of other modalities."""
