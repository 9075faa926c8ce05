"""Sensor series: measurements over time, standardised channel by channel, with indicators of missing samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, PositiveInt

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.array_files import as_numbers, load_named_numbers, read_content
from polymodal.modalities.base import CellReadError, Cut, Modality, Settings, standardise
from polymodal.modalities.decoding import decode_ragged, map_cells, sample_cells
from polymodal.modalities.logger_files import without_time
from polymodal.modalities.media import locate_media, unwrap
from polymodal.modalities.recording_files import ENDINGS, WFDB_ENDING, load_wfdb
from polymodal.modalities.robust_scaling import fit_robust_scale, subsample_rows
from polymodal.modalities.series_names import common_names, in_order

SHAPE_SAMPLE = 200
SCALE_SAMPLE = 2000
SMOOTHNESS_SAMPLE, LONGER = 50, 2
STEPS_PER_CELL = 500
"""Maximum number of steps per training cell from which mean and scale are fitted."""
LENGTH_QUANTILE = 0.95
"""Series are subsampled until this share of the training cells has at most ``max_length`` steps."""


class SeriesSettings(Settings):
    """Options of series.

    Attributes:
        channels: Values per step; None takes the training cells' most common number.
        channels_first: Whether arrays are ``[channels, time]``; None: where the training cells agree in their first
            extent and not in their second, or, all of one shape, are longer and smoother along their second.
        max_length: Steps of a series at most; longer ones become means over equal stretches.
    """

    channels: int | None = Field(default=None, ge=1)
    channels_first: bool | None = None
    max_length: int = Field(default=1024, ge=8, le=1_000_000)


@dataclass(frozen=True, kw_only=True)
class Series(Modality):
    """Series of one number of channels, each channel standardised by itself and limited to -10..10.

    A sample that is missing (NaN, infinite, an empty field) becomes 0, the mean. Behind the channels stands
    an indicator for each that has such gaps in training: the share of missing samples of each step.

    Attributes:
        channels: Values per step.
        channels_first: Whether arrays are ``[channels, time]``.
        stride: Samples that are averaged to one step.
        max_length: Steps at most; what is longer still is averaged over longer stretches.
        median_length: Steps of the training cells' median.
        mean: Mean of each channel over training cells, outliers clipped.
        std: Standard deviation of each; 1 where it never changes.
        has_gaps: Whether samples of the channel are missing in training cells.
        names: Names of the files' columns in the order of the channels; empty where columns are matched by place.
    """

    channels: int
    channels_first: bool
    stride: PositiveInt
    max_length: PositiveInt
    median_length: int
    mean: list[float]
    std: list[float]
    has_gaps: list[bool]
    names: list[str] = field(default_factory=list)

    name: ClassVar[str] = "series"
    summary: ClassVar[str] = "sensor series as lists, arrays or files, standardised by channel, gaps marked"
    paper: ClassVar[str] = "Lipton, Kale and Wetzel 2016, arXiv 1606.04130 (indicators of missing samples)"
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    is_json: ClassVar[bool] = True
    endings: ClassVar[frozenset[str]] = frozenset({".csv", ".tsv", ".parquet"}) | ENDINGS
    Settings: ClassVar[type[BaseModel]] = SeriesSettings

    @property
    def num_features(self) -> int:
        """Values per step: channels and the indicators of those with gaps."""
        return self.channels + sum(self.has_gaps)

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: SeriesSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Series:
        """Fit channels, lengths, means and scales on at most 2,000 of the cells.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            The fitted modality; of one channel where no cell can be read.
        """
        read = partial(read_series, folder=folder)
        look = partial(_look, folder=folder)
        looked_at = [found for _, found in sample_cells(cells, look, SHAPE_SAMPLE, num_threads)]
        shapes = [shape for shape, _ in looked_at]
        first = settings.channels_first
        if first is None:
            first = _are_channels_first(shapes) or (
                len(set(shapes)) == 1 and _is_smooth_across(cells, read, num_threads)
            )
        channels = settings.channels or _most_common([shape[0 if first else 1] for shape in shapes])
        names = [] if first else common_names([names for _, names in looked_at], channels)
        open_cell = partial(read_raw, folder=folder, channels=channels, channels_first=first, names=names)
        measure = partial(_count_and_sample, read=open_cell)
        found = [measured for _, measured in sample_cells(cells, measure, SCALE_SAMPLE, num_threads)]
        mean, std = fit_robust_scale(np.concatenate([np.zeros((0, channels)), *(steps for _, steps, _ in found)]))
        lengths = np.array([length for length, _, _ in found] or [1])
        stride = max(1, math.ceil(np.quantile(lengths, LENGTH_QUANTILE) / settings.max_length))
        return cls(
            channels=channels,
            channels_first=first,
            stride=stride,
            max_length=settings.max_length,
            median_length=min(settings.max_length, math.ceil(np.median(lengths) / stride)),
            mean=mean.tolist(),
            std=std.tolist(),
            has_gaps=np.any([np.zeros(channels, bool), *(gaps for _, _, gaps in found)], axis=0).tolist(),
            names=names,
        )

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Read and standardise series, each distinct cell once.

        Args:
            cells: Nested lists or JSON text ``[time]`` or ``[time, channels]``, arrays, or paths or bytes of ``.npy``,
                ``.npz``, ``.csv`` and ``.parquet`` files.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            float32 ``[rows, steps, features]``, as long as the longest series, with lengths; and the broken cells: with
            another number of channels, or without any sample.
        """
        work = map_cells(partial(self._read, folder=folder))
        return decode_ragged(cells, work, (self.num_features,), np.float32, num_threads)

    def _read(self, cell: Cell, folder: Path | None) -> NDArray[np.float32]:
        raw = self.read_raw(cell, folder)
        scaled = standardise(raw, np.array(self.mean), np.array(self.std))
        num_steps = min(self.max_length, -(-len(raw) // self.stride))
        means, missing = adaptive_mean_pool(scaled, num_steps)
        return np.concatenate([means, missing[:, np.array(self.has_gaps)]], axis=1)

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:
        """Count the series that are shortened to means.

        Args:
            cells: As in ``transform``; at most 200 are looked at.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            The counts.
        """
        found = [
            length for _, length in sample_cells(cells, partial(self._length, folder=folder), SHAPE_SAMPLE, num_threads)
        ]
        num_cut = sum(length > self.max_length for length in found)
        effect = f"have more than {self.max_length:,} samples; they are shortened to means of neighbouring samples"
        return Cut(num_cut, len(found), effect, "max_length")

    def _length(self, cell: Cell, folder: Path | None) -> int:
        return len(self.read_raw(cell, folder))

    def read_raw(self, cell: Cell, folder: Path | None) -> NDArray[np.float64]:
        """Read a cell's measurements as the modality orders them.

        Args:
            cell: As in ``transform``.
            folder: Base folder of relative paths; None: strings are not opened as paths.

        Returns:
            float64 ``[time, channels]``, as it stands in the cell; missing samples are NaN.

        Raises:
            CellReadError: If there are no such measurements.
        """
        return read_raw(cell, folder, self.channels, self.channels_first, self.names)

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:
        """Report the order of the axes where the cells decided against the usual one.

        Args:
            column: The column's name.
            asked: Options that the user gave.

        Returns:
            A sentence for the user; empty where there is nothing to say.
        """
        if not self.channels_first or asked.get("channels_first") is not None:
            return ""
        return (
            f"The arrays of the column {column!r} are read as [channels, time], {self.channels} channels; the setting "
            "channels_first overrules that."
        )

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Series:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def read_series(cell: Cell, folder: Path | None) -> NDArray[np.float64]:
    """Read a cell's measurements.

    Args:
        cell: Nested lists, JSON text, array, path or bytes.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        float64 ``[time, channels]`` (or the other way round, as it stands there); one axis becomes one channel. Missing
        and infinite samples are NaN.

    Raises:
        CellReadError: If there are no such measurements.
    """
    return _read_named(cell, folder)[0]


def read_raw(
    cell: Cell, folder: Path | None, channels: int, channels_first: bool, names: Sequence[str]
) -> NDArray[np.float64]:
    """Read a cell's measurements in the order of the training series.

    Args:
        cell: As for ``read_series``.
        folder: As for ``read_series``.
        channels: Channels of the training series.
        channels_first: Whether those stood ``[channels, time]``.
        names: Names of their columns; empty where columns are matched by place.

    Returns:
        float64 ``[time, channels]``.

    Raises:
        CellReadError: If there are no such measurements, or columns are missing.
    """
    values, found = _read_named(cell, folder)
    return to_time_first(in_order(values, found, names), channels, channels_first)


def _look(cell: Cell, folder: Path | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    values, names = _read_named(cell, folder)
    return values.shape, names


def _read_named(cell: Cell, folder: Path | None) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    path = unwrap(cell)
    if isinstance(path, str | PurePath) and str(path).lower().endswith(WFDB_ENDING):
        values, names = load_wfdb(locate_media(cell, folder))
    else:
        content, _ = read_content(cell, folder)
        if isinstance(content, bytes):
            values, names = without_time(*load_named_numbers(content))
        else:
            values, names = as_numbers(content), ()
    if values.ndim not in (1, 2):
        raise CellReadError(f"is an array of shape {list(values.shape)}; expected [time] or [time, channels]")
    if not values.size:
        raise CellReadError("holds no samples")
    values = values.astype(np.float64).reshape(len(values), -1)
    finite = np.isfinite(values)
    if not finite.any():
        raise CellReadError(f"holds no sample: each of its {values.size:,} values is missing, NaN or infinite")
    return np.where(finite, values, np.nan), names


def adaptive_mean_pool(values: NDArray[np.float32], num_steps: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shorten a series to the means of equal segments, ignoring missing samples.

    Args:
        values: float32 ``[time, channels]``; NaN where missing.
        num_steps: Steps afterwards, at most as many as before.

    Returns:
        float32 ``[num_steps, channels]`` means, 0 where all of a stretch is missing; and the share of each that is.
    """
    missing = np.isnan(values)
    starts = np.arange(num_steps) * len(values) // num_steps
    sums = np.add.reduceat(np.where(missing, 0, values), starts, axis=0, dtype=np.float64)
    gaps = np.add.reduceat(missing, starts, axis=0, dtype=np.float64)
    counts = np.diff(starts, append=len(values))[:, None]
    means = sums / np.maximum(counts - gaps, 1)
    return means.astype(np.float32), (gaps / counts).astype(np.float32)


def to_time_first(values: NDArray[np.float64], channels: int, channels_first: bool) -> NDArray[np.float64]:
    """Bring a series into the order of time.

    Args:
        values: float64, as it stands in its cell.
        channels: Channels of the training series.
        channels_first: Whether those stood ``[channels, time]``.

    Returns:
        float64 ``[time, channels]``.

    Raises:
        CellReadError: If it has another number of channels.
    """
    if channels_first and (values.shape[0] == channels or values.shape[1] != channels):
        values = values.T
    if values.shape[1] != channels:
        raise CellReadError(f"holds {_count(values.shape[1])} per step; expected {channels}, as in training")
    return values


def _count(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"


def _count_and_sample(
    cell: Cell, read: Callable[[Cell], NDArray[np.float64]]
) -> tuple[int, NDArray[np.float64], NDArray[np.bool_]]:
    """Return a series' length, some of its steps ``[steps, channels]``, and which channels have gaps."""
    values = read(cell)
    return len(values), subsample_rows(values, STEPS_PER_CELL), np.asarray(np.isnan(values).any(axis=0))


def _are_channels_first(shapes: list[tuple[int, ...]]) -> bool:
    first, second = ({shape[axis] for shape in shapes} for axis in (0, 1))
    return len(first) == 1 < len(second)


def _is_smooth_across(
    cells: Sequence[Cell], read: Callable[[Cell], NDArray[np.float64]], num_threads: int | None
) -> bool:
    """Tell whether arrays of one shape are longer, and smoother, along their second axis: that of time, then."""
    found = [values for _, values in sample_cells(cells, read, SMOOTHNESS_SAMPLE, num_threads)]
    if not found or found[0].shape[1] < LONGER * found[0].shape[0] or found[0].shape[0] < 2:
        return False
    roughness = np.array([[_roughness(values), _roughness(values.T)] for values in found])
    across, along = np.median(roughness, axis=0)
    return bool(along < across)


def _roughness(values: NDArray[np.float64]) -> float:
    """Return the mean squared step along the first axis by the variance: 2 of noise, near 0 of a smooth signal."""
    variance = float(np.nanvar(values))
    return float(np.nanmean(np.diff(values, axis=0) ** 2)) / variance if variance > 0 else 0.0


def _most_common(counts: list[int]) -> int:
    found = Counter(counts)
    return max(found, key=lambda count: (found[count], -count), default=1)
