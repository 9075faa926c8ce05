"""What is measured of pictures, sounds and videos: size, brightness, sharpness, duration, loudness, sample rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell, Column
from polymodal.data.profiles.measures import ColumnCells, Measure, apply, apply_to_rows, read_each
from polymodal.modalities import Audio, Video
from polymodal.modalities.audio_files import load_clip, read_header
from polymodal.modalities.image_size import image_size
from polymodal.modalities.video_frames import probe_video

PROBED_VIDEOS = 200
"""Videos of a part of a table whose size and duration are read: each is opened once more."""
SILENCE_DB = -120.0
WINDOW_S = 0.02
MEASURED_S = 30.0
"""Loudness, dynamics, crest and pitch are those of the beginning of a sound."""
UNKNOWN_RATE_HZ = 8000
"""Rate that sounds without one are taken to have."""


def measure_images(column: ColumnCells) -> list[Measure]:
    """Measure a column of pictures: size, brightness, contrast, sharpness and saturation.

    Args:
        column: The cells, decoded.

    Returns:
        Size in pixels as the files have it, the others of the decoded pictures.
    """
    sizes = read_each(partial(image_size, folder=column.folder), column.cells)
    found = [
        Measure("width", "pixels", apply(lambda size: float(size[1]), sizes)),
        Measure("height", "pixels", apply(lambda size: float(size[0]), sizes)),
    ]
    return found if column.arrays is None else found + _measure_pixels(column.arrays, lambda picture: picture[None])


def measure_videos(column: ColumnCells) -> list[Measure]:
    """Measure a column of videos: size, duration, brightness, contrast, sharpness, saturation and motion.

    Args:
        column: The cells, decoded.

    Returns:
        Size and duration of the first videos' files, the others of the decoded frames.
    """
    if not isinstance(column.modality, Video) or column.arrays is None:
        return []
    probe = partial(probe_video, folder=column.folder, sampling=column.modality.sampling)
    probes: list[Any] = read_each(probe, column.cells[:PROBED_VIDEOS])
    probes += [None] * (len(column.cells) - len(probes))
    return [
        Measure("width", "pixels", apply(lambda found: float(found[0][1]), probes)),
        Measure("height", "pixels", apply(lambda found: float(found[0][0]), probes)),
        Measure("frames", "", apply(lambda found: float(found[1]), probes)),
        Measure("duration", "seconds", apply(lambda found: float(found[2]), probes)),
        *_measure_pixels(column.arrays, lambda frames: frames),
        Measure("motion", "share of white", apply_to_rows(_motion, column.arrays)),
    ]


def _motion(frames: NDArray[np.uint8]) -> float:
    return float(np.abs(np.diff(frames.astype(np.float32), axis=0)).mean()) / 255 if len(frames) > 1 else 0.0


def _measure_pixels(column: Column, frames_of: Callable[[NDArray[Any]], NDArray[Any]]) -> list[Measure]:
    """Measure the decoded pictures or frames ``[frames, height, width, channels]`` of each row."""
    has_colour = column.values.shape[-1] == 3
    measures = PIXEL_MEASURES | ({"saturation": _saturation} if has_colour else {})

    def of_row(measure: Callable[[NDArray[np.float32]], float], values: NDArray[np.uint8]) -> float:
        return measure(frames_of(values).astype(np.float32) / np.float32(255))

    return [
        Measure(name, "share of white", apply_to_rows(partial(of_row, measure), column))
        for name, measure in measures.items()
    ]


def _brightness(frames: NDArray[np.float32]) -> float:
    return float(frames.mean())


def _contrast(frames: NDArray[np.float32]) -> float:
    return float(frames.mean(axis=-1).std())


def _sharpness(frames: NDArray[np.float32]) -> float:
    grey = frames.mean(axis=-1)
    return float(np.abs(np.diff(grey, axis=1)).mean() + np.abs(np.diff(grey, axis=2)).mean())


def _saturation(frames: NDArray[np.float32]) -> float:
    return float((frames.max(axis=-1) - frames.min(axis=-1)).mean())


PIXEL_MEASURES = {"brightness": _brightness, "contrast": _contrast, "sharpness": _sharpness}


def measure_sounds(column: ColumnCells) -> list[Measure]:
    """Measure a column of sounds: duration, sample rate, channels, loudness, dynamics, crest and pitch.

    Args:
        column: The cells.

    Returns:
        The first three as the files have them; loudness is the root mean square in decibels of full scale, dynamics
        from quiet to loud moments, crest from it to the peak; pitch is told by the crossings of zero a second.
    """
    limit_s = (isinstance(column.modality, Audio) and column.modality.max_duration_s) or MEASURED_S
    found = read_each(partial(_measure_sound, folder=column.folder, limit_s=limit_s), column.cells)
    return [
        Measure("duration", "seconds", apply(lambda sound: float(sound["seconds"]), found)),
        Measure("sample rate", "", apply(lambda sound: str(sound["rate"]), found)),
        Measure("channels", "", apply(lambda sound: str(sound["channels"]), found)),
        *(Measure(name, unit, apply(itemgetter(name), found)) for name, unit in SOUND_MEASURES.items()),
    ]


def _measure_sound(cell: Cell, folder: Path | None, limit_s: float) -> dict[str, Any]:
    found, num_samples, channels = read_header(cell, folder)
    rate = found or UNKNOWN_RATE_HZ
    samples = load_clip(cell, folder, rate, limit_s).astype(np.float64)
    loudness, peak = _decibels(float(np.sqrt((samples**2).mean()))), _decibels(float(np.abs(samples).max()))
    return {
        "seconds": (num_samples or len(samples)) / rate,
        "rate": "unknown" if found is None else f"{found:,} Hz",
        "channels": str(channels),
        "loudness": loudness,
        "dynamics": _dynamics(samples, max(1, round(WINDOW_S * rate))),
        "crest": peak - loudness,
        "zero crossings": float((np.diff(np.signbit(samples)) != 0).sum()) * rate / len(samples),
    }


def _dynamics(samples: NDArray[np.float64], window: int) -> float:
    """Return the decibels from the quietest tenth of a sound's moments to its loudest tenth."""
    whole = samples[: max(len(samples) // window, 1) * window]
    parts = whole.reshape(-1, window) if len(whole) >= window else whole[None]
    low, high = np.quantile([_decibels(level) for level in np.sqrt((parts**2).mean(axis=1))], (0.1, 0.9))
    return float(high - low)


def _decibels(level: float) -> float:
    return max(SILENCE_DB, 20 * math.log10(level)) if level > 0 else SILENCE_DB


SOUND_MEASURES = {"loudness": "decibels", "dynamics": "decibels", "crest": "decibels", "zero crossings": "a second"}
