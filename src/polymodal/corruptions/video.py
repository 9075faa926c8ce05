"""Corruptions of video: dropped frames, noise, blur; the sound of a video is a column of its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.corruptions.base import CorruptCell, CorruptionContext
from polymodal.corruptions.image import CorruptPixels
from polymodal.modalities.frame_sampling import FrameSampling
from polymodal.modalities.image_files import convert_mode
from polymodal.modalities.video_frames import load_frames

Frames = NDArray[np.uint8]
"""``[frames, height, width, 3]``, 0..255."""

DEFAULT_SAMPLING = FrameSampling(frames=32, rate_hz=None, max_pixels=10_000_000, max_duration_s=600.0)


def on_frames(corrupt: Callable[[Frames, float, np.random.Generator], Frames]) -> CorruptCell:
    """Turn a corruption of frames into one of cells.

    Args:
        corrupt: From frames ``[frames, height, width, 3]``, level and random numbers to as many frames.

    Returns:
        The corruption of a cell. Only the frames that the model reads are corrupted; the corrupted cell is a uint8
        array of them, or, where the model reads a fixed number of frames a second, a lossless file of that rate.
    """

    def corrupt_cell(cell: Cell, level: float, random: np.random.Generator, context: CorruptionContext) -> Cell:
        sampling: FrameSampling = context.option("sampling", DEFAULT_SAMPLING)
        images = load_frames(cell, context.folder, sampling, lambda image: np.asarray(convert_mode(image, "RGB")))
        frames = corrupt(np.stack(images), level, random)
        return frames if sampling.rate_hz is None else to_video(frames, sampling.rate_hz)

    return corrupt_cell


def on_each_frame(corrupt: CorruptPixels) -> CorruptCell:
    """Turn a corruption of pictures into one of videos.

    Args:
        corrupt: From pixels, level and random numbers to pixels.

    Returns:
        The corruption of a cell, as for ``on_frames``.
    """
    return on_frames(lambda frames, level, random: np.stack([corrupt(frame, level, random) for frame in frames]))


def drop_frames(frames: Frames, level: float, random: np.random.Generator) -> Frames:
    """Drop frames at random; the frame before stays on the screen, as players do.

    Args:
        frames: uint8 ``[frames, height, width, 3]``.
        level: Share of the frames that are dropped; the first one never is.
        random: Random numbers.

    Returns:
        As many frames.
    """
    dropped = random.random(len(frames)) < level
    dropped[:1] = False
    shown = np.maximum.accumulate(np.where(dropped, 0, np.arange(len(frames))))
    return frames[shown]


def to_video(frames: Frames, rate_hz: float) -> bytes:
    """Write frames as a Matroska file without loss (FFV1).

    Args:
        frames: uint8 ``[frames, height, width, 3]``.
        rate_hz: Frames per second.

    Returns:
        The file.
    """
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=Fraction(rate_hz).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()
