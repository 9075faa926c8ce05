"""Point clouds and sequences of them (lidar, radar): frames of points, standardised, of one size."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import parameter_error
from polymodal.modalities.array_files import read_content
from polymodal.modalities.base import CellReadError, Cut, Modality, Settings, standardise
from polymodal.modalities.decoding import decode_ragged, map_cells, sample_cells
from polymodal.modalities.point_clouds import (
    Cloud,
    detect_bin_columns,
    detect_frame_column,
    read_point_clouds,
    split_frames,
)
from polymodal.modalities.robust_scaling import fit_robust_scale, subsample_rows

DETECT_SAMPLE = 50
FIT_SAMPLE = 1000
CUT_SAMPLE = 200
BIN_SAMPLE = 10
POINTS_PER_CELL = 500
"""Maximum number of points per training cell from which mean and scale are fitted."""
COVERED_SHARE = 0.95
"""Quantile of the training cells' frames, and of the frames' points, that the chosen sizes cover."""
MAX_POINTS = 1024
MAX_POINTS_PER_ROW = 4096
NUM_AXES = 3
DEFAULT_BIN_COLUMNS = 4


class PointsSettings(Settings):
    """Options of point clouds.

    Attributes:
        frames: Frames of a sequence at most; neighbouring frames are merged until they fit.
        points: Points of a frame; None takes what 95 % of the training frames have at most, at most 1,024, and at most
            4,096 in a whole sequence.
        frame_column: Column of the array that counts the frames; None looks for one, -1 means that there is none.
        bin_columns: Values of a point in ``.bin`` files; None finds 3 to 6 by the training cells.
        mirror_axis: Axis that is mirrored at random in training: 0, 1 or 2 for x, y or z; -1 for none.
        rotation_deg: Clouds are turned about the third axis by up to so many degrees in training.
    """

    frames: int = Field(default=20, ge=1, le=1000)
    points: int | None = Field(default=None, ge=1, le=100_000)
    frame_column: int | None = Field(default=None, ge=-1)
    bin_columns: int | None = Field(default=None, ge=2, le=64)
    mirror_axis: int = Field(default=-1, ge=-1, le=2)
    rotation_deg: float = Field(default=0.0, ge=0, le=180)


@dataclass(frozen=True, kw_only=True)
class Points(Modality):
    """Frames of points. The axes share one scale, so that proportions are kept; other values have their own scale.

    The first three values of a point are x, y and z. A point with a value that is NaN or infinite is left out. Of a
    frame with more than ``num_points`` points some are drawn, always the same ones for the same frame.

    Attributes:
        num_columns: Values of a point in the cells, the frame number among them.
        frame_column: Column that counts the frames; -1 where there is none.
        num_frames: Frames of a row at most.
        stride: Frames of the sensor that are merged to one.
        num_points: Points of a frame.
        mean: Mean of each value over training points, the frame number left out.
        std: What each is divided by; the same for x, y and z.
        bin_columns: Values of a point in ``.bin`` files.
        mirror_axis: Axis that is mirrored at random in training; -1 for none.
        rotation_deg: Largest turn about the third axis in training.
    """

    num_columns: int
    frame_column: int
    num_frames: int
    stride: int
    num_points: int
    mean: list[float]
    std: list[float]
    bin_columns: int = DEFAULT_BIN_COLUMNS
    mirror_axis: int = -1
    rotation_deg: float = 0.0

    name: ClassVar[str] = "points"
    summary: ClassVar[str] = "point clouds and sequences of them (lidar, radar), to frames of points"
    paper: ClassVar[str] = "Qi et al. 2017, arXiv 1612.00593; PCD 0.7; Geiger et al. 2013 (KITTI)"
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    is_json: ClassVar[bool] = True
    endings: ClassVar[frozenset[str]] = frozenset({".bin", ".pcd", ".ply", ".las", ".laz", ".xyz", ".off"})
    Settings: ClassVar[type[BaseModel]] = PointsSettings

    @property
    def num_features(self) -> int:
        """Values of a point in the arrays: its own, and last whether it is a point (1) or padding (0)."""
        return len(self.mean) + 1

    @property
    def num_axes(self) -> int:
        """Number of leading values that are coordinates."""
        return min(NUM_AXES, len(self.mean))

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: PointsSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Points:
        """Fit frames, points per frame, means and scales on at most 1,000 of the cells.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            The fitted modality; of single clouds of one point where no cell can be read.
        """
        bin_columns = settings.bin_columns or _find_bin_columns(cells, folder, num_threads)
        read = partial(read_point_clouds, folder=folder, bin_columns=bin_columns)
        first = [frames for _, frames in sample_cells(cells, read, DETECT_SAMPLE, num_threads)]
        num_columns = _most_common([frames[0].shape[1] for frames in first])
        column = _frame_column(settings, [frames for frames in first if frames[0].shape[1] == num_columns])
        measure = partial(_count_and_sample, read=read, num_columns=num_columns, frame_column=column)
        found = [measured for _, measured in sample_cells(cells, measure, FIT_SAMPLE, num_threads)]
        lengths = np.array([len(counts) for counts, _ in found] or [1])
        covered_length = math.ceil(np.quantile(lengths, COVERED_SHARE))
        stride = math.ceil(covered_length / settings.frames)
        num_frames = min(settings.frames, math.ceil(covered_length / stride))
        points = np.concatenate([np.zeros((0, num_columns - (column >= 0))), *(points for _, points in found)])
        mean, std = _fit_mean_std(points)
        return cls(
            num_columns=num_columns,
            frame_column=column,
            num_frames=num_frames,
            stride=stride,
            num_points=settings.points or _choose_num_points([counts for counts, _ in found], stride, num_frames),
            mean=mean.tolist(),
            std=std.tolist(),
            bin_columns=bin_columns,
            mirror_axis=settings.mirror_axis,
            rotation_deg=settings.rotation_deg,
        )

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Read clouds, each distinct cell once.

        Args:
            cells: Arrays, nested lists or JSON text, or paths or bytes of files, as ``read_point_clouds`` takes them.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            float32 ``[rows, frames, points, features]``, as long as the longest sequence, the last feature 1 for a
            point and 0 for padding; with lengths in frames; and the broken cells: with another number of
            values a point, or without any point.
        """
        work = map_cells(partial(self._read, folder=folder))
        return decode_ragged(cells, work, (self.num_points, self.num_features), np.float32, num_threads)

    def _read(self, cell: Cell, folder: Path | None) -> NDArray[np.float32]:
        frames = to_frames(read_point_clouds(cell, folder, self.bin_columns), self.num_columns, self.frame_column)
        merged = merge_frames(frames, self.stride, self.num_frames)
        values = np.zeros((len(merged), self.num_points, self.num_features), np.float32)
        for place, frame in enumerate(merged):
            chosen = frame[_subsample(frame, self.num_points)]
            values[place, : len(chosen), :-1] = standardise(chosen, np.array(self.mean), np.array(self.std))
            values[place, : len(chosen), -1] = 1
        return values

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:
        """Count the clouds of which not every point is used.

        Args:
            cells: As in ``transform``; at most 200 are looked at.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read files.

        Returns:
            The counts.
        """
        measure = partial(self._largest_frame, folder=folder)
        found = [points for _, points in sample_cells(cells, measure, CUT_SAMPLE, num_threads)]
        num_cut = sum(points > self.num_points for points in found)
        effect = f"have more than {self.num_points:,} points in a frame; so many are drawn at random"
        return Cut(num_cut, len(found), effect, "points")

    def _largest_frame(self, cell: Cell, folder: Path | None) -> int:
        frames = to_frames(read_point_clouds(cell, folder, self.bin_columns), self.num_columns, self.frame_column)
        return max(map(len, merge_frames(frames, self.stride, self.num_frames)))

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:
        """Report the number of values a point in ``.bin`` files where the cells decided it.

        Args:
            column: The column's name.
            asked: Options that the user gave.

        Returns:
            A sentence for the user; empty where there is nothing to say.
        """
        if asked.get("bin_columns") or self.bin_columns == DEFAULT_BIN_COLUMNS:
            return ""
        return (
            f"The .bin files of the column {column!r} are read as {self.bin_columns} values a point, which their "
            "values suggest; the setting bin_columns overrules that."
        )

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Points:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def _find_bin_columns(cells: Sequence[Cell], folder: Path | None, num_threads: int | None) -> int:
    def content_of(cell: Cell) -> bytes:
        content, ending = read_content(cell, folder)
        if ending != ".bin" or not isinstance(content, bytes):
            raise CellReadError("is no .bin file")
        return content

    return detect_bin_columns([found for _, found in sample_cells(cells, content_of, BIN_SAMPLE, num_threads)])


def to_frames(frames: list[Cloud], num_columns: int, frame_column: int) -> list[Cloud]:
    """Check the number of values of a point, split clouds into frames and drop points that are not finite.

    Args:
        frames: What ``read_point_clouds`` returned.
        num_columns: Values of a point in training.
        frame_column: Column that counts frames; -1 for none.

    Returns:
        One cloud a frame, without the frame number.

    Raises:
        CellReadError: If the points have another number of values, or none is finite.
    """
    found = frames[0].shape[1]
    if found != num_columns:
        raise CellReadError(f"holds points of {found} values; expected {num_columns}, as in training")
    if frame_column >= 0:
        frames = split_frames(np.concatenate(frames), frame_column)
    finite = [frame[np.isfinite(frame).all(axis=1)] for frame in frames]
    if not any(map(len, finite)):
        raise CellReadError(
            f"is an empty cloud: each of its {sum(map(len, frames)):,} points has a NaN or infinite value"
        )
    return finite


def merge_frames(frames: list[Cloud], stride: int, num_frames: int) -> list[Cloud]:
    """Merge neighbouring frames.

    Args:
        frames: One cloud a frame.
        stride: Frames that become one; more of them where there were more than ``num_frames`` otherwise.
        num_frames: Frames at most.

    Returns:
        Fewer clouds, of more points each.
    """
    total = len(frames)
    count = min(num_frames, -(-total // stride))
    if count == total:
        return frames
    starts = [place * stride for place in range(count)] if count * stride >= total else _equal_starts(total, count)
    return [np.concatenate(frames[start:stop]) for start, stop in zip(starts, [*starts[1:], total], strict=True)]


def _equal_starts(total: int, count: int) -> list[int]:
    return [place * total // count for place in range(count)]


def _subsample(frame: Cloud, num_points: int) -> NDArray[np.int64] | slice:
    """Sample points of a frame that has too many; the seed depends on its content."""
    if len(frame) <= num_points:
        return slice(None)
    seed = zlib.crc32(np.ascontiguousarray(frame).tobytes())
    return np.sort(np.random.default_rng(seed).choice(len(frame), num_points, replace=False))


def _frame_column(settings: PointsSettings, cells: list[list[Cloud]]) -> int:
    if settings.frame_column is not None:
        width = cells[0][0].shape[1] if cells else settings.frame_column + 1
        if settings.frame_column >= width:
            raise parameter_error("frame_column", "the modality 'points'", f"below {width}", settings.frame_column)
        return settings.frame_column
    if any(len(frames) > 1 for frames in cells):
        return -1
    found = detect_frame_column([frames[0] for frames in cells if frames[0].shape[1] > NUM_AXES - 1])
    return -1 if found is None else found


def _count_and_sample(
    cell: Cell, read: Any, num_columns: int, frame_column: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many points each frame of a cell has, and some of the points ``[points, values]``."""
    frames = to_frames(read(cell), num_columns, frame_column)
    points = np.concatenate(frames)
    return np.array([len(frame) for frame in frames]), subsample_rows(points, POINTS_PER_CELL)


def _fit_mean_std(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, std = fit_robust_scale(points)
    axes = min(NUM_AXES, points.shape[1])
    _, std[:axes] = fit_robust_scale((points - mean)[:, :axes].reshape(-1, 1))
    return mean, std


def _choose_num_points(counts: list[NDArray[np.int64]], stride: int, num_frames: int) -> int:
    merged = [
        int(part.sum()) for cell in counts for part in np.array_split(cell, min(num_frames, -(-len(cell) // stride)))
    ]
    covered = math.ceil(np.quantile(merged, COVERED_SHARE)) if merged else 1
    return max(1, min(covered, MAX_POINTS, MAX_POINTS_PER_ROW // num_frames))


def _most_common(counts: list[int]) -> int:
    found = Counter(counts)
    return max(found, key=lambda count: (found[count], -count), default=NUM_AXES)
