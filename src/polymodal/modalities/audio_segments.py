"""Segments of long clips: their length, where they lie, and how they are read (numpy only).

A clip that is longer than a segment is encoded segment by segment, as audio taggers do with recordings (Gemmeke et al.
2017, AudioSet: segments of 10 s). Up to a number of segments they follow each other and are the whole clip; of a longer
one so many are spread evenly from its beginning to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.audio_files import duration_s, load_clip, load_stereo, load_stretches

WHOLE_S = 30.0
"""A column without longer clips has one segment a clip."""
SHORTEST_S, LONGEST_S = 5.0, 10.0
"""Range of the length of a segment in a column with longer clips."""
ROUNDING_S = 0.001
"""A clip that is longer by less is not longer: resampling rounds."""

Part = tuple[float, NDArray[np.float32]]
"""Where a part begins, in seconds of the clip, and its samples ``[samples, channels]``."""


def choose_segment_s(durations_s: Sequence[float], max_duration_s: float) -> float:
    """Choose the length of a segment from the lengths of training clips.

    Args:
        durations_s: Seconds of the clips.
        max_duration_s: The rest of a clip is not read.

    Returns:
        30 s where no clip is longer; else the median, but 5 to 10 s.
    """
    used = np.minimum(np.asarray(durations_s, np.float64), max_duration_s)
    if not len(used) or used.max() <= WHOLE_S:
        return WHOLE_S
    return float(np.clip(np.median(used), SHORTEST_S, LONGEST_S))


@dataclass(frozen=True)
class SegmentReader:
    """Reads clips whole, or of very long ones some segments.

    Attributes:
        sample_rate_hz: Rate of what is read.
        channels: 1 or 2.
        max_duration_s: The rest of a clip is not read.
        segment_length: Samples of a segment.
        max_segments: Most segments of a clip.
        overlap: Samples behind a segment that its last frame reaches into.
    """

    sample_rate_hz: int
    channels: int
    max_duration_s: float
    segment_length: int
    max_segments: int
    overlap: int

    @property
    def whole_s(self) -> float:
        """Seconds of the longest clip that is read whole."""
        return self.segment_length * self.max_segments / self.sample_rate_hz

    def read(self, cell: Cell, folder: Path | None) -> list[Part]:
        """Read a clip.

        Args:
            cell: Path, bytes, struct, array, or ``(array, rate)``.
            folder: Base folder of relative paths; None: strings are not opened as paths.

        Returns:
            The whole clip as one part; of one with more than ``max_segments`` segments, so many parts, spread evenly,
            each of a segment and the overlap.

        Raises:
            CellReadError: If there is no readable audio.
        """
        load = load_stereo if self.channels == 2 else load_clip
        limit_s = min(self.max_duration_s, self.whole_s + 2 * ROUNDING_S)
        clip = load(cell, folder, self.sample_rate_hz, limit_s).reshape(-1, self.channels)
        whole = round(self.whole_s * self.sample_rate_hz)
        if len(clip) <= whole + ROUNDING_S * self.sample_rate_hz:
            return [(0.0, clip[:whole])]
        length_s = duration_s(cell, folder, self.sample_rate_hz, self.max_duration_s)
        part_s = (self.segment_length + self.overlap) / self.sample_rate_hz
        last_s = max(min(length_s, self.max_duration_s) - part_s, 0.0)
        starts_s = np.linspace(0, last_s, self.max_segments).tolist()
        parts = load_stretches(cell, folder, self.sample_rate_hz, self.channels, starts_s, part_s)
        return [(start_s, self._exactly(part)) for start_s, part in zip(starts_s, parts, strict=True) if len(part)]

    def _exactly(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut or fill a part up to the same number of samples: resampling may give one more or less."""
        missing = max(self.segment_length + self.overlap - len(part), 0)
        return np.pad(part, ((0, missing), (0, 0)))[: self.segment_length + self.overlap]
