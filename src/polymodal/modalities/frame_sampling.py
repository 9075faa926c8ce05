"""Which frames of a video are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.stretch import Span, span_of


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames of a video are read.

    Attributes:
        frames: Maximum number of frames.
        rate_hz: Frames per second, from the beginning; None samples evenly over the whole video.
        max_pixels: A video whose frames have more is refused.
        max_duration_s: The video is read up to this time.
        span: The stretch that is read; None reads all of it.
    """

    frames: int
    rate_hz: float | None
    max_pixels: int
    max_duration_s: float
    span: Span | None = None

    def indices(self, starts_s: NDArray[np.float64], end_s: float) -> NDArray[np.int64]:
        """Sample the frames that are shown in the middle of equal intervals of time.

        Args:
            starts_s: float64 ``[frames]``, ascending: presentation time of each frame in seconds.
            end_s: End of the last frame in seconds.

        Returns:
            Frame indices, ascending; a frame that is shown for long may be repeated. Of a video at a constant rate with
            at most ``frames`` frames, each frame is sampled once.
        """
        first_s, last_s = self.limits(float(starts_s[0]), end_s)
        duration = last_s - first_s
        if self.rate_hz is None:
            num = min(self.frames, max(1, int(((starts_s >= first_s) & (starts_s < last_s)).sum())))
            step = duration / num
        else:
            num = min(self.frames, max(1, round(duration * self.rate_hz)))
            step = 1 / self.rate_hz
        times = first_s + (np.arange(num) + 0.5) * step
        return np.asarray(np.searchsorted(starts_s, times, side="right") - 1, np.int64)

    def limits(self, first_s: float, end_s: float) -> tuple[float, float]:
        """Return when the stretch begins and ends.

        Args:
            first_s: Presentation time of the first frame in seconds.
            end_s: End of the last frame in seconds.

        Returns:
            Both times in seconds.

        Raises:
            CellReadError: If the video ends before the stretch begins.
        """
        if self.span is None:
            return first_s, end_s
        if first_s + self.span.start_s >= end_s:
            raise CellReadError(f"is {end_s - first_s:g} s long, and its stretch starts at {self.span.start_s:g} s")
        return first_s + self.span.start_s, min(end_s, first_s + self.span.end_s)

    def of_cell(self, cell: Cell) -> FrameSampling:
        """Return the sampling of one cell: of its stretch where it names one."""
        span = span_of(cell)
        if span is None:
            return self
        end_s = min(span.end_s, span.start_s + self.max_duration_s)
        return replace(self, span=Span(span.start_s, end_s), max_duration_s=end_s)
