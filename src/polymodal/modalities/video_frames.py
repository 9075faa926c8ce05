"""Frames of a video, sampled by timestamp: the file is demuxed once to read the timestamps, then decoded once.

Of a long video only segments from a keyframe to a requested frame are decoded. At most two frames are in memory.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.container import (
    MIN_SHARE_READ,
    best_stream,
    check_whole,
    decode_packet,
    is_media_file,
    open_container,
)
from polymodal.modalities.frame_sampling import FrameSampling
from polymodal.modalities.image_files import check_num_pixels, open_image, pillow, to_bytes
from polymodal.modalities.media import as_array, load_npy, locate_media, read_media
from polymodal.modalities.picture_lists import frames_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from PIL.Image import Image as PILImage

T = TypeVar("T")

DEFAULT_RATE_HZ = 25.0
"""Assumed for files without timestamps that declare no frame rate."""
MIN_SEEK_FRAMES = 48
"""The decoder seeks to the keyframe of the next requested frame if it is more than this many frames ahead."""

MAX_BUFFERED_BYTES = 2**23
"""A stream with at most this many bytes is read once: its packets are buffered while their timestamps are read."""


@dataclass(frozen=True)
class Timeline:
    """Presentation timestamps of a stream's frames, from its packets.

    Attributes:
        timestamps: Timestamps in units of ``unit_s``, ascending; the index of a timestamp is the index of its frame.
        unit_s: The stream's time base in seconds.
        keyframes: Indices of the keyframes, ascending.
        is_decoding_order: Whether frames are indexed in the order of decoding, because their timestamps are unreliable.
    """

    timestamps: list[int]
    unit_s: float
    keyframes: list[int]
    is_decoding_order: bool

    @property
    def starts_s(self) -> NDArray[np.float64]:
        """Presentation time of each frame in seconds: float64 ``[frames]``."""
        return np.array(self.timestamps, np.float64) * self.unit_s

    @property
    def end_s(self) -> float:
        """End of the last frame in seconds; its duration is assumed to be the median one."""
        steps = [later - timestamp for timestamp, later in pairwise(self.timestamps)]
        return self.timestamps[-1] * self.unit_s + (median(steps) * self.unit_s if steps else 1 / DEFAULT_RATE_HZ)

    def frame_index(self, timestamp: int | None, previous: int) -> int:
        """Return the index of a decoded frame.

        Args:
            timestamp: Its timestamp.
            previous: Index of the frame decoded before it; -1 at the beginning.

        Returns:
            The index.
        """
        if self.is_decoding_order or timestamp is None:
            return previous + 1
        return bisect_right(self.timestamps, timestamp) - 1

    def segments(self, requested: Sequence[int]) -> list[tuple[int, list[int]]]:
        """Divide the requested frames into segments that are decoded without seeking.

        Args:
            requested: Frame indices, ascending.

        Returns:
            For each segment the index of the frame at which decoding starts, and the requested frames in it.
        """
        if requested[-1] <= MIN_SEEK_FRAMES:
            return [(0, list(requested))]
        segments: list[tuple[int, list[int]]] = [(0, [])]
        position = 0
        for number in requested:
            key = self.keyframes[bisect_right(self.keyframes, number) - 1] if self.keyframes else 0
            if not self.is_decoding_order and key - position > MIN_SEEK_FRAMES and key <= number:
                segments.append((key, []))
            segments[-1][1].append(number)
            position = number
        return [segment for segment in segments if segment[1]]


def load_frames(
    cell: Cell, folder: Path | None, sampling: FrameSampling, transform: Callable[[PILImage], T]
) -> list[T]:
    """Read the sampled frames of a video cell.

    Args:
        cell: Path, bytes, struct, an array ``[frames, height, width]`` or ``[frames, height, width, channels]``, or
            several pictures or a folder of them as of ``frames_of``.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        sampling: Which frames are read.
        transform: Applied to each frame, an upright image in mode L or RGB.

    Returns:
        The transformed frames in the order of time; at least one.

    Raises:
        CellReadError: If there is no readable video.
    """
    pictures = frames_of(cell, folder)
    if pictures is not None:
        chosen = sampling.indices(np.arange(len(pictures), dtype=np.float64), float(len(pictures)))
        return [transform(open_image(pictures[place], folder, sampling.max_pixels)) for place in chosen]
    content, sampling = locate_media(cell, folder), sampling.of_cell(cell)
    if is_media_file(content):
        return _file_frames(content, sampling, transform)
    values = _video_array(cell, folder, sampling.max_pixels)
    indices = sampling.indices(np.arange(len(values), dtype=np.float64), float(len(values)))
    return [transform(open_image(pixels, None, sampling.max_pixels)) for pixels in to_bytes(values[indices])]


def probe_video(cell: Cell, folder: Path | None, sampling: FrameSampling) -> tuple[tuple[int, int], int, float]:
    """Read size, length and duration of a video, decoding its first frame only.

    Args:
        cell: As for ``load_frames``.
        folder: As for ``load_frames``.
        sampling: Limits of pixels and duration.

    Returns:
        Height and width of a frame, upright; the number of frames; and the duration in seconds, 0 for arrays.

    Raises:
        CellReadError: If there is no readable video.
    """
    pictures = frames_of(cell, folder)
    if pictures is not None:
        first = open_image(pictures[0], folder, sampling.max_pixels)
        return (first.height, first.width), len(pictures), 0.0
    content, sampling = locate_media(cell, folder), sampling.of_cell(cell)
    if not is_media_file(content):
        values = _video_array(cell, folder, sampling.max_pixels)
        return (values.shape[1], values.shape[2]), len(values), 0.0
    with open_container(content, "video") as container:
        timeline, _ = _scan(container, _video_stream(container, sampling.max_pixels), sampling)
    (image,) = _decode_all(content, timeline, [(0, [0])], sampling.max_pixels, lambda image: image).values()
    starts_s = timeline.starts_s
    first_s, last_s = sampling.limits(float(starts_s[0]), timeline.end_s)
    duration_s = last_s - first_s
    return (image.height, image.width), int(((starts_s >= first_s) & (starts_s < last_s)).sum()), duration_s


def _video_array(cell: Cell, folder: Path | None, max_pixels: int) -> NDArray[Any]:
    content = read_media(cell, folder)
    if hasattr(content, "getbands"):
        raise CellReadError("is a picture; expected a video")
    values = load_npy(content) if isinstance(content, bytes) else as_array(content)
    if values.ndim == 4 and values.shape[1] in (1, 3, 4) and values.shape[3] not in (1, 2, 3, 4):
        values = values.transpose(0, 2, 3, 1)
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] not in (1, 2, 3, 4)):
        raise CellReadError(
            f"is an array of shape {list(values.shape)}; expected [frames, height, width] or "
            "[frames, height, width, 1..4]"
        )
    if not len(values):
        raise CellReadError("is a video without frames")
    check_num_pixels(values.shape[2], values.shape[1], max_pixels)
    return values


def _file_frames(content: bytes | str, sampling: FrameSampling, transform: Callable[[PILImage], T]) -> list[T]:
    with open_container(content, "video") as container:
        stream = _video_stream(container, sampling.max_pixels)
        timeline, packets = _scan(container, stream, sampling)
        indices = sampling.indices(timeline.starts_s, timeline.end_s).tolist()
        segments = timeline.segments(sorted(set(indices)))
        if packets and len(segments) == 1 and not segments[0][0]:
            results: dict[int, T] = {}
            count = _decode_segment(_number_frames(packets, timeline), 0, list(segments[0][1]), transform, results)
            _check_decoded(results, count, segments[0][1][-1] + 1)
            return [results[place] for place in indices]
    try:
        results = _decode_all(content, timeline, segments, sampling.max_pixels, transform)
    except _SeekError:
        results = _decode_all(content, timeline, [(0, sorted(set(indices)))], sampling.max_pixels, transform)
    return [results[place] for place in indices]


def _scan(container: InputContainer, stream: Any, sampling: FrameSampling) -> tuple[Timeline, list[Any]]:
    """Read the timestamps of a stream's packets; packets before the first keyframe cannot be decoded.

    Returns the packets too if they are small, so that the file need not be read again.
    """
    timestamps: list[int | None] = []
    keyframes: list[int] = []
    packets: list[Any] = []
    unit_s, num_packets, num_bytes, has_keyframe = float(stream.time_base or 0) or 1 / DEFAULT_RATE_HZ, 0, 0, False
    for packet in container.demux(stream):
        num_bytes += packet.size
        if num_bytes <= MAX_BUFFERED_BYTES:
            packets.append(packet)
        else:
            packets.clear()
        if not packet.size:
            continue
        num_packets, has_keyframe = num_packets + 1, has_keyframe or packet.is_keyframe
        if packet.is_discard or not has_keyframe:
            continue
        timestamp = packet.pts if packet.pts is not None else packet.dts
        if timestamps and _is_beyond_limit(timestamps[0], timestamp, len(timestamps), unit_s, sampling.max_duration_s):
            packets.clear()
            break
        if packet.is_keyframe:
            keyframes.append(len(timestamps))
        timestamps.append(timestamp)
    else:
        check_whole(stream, num_packets)
    if not timestamps:
        raise CellReadError("is a video without frames")
    return _timeline(timestamps, keyframes, stream, unit_s), packets


def _is_beyond_limit(
    first: int | None, timestamp: int | None, number: int, unit_s: float, max_duration_s: float
) -> bool:
    if first is None or timestamp is None:
        return number >= max_duration_s * DEFAULT_RATE_HZ
    return (timestamp - first) * unit_s >= max_duration_s


def _timeline(timestamps: list[int | None], keyframes: list[int], stream: Any, unit_s: float) -> Timeline:
    """Sort the timestamps.

    Timestamps that are ascending although the decoder reorders frames are decoding timestamps (AVI files have no
    others): then frames are indexed in the order of decoding.
    """
    known = [timestamp for timestamp in timestamps if timestamp is not None]
    if len(known) < len(timestamps) or len(set(known)) < len(known):
        rate = float(stream.guessed_rate or stream.average_rate or DEFAULT_RATE_HZ)
        return Timeline(list(range(len(timestamps))), 1 / rate, keyframes, is_decoding_order=True)
    ordered = sorted(known)
    is_decoding_order = ordered == known and bool(stream.codec_context.has_b_frames)
    indices = np.searchsorted(ordered, [known[key] for key in keyframes]).tolist()
    return Timeline(ordered, unit_s, sorted(indices), is_decoding_order)


def _video_stream(container: InputContainer, max_pixels: int) -> Any:
    stream = best_stream(container, "video")
    if stream is None:
        sound = best_stream(container, "audio") is not None
        raise CellReadError("holds sound but no video" if sound else "holds no video")
    context = stream.codec_context
    if context.width * context.height > max_pixels:
        check_num_pixels(context.width, context.height, max_pixels)
    context.thread_count = 1
    context.options = {"max_pixels": str(max_pixels)}
    return stream


class _SeekError(Exception):
    """Seeking ended after the requested frame."""


def _decode_all(
    content: bytes | str,
    timeline: Timeline,
    segments: list[tuple[int, list[int]]],
    max_pixels: int,
    transform: Callable[[PILImage], T],
) -> dict[int, T]:
    """Return each requested frame, transformed; a few damaged frames are replaced by the frame before them."""
    results: dict[int, T] = {}
    with open_container(content, "video") as container:
        stream = _video_stream(container, max_pixels)
        num_frames = num_expected = 0
        for start, requested in segments:
            if start:
                container.seek(timeline.timestamps[start], stream=stream)
            count = _decode_segment(
                _number_frames(container.demux(stream), timeline), start, list(requested), transform, results
            )
            num_frames, num_expected = num_frames + count, num_expected + requested[-1] - start + 1
    _check_decoded(results, num_frames, num_expected)
    return results


def _check_decoded(results: dict[int, T], num_frames: int, num_expected: int) -> None:
    if not results:
        raise CellReadError("is a damaged video: no frame can be decoded")
    if num_frames < MIN_SHARE_READ * num_expected:
        raise CellReadError(f"is a damaged video: of {num_expected:,} frames only {num_frames:,} can be decoded")


def _decode_segment(
    frames: Iterator[tuple[int, Any]],
    start: int,
    requested: list[int],
    transform: Callable[[PILImage], T],
    results: dict[int, T],
) -> int:
    """Decode until the last requested frame; return the number of decoded frames from ``start`` on."""
    from av.video.reformatter import VideoReformatter

    count, previous_frame, reformatter = 0, None, VideoReformatter()
    for number, frame in frames:
        if number > requested[0] and start and not count:
            raise _SeekError
        count += number >= start
        while requested and requested[0] < number:
            results[requested.pop(0)] = transform(
                _to_upright_image(frame if previous_frame is None else previous_frame, reformatter)
            )
        if requested and requested[0] == number:
            results[requested.pop(0)] = transform(_to_upright_image(frame, reformatter))
        previous_frame = frame
        if not requested:
            break
    for number in requested if previous_frame is not None else []:
        results[number] = transform(_to_upright_image(previous_frame, reformatter))
    return count


def _number_frames(packets: Iterable[Any], timeline: Timeline) -> Iterator[tuple[int, Any]]:
    number = -1
    for packet in packets:
        for frame in decode_packet(packet) or []:
            number = timeline.frame_index(frame.pts, number)
            yield number, frame


def _to_upright_image(frame: Any, reformatter: VideoReformatter) -> PILImage:
    """Convert a decoded frame to an image in mode RGB, rotated or flipped by its display matrix.

    One reformatter is used for all frames: preparing the colour conversion takes longer than converting a small frame.
    The matrix takes a point (x, y) of the frame, y downwards, to ``(a x + c y, b x + d y)`` (ISO 14496-12, 8.5.3).
    """
    image: PILImage = pillow().fromarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray())
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    from PIL.Image import Transpose

    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        image, a, d = image.transpose(Transpose.TRANSPOSE), c, b
    if a < 0:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Transpose.FLIP_TOP_BOTTOM) if d < 0 else image
