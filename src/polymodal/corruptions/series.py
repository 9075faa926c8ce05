"""Corruptions of sensor series: drift, gaps, lost channels, noise.

Drift, missing data and noise are among the errors of sensors that Teh, Kempa-Liehr & Wang 2020 (Sensor data quality: a
systematic review) found reported most often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptCell, CorruptionContext
from polymodal.modalities.series import Series, read_series

Steps = NDArray[np.float64]
"""``[time, channels]``; NaN where a sample is missing."""
CorruptSteps = Callable[[Steps, float, np.random.Generator, Steps], Steps]

MAX_GAPS = 4
"""Missing time is divided into at most so many gaps."""


def on_series(corrupt: CorruptSteps) -> CorruptCell:
    """Turn a corruption of steps into one of cells.

    Args:
        corrupt: From steps ``[time, channels]``, level, random numbers and the spread ``[channels]`` to steps.

    Returns:
        The corruption of a cell; the corrupted cell is a float64 array ``[time, channels]``, or ``[channels, time]``
        where the fitted modality reads it so, in the order of the training series. The cell as it is where no sample
        would be left.
    """

    def corrupt_cell(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
        steps = _read(cell, context)
        corrupted = corrupt(steps, level, random, _spread(steps, context))
        if not np.isfinite(corrupted).any():
            return cell
        return corrupted.T if context.option("channels_first", False) else corrupted

    return corrupt_cell


def _read(cell: Cell, context: CorruptionContext) -> Steps:
    modality, folder = context.modality, context.folder
    return modality.read_raw(cell, folder) if isinstance(modality, Series) else read_series(cell, folder)


def _spread(steps: Steps, context: CorruptionContext) -> Steps:
    """Return the fitted spread of each channel, or else that of the cell's own samples."""
    fitted = np.asarray(context.option("std", ()), np.float64)
    if fitted.shape == steps.shape[1:]:
        return fitted
    finite = np.isfinite(steps)
    return np.array(
        [channel[here].std() if here.any() else 0.0 for channel, here in zip(steps.T, finite.T, strict=True)]
    )


def drift(steps: Steps, level: float, random: np.random.Generator, spread: Steps) -> Steps:
    """Let each channel drift away from zero error at the start, up or down.

    Args:
        steps: float64 ``[time, channels]``.
        level: Error at the end, in spreads of the channel.
        random: Random numbers.
        spread: float64 ``[channels]``.

    Returns:
        The same shape.
    """
    signs = np.where(random.random(steps.shape[1]) < 0.5, -1.0, 1.0)
    return steps + np.linspace(0, level, len(steps))[:, None] * signs * spread


def leave_gaps(steps: Steps, level: float, random: np.random.Generator, spread: Steps) -> Steps:  # noqa: ARG001
    """Lose all channels for some stretches of time.

    Args:
        steps: float64 ``[time, channels]``.
        level: Share of the time that is lost, in at most four gaps; one step stays at least.
        random: Random numbers.
        spread: Not needed.

    Returns:
        The same shape, NaN in the gaps.
    """
    starts = random.random(MAX_GAPS)
    lost = min(round(level * len(steps)), len(steps) - 1)
    num_gaps = min(MAX_GAPS, max(lost, 1))
    corrupted = steps.copy()
    gone = np.zeros(len(steps), bool)
    for number, length in enumerate(np.diff(np.linspace(0, lost, num_gaps + 1).astype(int))):
        free = len(steps) // num_gaps
        first = number * free + int(starts[number] * max(free - length + 1, 1))
        gone[first : first + length] = True
    corrupted[gone] = np.nan
    return corrupted


def lose_channels(steps: Steps, level: float, random: np.random.Generator, spread: Steps) -> Steps:  # noqa: ARG001
    """Lose some channels from a moment in the first half on.

    Args:
        steps: float64 ``[time, channels]``.
        level: Share of the channels that are lost, one at least.
        random: Random numbers.
        spread: Not needed.

    Returns:
        The same shape, NaN where a channel is lost.
    """
    order = random.permutation(steps.shape[1])
    moments = 1 + np.floor(random.random(steps.shape[1]) * len(steps) / 2).astype(np.int64)
    corrupted = steps.copy()
    for channel in order[: max(1, round(level * steps.shape[1]))]:
        corrupted[moments[channel] :, channel] = np.nan
    return corrupted


def add_series_noise(steps: Steps, level: float, random: np.random.Generator, spread: Steps) -> Steps:
    """Add Gaussian noise to each sample.

    Args:
        steps: float64 ``[time, channels]``.
        level: Standard deviation in spreads of the channel.
        random: Random numbers.
        spread: float64 ``[channels]``.

    Returns:
        The same shape.
    """
    return steps + level * spread * random.standard_normal(steps.shape)
