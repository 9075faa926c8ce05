"""Loads point clouds and sequences of them from any cell (numpy)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.array_files import as_numbers, load_named_numbers, read_content
from polymodal.modalities.base import CellReadError
from polymodal.modalities.ply_files import LAS_MAGIC, PLY_MAGIC, is_off, load_las, load_off, load_ply, load_xyz
from polymodal.modalities.point_files import axes_first, is_pcd, load_bin, load_pcd

Cloud = NDArray[np.float64]
"""``[points, features]``."""

READERS: dict[bytes, Callable[[bytes], NDArray[Any]]] = {PLY_MAGIC: load_ply, LAS_MAGIC: load_las}
SEQUENCES = (list, tuple, np.ndarray)
BIN_COLUMNS = (3, 4, 5, 6)
MAX_BIN_POINTS = 20_000
GOOD_SHARE = 0.8
MAX_FRAMES = 100_000
MIN_POINTS_PER_FRAME = 2.0
MAX_FIRST_FRAME = 2


def read_point_clouds(cell: Cell, folder: Path | None, bin_columns: int = 4) -> list[Cloud]:
    """Read a cell's point cloud, or its clouds frame by frame.

    Args:
        cell: Path or bytes of a ``.npy``, ``.npz``, ``.bin``, ``.pcd``, ``.ply``, ``.las``, ``.laz``, ``.off``,
            ``.xyz``, ``.csv`` or ``.parquet`` file, an array or nested lists ``[points, features]`` or
            ``[frames, points, features]``, a list of arrays, or JSON text.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        bin_columns: Values of a point in ``.bin`` files.

    Returns:
        One float64 ``[points, features]`` a frame, as they stand there; a single cloud is one frame.

    Raises:
        CellReadError: If there are no such points.
    """
    content, ending = read_content(cell, folder)
    if isinstance(content, bytes):
        content = _load_file(content, ending, bin_columns)
    frames = _as_frames(content)
    if not sum(len(frame) for frame in frames):
        raise CellReadError("is an empty cloud: it holds no points")
    return frames


def _load_file(content: bytes, ending: str, bin_columns: int) -> NDArray[Any]:
    if is_pcd(content):
        return load_pcd(content)
    reader = next((read for magic, read in READERS.items() if content.startswith(magic)), None)
    if reader is not None:
        return reader(content)
    if ending == ".bin":
        return load_bin(content, bin_columns)
    if ending == ".off" or is_off(content):
        return load_off(content)
    if ending == ".xyz":
        return load_xyz(content)
    values, names = load_named_numbers(content)
    return values[:, axes_first(names)] if names else values


def _as_frames(content: Any) -> list[Cloud]:
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = list(content)
    if isinstance(content, list | tuple) and _is_ragged(content):
        return _same_features([_as_cloud(as_numbers(frame)) for frame in content])
    values = as_numbers(content)
    if values.ndim == 3:
        return list(values.astype(np.float64))
    return [_as_cloud(values)]


def _is_ragged(content: Sequence[Any]) -> bool:
    """Return whether a list holds clouds of different sizes rather than one array."""
    frames = [frame for frame in content if isinstance(frame, SEQUENCES)]
    has_clouds = any(len(frame) and isinstance(frame[0], SEQUENCES) for frame in frames)
    return has_clouds and len({len(frame) for frame in frames}) > 1


def _as_cloud(values: NDArray[Any]) -> Cloud:
    if not values.size:
        return np.zeros((0, values.shape[1] if values.ndim == 2 else 0))
    if values.ndim != 2:
        raise CellReadError(
            f"is an array of shape {list(values.shape)}; expected [points, features] or [frames, points, features]"
        )
    return values.astype(np.float64)


def _same_features(frames: list[Cloud]) -> list[Cloud]:
    """Check that all frames have the same number of features; empty frames get that number."""
    widths = {frame.shape[1] for frame in frames if len(frame)}
    if len(widths) > 1:
        raise CellReadError(
            f"holds frames of {', '.join(map(str, sorted(widths)))} values a point; expected one number"
        )
    return [frame if len(frame) else np.zeros((0, *widths)) for frame in frames]


def detect_bin_columns(contents: Sequence[bytes]) -> int:
    """Detect how many float32 values a point of ``.bin`` files has.

    Read with the right number, each column holds values of one kind: coordinates of one axis, intensities, rings. The
    number is chosen by the share of the values' variance that their column explains, of the ranks of values so that no
    outlier decides; multiples of the right number explain as much, so that the smallest of the good ones is taken.

    Args:
        contents: Files of training cells.

    Returns:
        3 to 6; 4, as KITTI writes points, where no number fits four of five files. Empty files do not count.
    """
    fitting = {columns: [c for c in contents if c and len(c) % (4 * columns) == 0] for columns in BIN_COLUMNS}
    fewest = max(1, GOOD_SHARE * sum(map(bool, contents)))
    explained = {
        columns: np.mean([_explained(content, columns) for content in fit])
        for columns, fit in fitting.items()
        if len(fit) >= fewest
    }
    if not explained:
        return BIN_COLUMNS[1]
    best = max(explained.values())
    return min(columns for columns, share in explained.items() if share >= GOOD_SHARE * best)


def _explained(content: bytes, columns: int) -> float:
    values = np.frombuffer(content[: 4 * columns * MAX_BIN_POINTS], "<f4").astype(np.float64)
    order = np.argsort(np.argsort(np.nan_to_num(values), kind="stable"))
    ranks = (order / max(len(order) - 1, 1)).reshape(-1, columns)
    return float(np.var(ranks.mean(axis=0)) + np.var(ranks.std(axis=0)))


def detect_frame_column(clouds: Sequence[Cloud]) -> int | None:
    """Detect the column of frame numbers: ascending integers from near 0, several points to each.

    Args:
        clouds: Single clouds of training cells.

    Returns:
        The column, the last one where several could be, or None.
    """
    long = [cloud for cloud in clouds if len(cloud) >= 2 * MIN_POINTS_PER_FRAME]
    width = min((cloud.shape[1] for cloud in long), default=0)
    candidates = [column for column in range(width) if all(_counts_frames(cloud[:, column]) for cloud in long)]
    return candidates[-1] if candidates else None


def _counts_frames(values: NDArray[np.float64]) -> bool:
    if not np.isfinite(values).all() or not np.array_equal(values, np.round(values)) or (np.diff(values) < 0).any():
        return False
    num_frames = len(np.unique(values))
    is_dense = len(values) >= MIN_POINTS_PER_FRAME * num_frames and values[-1] - values[0] < 2 * num_frames
    return bool(0 <= values[0] <= MAX_FIRST_FRAME and num_frames > 1 and is_dense)


def split_frames(cloud: Cloud, column: int) -> list[Cloud]:
    """Split a cloud into frames by a column of frame numbers.

    Args:
        cloud: ``[points, features]``, in any order.
        column: The column.

    Returns:
        One cloud a frame without that column, from the first to the last frame with points; others may have none.

    Raises:
        CellReadError: If the column holds no frame numbers.
    """
    index = cloud[:, column]
    finite = np.isfinite(index)
    index, cloud = index[finite], np.delete(cloud[finite], column, axis=1)
    if not len(index):
        raise CellReadError("is an empty cloud: it holds no point with a frame number")
    wrong = index[(index != np.round(index)) | (np.abs(index) >= 2**53)]
    if len(wrong):
        raise CellReadError(f"holds {wrong[0]:g} in column {column}; expected whole frame numbers")
    index = index - index.min()
    if index.max() >= MAX_FRAMES:
        raise CellReadError(
            f"spans {int(index.max()) + 1:,} frames by column {column}; expected {MAX_FRAMES:,} at most"
        )
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(int(index.max()) + 2))
    return [cloud[order[start:stop]] for start, stop in pairwise(starts.tolist())]
