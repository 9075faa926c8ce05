"""Detects the modality of arrays and lists of numbers from shape, dtype and column name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polymodal.modalities import Series
from polymodal.modalities.array_files import to_nested_lists
from polymodal.modalities.point_clouds import detect_frame_column

Shape = tuple[int, ...]

MAX_SAMPLED_ARRAYS = 20
"""Maximum number of cells that are read."""
POINT_WORDS = ("point", "cloud", "lidar", "radar")
SERIES_WORDS = re.compile(
    r"series|sensor|signal|acceler|gyro|magnetom|(?<![a-z])(?:imu|ecg|ekg|eeg|emg|ppg|trace)(?![a-z])"
)
MIN_SERIES_LENGTH = 16
"""Minimum length of lists of equal length that a column name like "signal" makes a series; shorter ones are vectors."""
POINT_WIDTH = 3
IMAGE_CHANNELS = frozenset({1, 3, 4})


@dataclass(frozen=True)
class ArrayCells:
    """Arrays of a column, or the headers of array files.

    Attributes:
        name: The column's name.
        shapes: Shapes of some cells.
        dtype: Their type.
        arrays: Some of the cells, if they are loaded.
        is_archive: Whether they come from ``.npz`` files.
    """

    name: str
    shapes: Sequence[Shape]
    dtype: np.dtype[Any]
    arrays: Sequence[np.ndarray[Any, Any]] = ()
    is_archive: bool = False

    @property
    def shape(self) -> Shape:
        """Shape of the first cell."""
        return self.shapes[0]


def names_points(name: str) -> bool:
    """Return whether a column's name suggests point clouds."""
    return any(word in name.lower() for word in POINT_WORDS)


def names_series(name: str) -> bool:
    """Return whether a column's name suggests a sensor series."""
    return SERIES_WORDS.search(name.lower()) is not None


def are_clouds(name: str, ending: str) -> bool:
    """Return whether table files with an ending, in lower case with its dot, hold clouds by the column's name."""
    return ending in Series.endings and names_points(name)


def points_reason(cells: ArrayCells) -> str | None:
    """Return why arrays are point clouds (by name or by a column of frame numbers); None if they are not."""
    shape = cells.shape
    if cells.dtype == np.uint8 or len(shape) not in {2, 3} or shape[-1] < POINT_WIDTH:
        return None
    if names_points(cells.name):
        return f"the cells are arrays [{'frames, ' if len(shape) == 3 else ''}points, {shape[-1]}] by the name"
    if len(shape) == 2 and shape[1] > POINT_WIDTH and not names_series(cells.name):
        frames = _frame_column(cells.arrays)
        about = f"the cells are arrays [points, {shape[1]}] whose column {frames} counts frames"
        return None if frames is None else about
    return None


def _frame_column(arrays: Sequence[np.ndarray[Any, Any]]) -> int | None:
    """Detect a column of frame numbers whose numbers of points vary; in a column of seconds they are constant."""
    clouds = [array.astype(np.float64) for array in arrays[:MAX_SAMPLED_ARRAYS] if array.ndim == 2]
    column = detect_frame_column(clouds)
    if column is None:
        return None
    counts = [np.unique(cloud[:, column], return_counts=True)[1][:-1] for cloud in clouds]
    return column if any(len(found) and np.ptp(found) > 1 for found in counts) else None


def ragged_points_reason(cells: Sequence[list[Any]]) -> str | None:
    """Return why ragged lists are point clouds; None if they are not."""
    widths = {
        _point_width(frame) for cell in cells[:MAX_SAMPLED_ARRAYS] for frame in to_nested_lists(cell) if frame != []
    }
    is_cloud = len(widths) == 1 and min(widths) >= POINT_WIDTH
    return f"the cells are lists of arrays [points, {min(widths)}]" if is_cloud else None


def _point_width(frame: Any) -> int:
    """Return the number of values of a cloud's points, 0 if it is not a cloud."""
    if not isinstance(frame, list) or not all(isinstance(point, list) for point in frame):
        return 0
    return len(frame[0]) if len({len(point) for point in frame}) == 1 else 0


def image_reason(cells: ArrayCells) -> str | None:
    """Return why arrays are images; None if they are not."""
    shape = cells.shape
    if len(shape) == 2 and cells.dtype == np.uint8:
        return "the cells are arrays [height, width] of bytes"
    is_picture = len(shape) == 3 and shape[2] in IMAGE_CHANNELS
    return f"the cells are arrays [height, width, {shape[2]}]" if is_picture else None


def video_reason(cells: ArrayCells) -> str | None:
    """Return why arrays are videos; None if they are not."""
    shape = cells.shape
    if cells.dtype == np.uint8 and len(shape) == 4:
        return "the cells are arrays [frames, height, width, channels]"
    if cells.dtype == np.uint8 and len(shape) == 3 and shape[0] not in IMAGE_CHANNELS:
        return "the cells are arrays [frames, height, width] of bytes"
    return None


def series_reason(cells: ArrayCells) -> str | None:
    """Return why arrays are series; None if they are not."""
    if len(cells.shape) == 2:
        return f"the cells are arrays [time, {cells.shape[1]}]"
    if len(cells.shape) != 1:
        return None
    lengths = [shape[0] for shape in cells.shapes]
    if len(set(cells.shapes)) > 1 or (lengths[0] >= MIN_SERIES_LENGTH and names_series(cells.name)):
        return f"the cells are lists of {min(lengths)} to {max(lengths)} numbers"
    return vector_reason(cells) if cells.is_archive else None


def vector_reason(cells: ArrayCells) -> str | None:
    """Return why arrays are vectors; None if they are not."""
    return f"the cells are lists of {cells.shape[0]} numbers" if len(cells.shape) == 1 else None
