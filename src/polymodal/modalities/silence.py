"""Detection of silence at the ends of clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRIM_DB = 50.0
"""Default threshold: blocks this far below the loudest one are silent."""
MIN_SILENT_SHARE = 0.5
BLOCKS_PER_S = 100
MARGIN_BLOCKS = 2


def non_silent_span(clip: NDArray[np.float32], sample_rate_hz: int, trim_db: float) -> slice:
    """Find the part of a clip between silent ends.

    Args:
        clip: float32 ``[samples]`` or ``[samples, channels]``, at least one.
        sample_rate_hz: Samples per second.
        trim_db: A block of 10 ms is silent if its power is this far below the loudest block's.

    Returns:
        From 20 ms before the first block that is not silent to 20 ms after the last; the whole clip
        where all of it is digital silence.
    """
    block = max(1, sample_rate_hz // BLOCKS_PER_S)
    starts = np.arange(0, len(clip), block)
    squares = clip.astype(np.float64).reshape(len(clip), -1) ** 2
    energy = np.add.reduceat(squares.sum(axis=1), starts)
    power = energy / np.minimum(block, len(clip) - starts)
    if not power.max() > 0:
        return slice(0, len(clip))
    loud = np.flatnonzero(power > power.max() * 10 ** (-trim_db / 10))
    first, last = max(0, int(loud[0]) - MARGIN_BLOCKS), int(loud[-1]) + 1 + MARGIN_BLOCKS
    return slice(first * block, min(len(clip), last * block))


def choose_trim_db(clips: Sequence[NDArray[np.float32]], sample_rate_hz: int) -> float:
    """Choose the threshold at which silent ends are trimmed, or none.

    It is where half of the clips are silent for half of their length, as sounds placed in digital
    silence are. Recordings with a noise of their own are left whole.

    Args:
        clips: Training clips, float32 ``[samples]`` or ``[samples, channels]`` each.
        sample_rate_hz: Samples per second.

    Returns:
        The threshold in decibels, or 0 for none.
    """
    shares = [1 - _length(non_silent_span(clip, sample_rate_hz, TRIM_DB)) / len(clip) for clip in clips]
    return TRIM_DB if shares and float(np.median(shares)) >= MIN_SILENT_SHARE else 0.0


def _length(span: slice) -> int:
    return int(span.stop - span.start)
