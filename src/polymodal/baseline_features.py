"""Cheap features of every stream, for the baselines (numpy, scipy; fitted on training rows only).

Two forms are made of each stream: for linear models, centred numbers of a comparable size in which an absent cell
is zero; for trees, plain numbers in which an absent cell is NaN. What stands in an absent cell is never read.

Shape legend: N rows, D dense features, S sparse features, K features for trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.baseline_pictures import area_weights, in_parts, rows_at_once, thumbnails, video_features
from polymodal.baseline_sensors import cloud_features, series_features
from polymodal.baseline_text import TextGrams
from polymodal.schema import Schema, StreamSchema

Floats = NDArray[np.float32]

LINEAR, TREES = "linear", "trees"
FORMS = frozenset({LINEAR, TREES})
MAX_SIDE = 28
MAX_DENSE_CELLS = 30_000_000
TREE_SIDES = {1: 12, 3: 8}
"""Channels to the longer side of the thumbnails that trees see, in pixels."""
PICTURE_BINS = 20
NUM_CEPSTRAL = 16
STATISTICS_WEIGHT = 7.0
"""Statistics of a sound tell its speaker and its room as much as its content, so linear models see them small.

Chosen by the loss with one speaker, or one fold, of the training rows left out at a time.
"""
MAX_ONE_HOT = 100
KEPT = ("stream", "modality", "column", "cardinalities", "side", "channels")
CLIP = 5.0
STATISTICS: dict[str, Callable[[Column], Floats]] = {"series": series_features, "points": cloud_features}


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
    def fit(
        cls, stream: StreamSchema, fitted: Any, column: Column, cells: Mapping[str, Sequence[Cell]]
    ) -> StreamFeatures:
        """Learn the features of one stream from training rows.

        Args:
            stream: The stream.
            fitted: Its fitted modality; a table stream's ``fields`` are read.
            column: Its arrays.
            cells: Column to raw cells.

        Returns:
            The fitted features.
        """
        fields = fitted.state()["fields"] if stream.modality == "tabular" else []
        draft = cls(
            stream=stream.name,
            modality=stream.modality,
            column=stream.columns[0] if stream.modality == "text" else "",
            cardinalities=[_cardinality(field) for field in fields],
            side=_thumbnail_side(column) if stream.modality in ("image", "video") else 0,
            scaling=Scaling(mean=np.zeros(0, np.float32), scale=np.zeros(0, np.float32), share=1.0),
            grams=None,
            channels=fitted.channels if stream.modality == "audio" else 1,
        )
        grams = TextGrams.fit(_texts(cells[draft.column], column.row_present)) if draft.column else None
        values, num_shared = draft.measure(column)
        scaling = Scaling.fit(values, column.row_present, num_shared)
        return cls(**{**draft.__dict__, "grams": grams, "scaling": scaling})

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
    ) -> tuple[Floats, Any, Floats]:
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


@dataclass(frozen=True)
class FeatureExtractor:
    """Fitted features of all streams.

    Attributes:
        streams: One entry a stream, in the schema's order.
    """

    streams: list[StreamFeatures]

    @classmethod
    def fit(
        cls,
        schema: Schema,
        modalities: Mapping[str, Any],
        columns: Mapping[str, Column],
        cells: Mapping[str, Sequence[Cell]],
    ) -> FeatureExtractor:
        """Learn the features from training rows.

        Args:
            schema: Names the streams.
            modalities: Stream to fitted modality.
            columns: Stream to arrays of the training rows.
            cells: Column to raw cells of the training rows; only text columns are read.

        Returns:
            The fitted features.
        """
        return cls(
            [
                StreamFeatures.fit(stream, modalities[stream.name], columns[stream.name], cells)
                for stream in schema.streams
                if stream.name in columns
            ]
        )

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
        parts = [stream.transform(columns[stream.stream], cells, forms) for stream in self.streams]
        return FeatureBlocks(
            np.concatenate([dense for dense, _, _ in parts], axis=1),
            _side_by_side([weights for _, weights, _ in parts if weights is not None]),
            np.concatenate([trees for _, _, trees in parts], axis=1),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the fitted state as plain JSON and named arrays."""
        plain, arrays = [], {}
        for place, stream in enumerate(self.streams):
            found = {"mean": stream.scaling.mean, "scale": stream.scaling.scale}
            kept = {name: getattr(stream, name) for name in KEPT}
            kept |= {"share": stream.scaling.share, "grams": None}
            if stream.grams is not None:
                kept["grams"] = {name: getattr(stream.grams, name) for name in ("units", "longest", "vocabulary")}
                found |= {name: getattr(stream.grams, name) for name in ("codes", "idf", "frequent")}
            plain.append(kept)
            arrays.update({f"{place}.{name}": array for name, array in found.items()})
        return {"streams": plain}, arrays

    @classmethod
    def from_state(cls, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> FeatureExtractor:
        """Make the extractor again.

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
            grams = None if kept["grams"] is None else TextGrams(**kept["grams"], **own)
            rest = {name: value for name, value in kept.items() if name not in ("share", "grams")}
            streams.append(StreamFeatures(**rest, scaling=scaling, grams=grams))
        return cls(streams)


def _side_by_side(sparse: list[Any]) -> Any:
    if len(sparse) < 2:
        return sparse[0] if sparse else None
    from scipy.sparse import hstack

    return hstack(sparse, format="csr")


def sound_features(column: Column, channels: int = 1) -> tuple[Floats, int]:
    """Describe sounds by small pictures and by statistics, one of each for every channel.

    Args:
        column: float ``[N, frames, channels * features]`` with lengths; a waveform counts as one feature.
        channels: Channels, whose features follow each other.

    Returns:
        float32 ``[N, ...]``: the spectrograms stretched to 20 x 20, then the mean, deviation and mean absolute
        change of their cepstral coefficients and the logarithm of the duration; and the number of pixels (400 of
        each channel).
    """
    size = column.values.shape[2] // channels
    found = [_channel_features(column, slice(start, start + size)) for start in range(0, channels * size, size)]
    num_pixels = found[0][1]
    pixels, statistics = ([values[:, part] for values, _ in found] for part in np.s_[:num_pixels, num_pixels:])
    return np.concatenate([*pixels, *statistics], axis=1), channels * num_pixels


def _channel_features(column: Column, channel: slice) -> tuple[Floats, int]:
    num_features = channel.stop - channel.start
    lengths = np.full(len(column), column.values.shape[1]) if column.lengths is None else column.lengths
    lengths = np.where(column.row_present, np.maximum(lengths, 1), 1)
    bands = area_weights(num_features, min(num_features, PICTURE_BINS))
    cosines = _cosines(num_features)

    step = rows_at_once(column)

    def described(start: int) -> Floats:
        rows = slice(start, start + step)
        part = np.asarray(column.values[rows, :, channel], dtype=np.float32)
        inside = (np.arange(part.shape[1]) < lengths[rows, None]) & column.row_present[rows, None]
        part = np.where(inside[..., None], part, np.float32(0.0))
        picture = _stretched(part @ bands.T, lengths[rows]).reshape(len(part), -1)
        return np.concatenate([picture, _statistics(part @ cosines.T, inside, lengths[rows])], axis=1)

    num_pixels = PICTURE_BINS * len(bands)
    return in_parts(described, len(column), num_pixels + 3 * len(cosines) + 1, step), num_pixels


def _stretched(frames: Floats, lengths: NDArray[np.int64]) -> Floats:
    """Average frames over 20 equal parts of each clip: ``[N, 20, bands]``."""
    sums = np.concatenate([np.zeros_like(frames[:, :1]), np.cumsum(frames, axis=1, dtype=np.float32)], axis=1)
    edges = lengths[:, None] * np.linspace(0, 1, PICTURE_BINS + 1)[None, :]
    low = np.minimum(edges.astype(np.int64), lengths[:, None])
    high, rest = np.minimum(low + 1, lengths[:, None]), (edges - low)[..., None]
    below, above = (np.take_along_axis(sums, index[..., None], axis=1) for index in (low, high))
    at_edges = below + (above - below) * rest
    return np.asarray(np.diff(at_edges, axis=1) / (lengths / PICTURE_BINS)[:, None, None], dtype=np.float32)


def _statistics(frames: Floats, inside: NDArray[np.bool_], lengths: NDArray[np.int64]) -> Floats:
    count = np.maximum(lengths, 1)[:, None].astype(np.float32)
    mean = frames.sum(axis=1) / count
    spread = np.sqrt((((frames - mean[:, None]) ** 2) * inside[..., None]).sum(axis=1) / count)
    change = (np.abs(np.diff(frames, axis=1)) * inside[:, 1:, None]).sum(axis=1) / count
    return np.concatenate([mean, spread, change, np.log(count)], axis=1)


def _cosines(num_features: int) -> Floats:
    """Return the first rows of the orthonormal DCT-II, ``[coefficients, features]``."""
    steps = (np.arange(num_features) + 0.5) / num_features
    table = np.cos(np.pi * np.arange(min(NUM_CEPSTRAL, num_features))[:, None] * steps)
    return np.asarray(table * np.sqrt(2 / num_features), dtype=np.float32)


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
