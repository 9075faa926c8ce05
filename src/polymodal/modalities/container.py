"""Video and audio files opened with PyAV: their streams, and decoding of audio.

PyAV is an extra and is imported where it is used. Only container formats of video and sound are opened, so that no
cell can name other files or addresses (as playlists do).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.errors import ConfigError
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import NUMPY_MAGIC, locate_media
from polymodal.modalities.stretch import Span

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

FORMATS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,asf,ogg,gif,ivf,obu,dv,mxf,rm,nut,"
    "wav,w64,mp3,aac,loas,flac,aiff,au,caf,amr,ac3,eac3,dts,wv,ape,tta,voc"
)
"""The demuxers that may open a file, by FFmpeg's names."""
MIN_SHARE_READ = 0.9
"""A file is damaged if a smaller share of it can be decoded."""


class NoMediaError(CellReadError):
    """A file that is not a readable video or audio container."""


class NoSoundError(CellReadError):
    """A readable file without an audio stream."""


def has_av() -> bool:
    """Return whether PyAV is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def check_av() -> None:
    """Check that video can be decoded.

    Raises:
        ConfigError: If PyAV is not installed.
    """
    if not has_av():
        raise ConfigError("Video needs the package av. Install it with `pip install 'polymodal[video]'`.")


@contextmanager
def open_container(content: bytes | str, what: str) -> Iterator[InputContainer]:
    """Open a video or audio file.

    Args:
        content: The file, or its path.
        what: What is looked for, for the message: ``video`` or ``sound``.

    Yields:
        PyAV's container; closed afterwards.

    Raises:
        NoMediaError: If it is no such file.
    """
    import av

    try:
        source: Any = io.BytesIO(content) if isinstance(content, bytes) else f"file:{content}"
        container = av.open(source, mode="r", options={"format_whitelist": FORMATS}, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        damaged = isinstance(error, av.error.InvalidDataError)
        reason = "its header is damaged or of no known format" if damaged else "no known format of video or sound"
        raise NoMediaError(f"is not readable {what} ({reason})") from None
    with container:
        yield container


def best_stream(container: InputContainer, kind: str) -> Any:
    """Choose the default stream of a kind, or else the best one by FFmpeg's ranking.

    Args:
        container: An open container.
        kind: ``video`` or ``audio``.

    Returns:
        PyAV's stream, or None. The cover image of a sound file is no video.
    """
    from av.stream import Disposition

    streams = [one for one in container.streams if one.type == kind and one.codec_context is not None]
    streams = [one for one in streams if not one.disposition & Disposition.attached_pic]
    best = container.streams.best("video" if kind == "video" else "audio")
    found = next((one for one in streams if best is not None and one.index == best.index), None)
    return found or next(iter(streams), None)


def decode_packet(packet: Packet[Any]) -> list[Any] | None:
    """Decode a packet.

    Args:
        packet: From ``container.demux``; the empty last one flushes the decoder.

    Returns:
        PyAV's frames, or None where the packet is damaged.
    """
    import av

    try:
        return list(packet.decode())
    except av.FFmpegError:
        return None


def check_whole(stream: Stream, num_packets: int) -> None:
    """Check that the number of packets that both header and index of a container declare was read.

    Containers without a whole index pass: Matroska, MPEG, AVI files whose index stood at the end. The header alone
    also counts what edit lists hide (MP4) and frames that were dropped (AVI).

    Args:
        stream: The stream that was read to its end.
        num_packets: Packets that were read.

    Raises:
        CellReadError: If more than a tenth is missing.
    """
    declared = min(stream.frames, len(getattr(stream, "index_entries", ())))
    if num_packets < MIN_SHARE_READ * declared:
        unit = "frames" if stream.type == "video" else "blocks of sound"
        raise CellReadError(f"is cut off: it declares {declared:,} {unit} but holds {num_packets:,}")


def has_audio(cell: Cell, folder: Path | None) -> bool:
    """Return whether a video cell has an audio stream, from its header.

    Args:
        cell: A media cell that is not absent.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        True for a file with a stream of sound; False for any other, and for cells that cannot be read.
    """
    try:
        content = locate_media(cell, folder)
        if not isinstance(content, bytes | str):
            return False
        with open_container(content, "video") as container:
            return best_stream(container, "audio") is not None
    except CellReadError:
        return False


def read_audio_header(content: bytes | str) -> tuple[int, int, int]:
    """Read the header of a file's audio stream.

    Args:
        content: The file, or its path.

    Returns:
        Samples per second, and the numbers of samples (0 where it is not declared) and of channels.

    Raises:
        CellReadError: If there is none.
    """
    with open_container(content, "sound") as container:
        stream = _sound_of(container)
        rate, num_channels = int(stream.rate), max(int(stream.channels), 1)
        if stream.duration is not None:
            return rate, int(stream.duration * stream.time_base * rate), num_channels
        return rate, int((container.duration or 0) / 1_000_000 * rate), num_channels


def read_audio(content: bytes | str, max_duration_s: float) -> tuple[NDArray[np.float32], int]:
    """Decode the audio stream of an audio or video file.

    Args:
        content: The file, or its path.
        max_duration_s: The rest is not read.

    Returns:
        float32 ``[samples, channels]`` in -1..1, and samples per second.

    Raises:
        CellReadError: If there is none, or it is damaged.
    """
    with open_container(content, "sound") as container:
        stream = _sound_of(container)
        blocks: list[NDArray[np.float32]] = []
        rate, left, num_packets, num_damaged = int(stream.rate), 1, 0, 0
        for packet in container.demux(stream):
            num_packets += packet.size > 0
            frames = decode_packet(packet)
            num_damaged += frames is None and packet.size > 0
            for frame in frames or []:
                if not blocks:
                    rate = int(frame.sample_rate)  # the header of HE-AAC declares half of it
                    left = max(1, int(max_duration_s * rate))
                blocks.append(_samples_of(frame)[:left])
                left -= len(blocks[-1])
            if left <= 0:
                break
        else:
            check_whole(stream, num_packets)
    if num_damaged > (1 - MIN_SHARE_READ) * num_packets:
        raise CellReadError(f"has damaged sound: {num_damaged:,} of {num_packets:,} blocks cannot be decoded")
    return (np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)), rate


def read_audio_stretches(content: bytes | str, spans: Sequence[Span]) -> tuple[list[NDArray[np.float32]], int, int]:
    """Decode a file's sound in one pass and keep some stretches of it.

    Args:
        content: The file, or its path.
        spans: Stretches in seconds, in rising order; none: the file is decoded to its end, to count.

    Returns:
        float32 ``[samples, channels]`` of each stretch, without samples behind the end; samples per second; and how
        many samples were decoded.

    Raises:
        CellReadError: If there is no sound.
    """
    blocks: list[list[NDArray[np.float32]]] = [[] for _ in spans]
    with open_container(content, "sound") as container:
        stream = _sound_of(container)
        rate, place, last_s = int(stream.rate), 0, spans[-1].end_s if spans else math.inf
        for packet in container.demux(stream):
            for frame in decode_packet(packet) or []:
                rate, block = int(frame.sample_rate), _samples_of(frame)
                for kept, span in zip(blocks, spans, strict=True):
                    first, last = (max(int(time_s * rate) - place, 0) for time_s in span)
                    if first < min(last, len(block)):
                        kept.append(block[first:last])
                place += len(block)
            if place >= last_s * rate:
                break
    empty = np.zeros((0, 1), np.float32)
    return [np.concatenate(kept) if kept else empty for kept in blocks], rate, place


def _sound_of(container: InputContainer) -> Any:
    stream = best_stream(container, "audio")
    if stream is None:
        raise NoSoundError("holds no sound")
    return stream


def _samples_of(frame: Any) -> NDArray[np.float32]:
    """Return a frame's samples ``[samples, channels]`` in -1..1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind == "u":
        values = values.astype(np.int16) - 128
    full = 128.0 if frame.format.bytes == 1 else float(2 ** (8 * frame.format.bytes - 1))
    scale = 1.0 if values.dtype.kind == "f" else 1.0 / full
    return np.asarray(values.T * scale, np.float32)


def is_media_file(content: Any) -> bool:
    """Return whether a cell's content is a file to open with PyAV, not an array in memory or in a ``.npy`` file.

    Args:
        content: A path, bytes, or anything else that a cell holds.

    Returns:
        True for paths and bytes that are not NumPy's.
    """
    if isinstance(content, str | PurePath):
        return not str(content).lower().endswith(".npy")
    return isinstance(content, bytes) and not content.startswith(NUMPY_MAGIC)
