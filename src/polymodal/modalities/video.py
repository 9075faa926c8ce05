"""Video: any container, rate and size to ``uint8 [rows, frames, height, width, channels]``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import Cut, Modality, Settings
from polymodal.modalities.container import check_av, is_media_file
from polymodal.modalities.decoding import decode_fixed, map_cells, sample_cells
from polymodal.modalities.frame_sampling import FrameSampling
from polymodal.modalities.image import GREY_TOLERANCE, choose_size
from polymodal.modalities.image_files import convert_mode
from polymodal.modalities.letterbox import resize_and_pad
from polymodal.modalities.media import unwrap
from polymodal.modalities.video_frames import load_frames, probe_video

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SAMPLE_SIZE = 64
CHUNK_SIZE = 4
MAX_SAMPLED_PIXELS = 1_000_000
ENDINGS = frozenset({".mp4", ".m4v", ".mpg", ".mpeg", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv", ".3gp", ".ogv",
                     ".mts", ".m2ts", ".vob", ".m2v", ".asf", ".mxf", ".qt"})  # fmt: skip


class VideoSettings(Settings):
    """Options of video.

    Attributes:
        size: Height and width in pixels; None chooses both from the training videos.
        max_side: Largest height or width that is chosen from the training videos.
        frames: Frames of a video at most; None takes the training videos' median number, at most ``max_frames``.
        max_frames: Largest number of frames that is chosen from the training videos.
        rate_hz: Frames per second, from the beginning of the video on; None spreads the frames evenly over it.
        channels: 1 for grey, 3 for colour; None chooses grey where every sampled video is grey.
        max_pixels: A video whose frames have more is refused before it is decoded.
        max_duration_s: The video is read up to this time.
    """

    size: int | None = Field(default=None, ge=4, le=512)
    max_side: int = Field(default=96, ge=8, le=512)
    frames: int | None = Field(default=None, ge=1, le=512)
    max_frames: int = Field(default=16, ge=1, le=512)
    rate_hz: float | None = Field(default=None, gt=0, le=1000)
    channels: Literal[1, 3] | None = None
    max_pixels: int = Field(default=10_000_000, ge=1)
    max_duration_s: float = Field(default=600.0, gt=0)


@dataclass(frozen=True, kw_only=True)
class Video(Modality):
    """Videos as a number of frames of one size.

    Without a rate, frames are taken from the middle of equal stretches of the video's time, by their own
    timestamps, so that variable rates and wrong headers do not matter; a video with fewer frames gives fewer.
    Frames keep their aspect and are padded like images. Of several streams the default one is taken.
    The display matrix is applied. Arrays are ``[frames, height, width]`` or
    ``[frames, height, width, channels]``, and are assumed to have a constant frame rate.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 or 3.
        frames: Frames of a video at most.
        rate_hz: Frames per second; None spreads the frames over the video.
        mean: Mean of each channel over training videos, in 0..1.
        std: Standard deviation of each channel, in 0..1.
        max_pixels: Videos whose frames have more are refused.
        max_duration_s: The video is read up to this time.
    """

    height: int
    width: int
    channels: int
    frames: int
    rate_hz: float | None
    mean: list[float]
    std: list[float]
    max_pixels: int = 10_000_000
    max_duration_s: float = 600.0

    name: ClassVar[str] = "video"
    summary: ClassVar[str] = "video as files, bytes or arrays, to some frames of one size"
    paper: ClassVar[str] = "FFmpeg through PyAV; sparse sampling over the whole video (Wang et al. 2016, TSN)"
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    endings: ClassVar[frozenset[str]] = ENDINGS
    track: ClassVar[str] = "audio"
    Settings: ClassVar[type[BaseModel]] = VideoSettings

    @property
    def sampling(self) -> FrameSampling:
        """Which frames are read."""
        return FrameSampling(
            frames=self.frames,
            rate_hz=self.rate_hz,
            max_pixels=self.max_pixels,
            max_duration_s=self.max_duration_s,
        )

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: VideoSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Video:
        """Fit size, frames, channels, mean and standard deviation on a sample of the cells.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of decoding threads.

        Returns:
            The fitted modality; 32 x 32 where no video can be read.

        Raises:
            ConfigError: If there are files and PyAV is not installed.
        """
        _check_decoder(cells)
        draft = cls(
            height=8,
            width=8,
            channels=3,
            frames=settings.frames or settings.max_frames,
            rate_hz=settings.rate_hz,
            mean=[],
            std=[],
            max_pixels=settings.max_pixels,
            max_duration_s=settings.max_duration_s,
        )
        probes = sample_cells(
            cells, partial(probe_video, folder=folder, sampling=draft.sampling), SAMPLE_SIZE, num_threads
        )
        height, width = choose_size([shape for _, (shape, _, _) in probes], settings.size, settings.max_side)
        frames = settings.frames or _choose_frames([(num, duration) for _, (_, num, duration) in probes], settings)
        draft = cls(**{**draft.state(), "height": height, "width": width, "frames": frames})
        column, _ = draft.transform([cell for cell, _ in probes], folder, num_threads=num_threads)
        pixels = _valid_pixels(column)
        channels = settings.channels or (1 if _is_grey(pixels) else 3)
        mean, std = _channel_mean_std(pixels, channels)
        return cls(**{**draft.state(), "channels": channels, "mean": mean, "std": std})

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Decode videos, each distinct file once.

        Args:
            cells: Paths, bytes, structs or arrays.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of decoding threads.

        Returns:
            uint8 ``[rows, frames, height, width, channels]`` in 0..255 with lengths, and the broken cells.

        Raises:
            ConfigError: If there are files and PyAV is not installed.
        """
        _check_decoder(cells)
        work = map_cells(partial(self._decode, folder=folder))
        shape = (self.frames, self.height, self.width, self.channels)
        return decode_fixed(cells, work, shape, np.uint8, num_threads, chunk_size=CHUNK_SIZE, has_lengths=True)

    def _decode(self, cell: Cell, folder: Path | None) -> NDArray[np.uint8]:
        return np.stack(load_frames(cell, folder, self.sampling, self._resize))

    def _resize(self, image: PILImage) -> NDArray[np.uint8]:
        return resize_and_pad(convert_mode(image, "L" if self.channels == 1 else "RGB"), self.height, self.width)

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:
        """Count the videos that are longer than what is read of them.

        Args:
            cells: As in ``transform``; at most 64 are looked at.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of decoding threads.

        Returns:
            The counts.
        """
        frames_s = math.inf if self.rate_hz is None else self.frames / self.rate_hz
        limit_s = min(self.max_duration_s, frames_s)
        probe = partial(probe_video, folder=folder, sampling=replace(self.sampling, max_duration_s=1.1 * limit_s + 1))
        found = [duration for _, (_, _, duration) in sample_cells(cells, probe, SAMPLE_SIZE, num_threads)]
        tolerance_s = 0.1 if self.rate_hz is None else 1 / self.rate_hz
        effect = f"are longer than {limit_s:.3g} s; only the first {limit_s:.3g} s are used"
        option = "max_duration_s" if limit_s == self.max_duration_s else "frames"
        return Cut(sum(duration > limit_s + tolerance_s for duration in found), len(found), effect, option)

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Video:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def _check_decoder(cells: Sequence[Cell]) -> None:
    if any(is_media_file(unwrap(cell)) for cell in cells):
        check_av()


def _choose_frames(probes: list[tuple[int, float]], settings: VideoSettings) -> int:
    counts = [
        num if settings.rate_hz is None or not duration_s else max(1, round(duration_s * settings.rate_hz))
        for num, duration_s in probes
    ]
    return min(settings.max_frames, int(np.median(counts))) if counts else settings.max_frames


def _valid_pixels(column: Column) -> NDArray[np.uint8]:
    """Return the pixels ``[pixels, 3]`` of all valid frames."""
    assert column.lengths is not None
    parts = [values[:length].reshape(-1, 3) for values, length in zip(column.values, column.lengths, strict=True)]
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.uint8)


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    return not len(pixels) or int((pixels.max(axis=1) - pixels.min(axis=1)).max()) <= GREY_TOLERANCE


def _channel_mean_std(pixels: NDArray[np.uint8], channels: int) -> tuple[list[float], list[float]]:
    if not len(pixels):
        return [0.5] * channels, [0.25] * channels
    scaled = pixels[:: max(1, len(pixels) // MAX_SAMPLED_PIXELS)].astype(np.float64) / 255
    if channels == 1:
        scaled = scaled.mean(axis=1, keepdims=True)
    mean, std = scaled.mean(axis=0), np.maximum(scaled.std(axis=0), 0.01)
    return [float(value) for value in mean], [float(value) for value in std]
