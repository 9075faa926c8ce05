"""Corruptions of point clouds and sequences of them: dropout and jitter.

Both are corruptions of ModelNet-C (Ren, Pan & Liu 2022, arXiv 2202.03377). Differs from the source: jitter is
measured by the spread of the training points, because clouds here are in any unit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptCell, CorruptionContext
from polymodal.modalities.point_clouds import Cloud, detect_frame_column, read_point_clouds

BIN_COLUMNS = 4
NUM_AXES = 3


def on_frames(corrupt: Callable[[Cloud, float, np.random.Generator, CorruptionContext], Cloud]) -> CorruptCell:
    """Turn a corruption of a cloud into one of cells.

    Args:
        corrupt: From a cloud ``[points, values]``, level, random numbers and context to a cloud.

    Returns:
        The corruption of a cell; the corrupted cell is a float64 array, or a list of them, one a frame.
    """

    def corrupt_cell(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
        frames = read_point_clouds(cell, context.folder, context.option("bin_columns", BIN_COLUMNS))
        if not any(_finite(frame).any() for frame in frames):
            return cell
        corrupted = [corrupt(frame, level, random, context) if _finite(frame).any() else frame for frame in frames]
        return corrupted[0] if len(corrupted) == 1 else corrupted

    return corrupt_cell


def _finite(cloud: Cloud) -> NDArray[np.bool_]:
    """Tell which points have only finite values; the others are left out where clouds are read."""
    return np.asarray(np.isfinite(cloud).all(axis=1))


def drop_points(cloud: Cloud, level: float, random: np.random.Generator, context: CorruptionContext) -> Cloud:  # noqa: ARG001
    """Lose points at random.

    Args:
        cloud: float64 ``[points, values]``.
        level: Share of the points that are lost; one stays at least, and none that is not finite.
        random: Random numbers.
        context: Not needed.

    Returns:
        The points that are left, in their order.
    """
    chances = np.where(_finite(cloud), random.random(len(cloud)), 0.0)
    left: Cloud = cloud[(chances >= level) | (chances == chances.max())]
    return left


def jitter_points(cloud: Cloud, level: float, random: np.random.Generator, context: CorruptionContext) -> Cloud:
    """Add Gaussian noise to the coordinates.

    Args:
        cloud: float64 ``[points, values]``; the first three are coordinates, a column of frame numbers left aside.
        level: Standard deviation in spreads of the coordinates: of the training points, or, where the column is not
            fitted, of the cloud's own.
        random: Random numbers.
        context: Fitted modality.

    Returns:
        The same shape; other values of a point are as they were.
    """
    frame_column = context.option("frame_column", None)
    if frame_column is None:
        frame_column = detect_frame_column([cloud])
    axes = [column for column in range(cloud.shape[1]) if column != frame_column][:NUM_AXES]
    own = np.nan_to_num(np.nanstd(cloud[:, axes], axis=0).max(initial=0.0))
    spread = context.option("std", [own])[0]
    moved: Cloud = cloud.copy()
    moved[:, axes] += level * spread * random.standard_normal((len(cloud), len(axes)))
    return moved
