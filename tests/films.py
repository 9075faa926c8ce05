"""Small videos written for tests, right and wrong in the ways that real ones are."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

CLOCKWISE = (0, 1, -1, 0)
COUNTERCLOCKWISE = (0, -1, 1, 0)
UPSIDE_DOWN = (-1, 0, 0, -1)
MIRRORED = (-1, 0, 0, 1)
"""What a film's matrix does to it when it is shown: (a, b, c, d) of ISO 14496-12, section 8.5.3."""


def grey_steps(num: int, height: int = 32, width: int = 48, top: int = 240) -> NDArray[np.uint8]:
    """Return frames ``[num, height, width, 3]`` of one grey each, from black to nearly white."""
    levels = np.linspace(0, top, num).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num, height, width, 3)).copy()


def level_numbers(values: NDArray[np.uint8], num: int, top: int = 240) -> list[int]:
    """Return which frames of ``grey_steps`` decoded ones are, by their mean grey."""
    return [round(float(frame.mean()) * (num - 1) / top) for frame in values]


def encode(
    frames: NDArray[np.uint8],
    *,
    kind: str = "mp4",
    codec: str = "mpeg4",
    rate_hz: int = 10,
    times_ms: Sequence[int] | None = None,
    sound: NDArray[np.float32] | None = None,
    sound_rate_hz: int = 8000,
    group: int = 12,
    options: dict[str, str] | None = None,
) -> bytes:
    """Encode a film ``[frames, height, width, 3]``, perhaps with sound ``[samples]``."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate_hz if times_ms is None else 1000)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", group, 4_000_000
        stream.options = options or {}
        voice: Any = None if sound is None else container.add_stream("aac", rate=sound_rate_hz, layout="mono")
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1, rate_hz if times_ms is None else 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None and sound is not None:
            block = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts = sound_rate_hz, 0
            container.mux(voice.encode(block))
            container.mux(voice.encode(None))
    return file.getvalue()


def write(folder: Path, name: str, frames: NDArray[np.uint8], **options: Any) -> str:
    """Write a film and return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(encode(frames, **options))
    return name


def with_matrix(film: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """Return an MP4 film with another matrix in its first track header."""
    a, b, c, d = (65536 * value for value in matrix)
    start = film.index(b"tkhd") + 4 + 40
    return film[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + film[start + 36 :]


def with_duration(film: bytes, factor: float) -> bytes:
    """Return an MP4 film whose headers tell a wrong duration, of the film and of its first track."""
    changed = bytearray(film)
    for box, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        start = film.index(box) + 4 + offset
        (duration,) = struct.unpack(">I", film[start : start + 4])
        changed[start : start + 4] = struct.pack(">I", int(duration * factor))
    return bytes(changed)


def tone(frequency_hz: float, seconds: float = 1.0, rate_hz: int = 8000) -> NDArray[np.float32]:
    """Return a tone ``[samples]``."""
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def packets_of(film: bytes) -> list[slice]:
    """Return where the packets of a film's first stream stand in the file."""
    with av.open(io.BytesIO(film)) as container:
        packets = [packet for packet in container.demux(container.streams[0]) if packet.size]
        return [slice(packet.pos, packet.pos + packet.size) for packet in packets if packet.pos is not None]


def without(film: bytes, packets: Sequence[slice]) -> bytes:
    """Return a film with zeros in place of some packets."""
    spoilt = bytearray(film)
    for place in packets:
        spoilt[place] = bytes(place.stop - place.start)
    return bytes(spoilt)
