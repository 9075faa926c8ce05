"""Frames of a video, chosen by their own timestamps: the file is scanned without decoding, then decoded once.

Of a long video only the stretches before wanted frames are decoded. At no time are more than two full frames held.
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
from polymodal.modalities.image_files import check_num_pixels, open_image, pillow, to_bytes
from polymodal.modalities.media import as_array, load_npy, locate_media, read_media

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from PIL.Image import Image as Picture

T = TypeVar("T")

USUAL_RATE_HZ = 25.0
"""Where a file without timestamps declares no rate."""
SKIP = 48
"""So many frames before the key frame of the next wanted one are jumped over rather than decoded."""

HELD_BYTES = 2**23
"""A stream whose packets together are no larger is read once: they are kept from looking through it to decoding it."""


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames of a video are wanted.

    Attributes:
        frames: So many at most.
        rate_hz: Frames per second, from the beginning; None spreads them evenly over the whole video.
        max_pixels: A video whose frames have more is refused.
        max_duration_s: What a video has beyond this is not read.
    """

    frames: int
    rate_hz: float | None
    max_pixels: int
    max_duration_s: float

    def places(self, starts_s: NDArray[np.float64], end_s: float) -> NDArray[np.int64]:
        """Choose frames: those on show in the middle of equal stretches of time.

        Args:
            starts_s: float64 ``[frames]``, rising: when each frame begins to be shown, in seconds.
            end_s: When the last one ends.

        Returns:
            Indices of frames, rising; one that is on show for long may come several times. A video at a
            constant rate with no more frames than wanted keeps each once.
        """
        duration = end_s - starts_s[0]
        if self.rate_hz is None:
            num = min(self.frames, len(starts_s))
            step = duration / num
        else:
            num = min(self.frames, max(1, round(duration * self.rate_hz)))
            step = 1 / self.rate_hz
        times = starts_s[0] + (np.arange(num) + 0.5) * step
        return np.asarray(np.searchsorted(starts_s, times, side="right") - 1, np.int64)


@dataclass(frozen=True)
class Timeline:
    """When the frames of a stream are shown, from its packets.

    Attributes:
        stamps: Timestamps in the stream's unit, rising; places in their list number the frames.
        unit_s: The stream's unit of time in seconds.
        keys: Numbers of the key frames, rising.
        by_order: Whether decoded frames are numbered by their order, because their timestamps cannot be trusted.
    """

    stamps: list[int]
    unit_s: float
    keys: list[int]
    by_order: bool

    @property
    def starts_s(self) -> NDArray[np.float64]:
        """When each frame begins to be shown, in seconds: float64 ``[frames]``."""
        return np.array(self.stamps, np.float64) * self.unit_s

    @property
    def end_s(self) -> float:
        """When the last frame ends: it is taken to last as long as the median one."""
        steps = [later - stamp for stamp, later in pairwise(self.stamps)]
        return self.stamps[-1] * self.unit_s + (median(steps) * self.unit_s if steps else 1 / USUAL_RATE_HZ)

    def number_of(self, stamp: int | None, previous: int) -> int:
        """Return the number of a decoded frame.

        Args:
            stamp: Its timestamp.
            previous: The number of the frame decoded before it; -1 at the beginning.

        Returns:
            The number.
        """
        if self.by_order or stamp is None:
            return previous + 1
        return bisect_right(self.stamps, stamp) - 1

    def runs(self, wanted: Sequence[int]) -> list[tuple[int, list[int]]]:
        """Divide wanted frames into stretches to decode.

        Args:
            wanted: Numbers of frames, rising.

        Returns:
            Number of the frame at which decoding begins, and the wanted ones that are decoded from there.
        """
        if wanted[-1] <= SKIP:
            return [(0, list(wanted))]
        runs: list[tuple[int, list[int]]] = [(0, [])]
        position = 0
        for number in wanted:
            key = self.keys[bisect_right(self.keys, number) - 1] if self.keys else 0
            if not self.by_order and key - position > SKIP and key <= number:
                runs.append((key, []))
            runs[-1][1].append(number)
            position = number
        return [run for run in runs if run[1]]


def load_frames(cell: Cell, folder: Path | None, sampling: FrameSampling, shrink: Callable[[Picture], T]) -> list[T]:
    """Read the wanted frames of a video cell.

    Args:
        cell: Path, bytes, struct, or an array ``[frames, height, width]`` or ``[frames, height, width, channels]``.
        folder: Where relative paths begin; None refuses strings as paths.
        sampling: Which frames are wanted.
        shrink: Called with each wanted frame, upright, in mode L or RGB; what it returns is kept.

    Returns:
        What ``shrink`` made of the frames, in the order of time; at least one.

    Raises:
        CellReadError: If there is no readable video.
    """
    content = locate_media(cell, folder)
    if is_media_file(content):
        return _file_frames(content, sampling, shrink)
    values = _video_array(cell, folder, sampling.max_pixels)
    places = sampling.places(np.arange(len(values), dtype=np.float64), float(len(values)))
    return [shrink(open_image(pixels, None, sampling.max_pixels)) for pixels in to_bytes(values[places])]


def probe_video(cell: Cell, folder: Path | None, sampling: FrameSampling) -> tuple[tuple[int, int], int, float]:
    """Look at a video without decoding more than its first frame.

    Args:
        cell: As for ``load_frames``.
        folder: As for ``load_frames``.
        sampling: Its limits are kept.

    Returns:
        Height and width of a frame, upright; the number of frames; and the duration in seconds, 0 for arrays.

    Raises:
        CellReadError: If there is no readable video.
    """
    content = locate_media(cell, folder)
    if not is_media_file(content):
        values = _video_array(cell, folder, sampling.max_pixels)
        return (values.shape[1], values.shape[2]), len(values), 0.0
    with open_container(content, "video") as container:
        timeline, _ = _scan(container, _video_of(container, sampling.max_pixels), sampling)
    (picture,) = _decode_all(content, timeline, [(0, [0])], sampling.max_pixels, lambda picture: picture).values()
    duration_s = timeline.end_s - float(timeline.starts_s[0])
    return (picture.height, picture.width), len(timeline.stamps), duration_s


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


def _file_frames(content: bytes | str, sampling: FrameSampling, shrink: Callable[[Picture], T]) -> list[T]:
    with open_container(content, "video") as container:
        stream = _video_of(container, sampling.max_pixels)
        timeline, packets = _scan(container, stream, sampling)
        places = sampling.places(timeline.starts_s, timeline.end_s).tolist()
        runs = timeline.runs(sorted(set(places)))
        if packets and len(runs) == 1 and not runs[0][0]:
            found: dict[int, T] = {}
            count = _decode_run(_numbered(packets, timeline), 0, list(runs[0][1]), shrink, found)
            _check_decoded(found, count, runs[0][1][-1] + 1)
            return [found[place] for place in places]
    try:
        found = _decode_all(content, timeline, runs, sampling.max_pixels, shrink)
    except _JumpError:
        found = _decode_all(content, timeline, [(0, sorted(set(places)))], sampling.max_pixels, shrink)
    return [found[place] for place in places]


def _scan(container: InputContainer, stream: Any, sampling: FrameSampling) -> tuple[Timeline, list[Any]]:
    """Read the timestamps of a stream's packets; packets before the first key frame cannot be decoded.

    Returns the packets as well where all of them together are few, so that the file need not be read again.
    """
    stamps: list[int | None] = []
    keys: list[int] = []
    packets: list[Any] = []
    unit_s, num_packets, num_bytes, begun = float(stream.time_base or 0) or 1 / USUAL_RATE_HZ, 0, 0, False
    for packet in container.demux(stream):
        num_bytes += packet.size
        if num_bytes <= HELD_BYTES:
            packets.append(packet)
        else:
            packets.clear()
        if not packet.size:
            continue
        num_packets, begun = num_packets + 1, begun or packet.is_keyframe
        if packet.is_discard or not begun:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamps and _is_late(stamps[0], stamp, len(stamps), unit_s, sampling.max_duration_s):
            packets.clear()
            break
        if packet.is_keyframe:
            keys.append(len(stamps))
        stamps.append(stamp)
    else:
        check_whole(stream, num_packets)
    if not stamps:
        raise CellReadError("is a video without frames")
    return _timeline(stamps, keys, stream, unit_s), packets


def _is_late(first: int | None, stamp: int | None, number: int, unit_s: float, max_duration_s: float) -> bool:
    if first is None or stamp is None:
        return number >= max_duration_s * USUAL_RATE_HZ
    return (stamp - first) * unit_s >= max_duration_s


def _timeline(stamps: list[int | None], keys: list[int], stream: Any, unit_s: float) -> Timeline:
    """Bring timestamps into the order of time.

    Timestamps that rise from packet to packet although the decoder reorders frames are those of decoding (AVI files
    have no others): then the order in which frames are decoded is all that counts.
    """
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) < len(stamps) or len(set(known)) < len(known):
        rate = float(stream.guessed_rate or stream.average_rate or USUAL_RATE_HZ)
        return Timeline(list(range(len(stamps))), 1 / rate, keys, by_order=True)
    ordered = sorted(known)
    by_order = ordered == known and bool(stream.codec_context.has_b_frames)
    places = np.searchsorted(ordered, [known[key] for key in keys]).tolist()
    return Timeline(ordered, unit_s, sorted(places), by_order)


def _video_of(container: InputContainer, max_pixels: int) -> Any:
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


class _JumpError(Exception):
    """Seeking came out behind the wanted frame."""


def _decode_all(
    content: bytes | str,
    timeline: Timeline,
    runs: list[tuple[int, list[int]]],
    max_pixels: int,
    shrink: Callable[[Picture], T],
) -> dict[int, T]:
    """Return what ``shrink`` made of each wanted frame; a few damaged ones are stood in for by those before them."""
    found: dict[int, T] = {}
    with open_container(content, "video") as container:
        stream = _video_of(container, max_pixels)
        num_frames = num_expected = 0
        for start, wanted in runs:
            if start:
                container.seek(timeline.stamps[start], stream=stream)
            count = _decode_run(_numbered(container.demux(stream), timeline), start, list(wanted), shrink, found)
            num_frames, num_expected = num_frames + count, num_expected + wanted[-1] - start + 1
    _check_decoded(found, num_frames, num_expected)
    return found


def _check_decoded(found: dict[int, T], num_frames: int, num_expected: int) -> None:
    if not found:
        raise CellReadError("is a damaged video: no frame can be decoded")
    if num_frames < MIN_SHARE_READ * num_expected:
        raise CellReadError(f"is a damaged video: of {num_expected:,} frames only {num_frames:,} can be decoded")


def _decode_run(
    frames: Iterator[tuple[int, Any]],
    start: int,
    wanted: list[int],
    shrink: Callable[[Picture], T],
    found: dict[int, T],
) -> int:
    """Decode until the last wanted frame; return how many frames from ``start`` on there were."""
    from av.video.reformatter import VideoReformatter

    count, before, reformatter = 0, None, VideoReformatter()
    for number, frame in frames:
        if number > wanted[0] and start and not count:
            raise _JumpError
        count += number >= start
        while wanted and wanted[0] < number:
            found[wanted.pop(0)] = shrink(_upright(frame if before is None else before, reformatter))
        if wanted and wanted[0] == number:
            found[wanted.pop(0)] = shrink(_upright(frame, reformatter))
        before = frame
        if not wanted:
            break
    for number in wanted if before is not None else []:
        found[number] = shrink(_upright(before, reformatter))
    return count


def _numbered(packets: Iterable[Any], timeline: Timeline) -> Iterator[tuple[int, Any]]:
    number = -1
    for packet in packets:
        for frame in decode_packet(packet) or []:
            number = timeline.number_of(frame.pts, number)
            yield number, frame


def _upright(frame: Any, reformatter: VideoReformatter) -> Picture:
    """Turn a decoded frame into a picture in mode RGB, turned or mirrored as its display matrix says.

    One reformatter serves all frames: preparing the conversion of colours takes longer than converting a small frame.
    The matrix takes a point (x, y) of the frame, y downwards, to ``(a x + c y, b x + d y)`` (ISO 14496-12, 8.5.3).
    """
    picture: Picture = pillow().fromarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray())
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    from PIL.Image import Transpose

    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(Transpose.TRANSPOSE), c, b
    if a < 0:
        picture = picture.transpose(Transpose.FLIP_LEFT_RIGHT)
    return picture.transpose(Transpose.FLIP_TOP_BOTTOM) if d < 0 else picture
