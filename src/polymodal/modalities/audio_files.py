"""Loads audio cells (files of any format, bytes, arrays) as samples, mixed down and resampled."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError
from polymodal.modalities.container import NoMediaError, has_av, read_audio, read_audio_header, read_audio_stretches
from polymodal.modalities.media import NUMPY_MAGIC, as_array, load_npy, locate_media, read_media
from polymodal.modalities.stretch import Span, span_of

BLOCK_VALUES = 2**20
MIN_SHARE_READ = 0.9
RATE_NAMES = ("sampling_rate", "sample_rate", "rate", "sr", "fs", "sample_rate_hz")
"""What records call their rate: Hugging Face's name first."""
UNDECLARED_S = 3600.0
"""Without PyAV, a clip whose header has no length is not decoded further than this to measure it."""
SAMPLE_BITS = (15, 23, 31)
"""Bits of samples of 16, 24 and 32 bits, without the sign."""


def load_clip(
    cell: Cell, folder: Path | None, sample_rate_hz: int, max_duration_s: float = 30.0
) -> NDArray[np.float32]:
    """Load an audio cell as mono, the mean of all channels, resampled to one rate.

    Args:
        cell: Path, bytes, struct, array, or ``(array, rate)``.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        sample_rate_hz: The rate to resample to.
        max_duration_s: The rest is not read.

    Returns:
        float32 ``[samples]``, at least one, in -1..1 where the file is.

    Raises:
        CellReadError: If there is no readable audio.
    """
    return _load(cell, folder, sample_rate_hz, max_duration_s, channels=1)[:, 0]


def load_stereo(
    cell: Cell, folder: Path | None, sample_rate_hz: int, max_duration_s: float = 30.0
) -> NDArray[np.float32]:
    """Load the first two channels of an audio cell, resampled to one rate; a mono clip is duplicated.

    Args:
        cell: Path, bytes, struct, array, or ``(array, rate)``.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        sample_rate_hz: The rate to resample to.
        max_duration_s: The rest is not read.

    Returns:
        float32 ``[samples, 2]``, at least one sample, in -1..1 where the file is.

    Raises:
        CellReadError: If there is no readable audio.
    """
    return _load(cell, folder, sample_rate_hz, max_duration_s, channels=2)


def _load(
    cell: Cell, folder: Path | None, sample_rate_hz: int, max_duration_s: float, channels: int
) -> NDArray[np.float32]:
    samples, rate = _read_samples(cell, folder, max_duration_s, sample_rate_hz, channels)
    if not len(samples):
        raise CellReadError("holds no samples")
    return _resample(samples, rate, sample_rate_hz)


def load_stretches(
    cell: Cell, folder: Path | None, sample_rate_hz: int, channels: int, starts_s: Sequence[float], length_s: float
) -> list[NDArray[np.float32]]:
    """Load some stretches of an audio cell, without the rest of it in memory.

    Args:
        cell: Path, bytes, struct, array, or ``(array, rate)``.
        folder: Base folder of relative paths; None: strings are not opened as paths.
        sample_rate_hz: The rate to resample to.
        channels: 1 for the mean of all channels, 2 for the first two.
        starts_s: Where the stretches begin, in rising order, from the beginning of what the cell names.
        length_s: Length of each.

    Returns:
        float32 ``[samples, channels]`` of each; without samples where the clip is shorter.

    Raises:
        CellReadError: If there is no readable audio.
    """
    content, begin_s = locate_media(cell, folder), (span_of(cell) or Span(0.0, math.inf)).start_s
    spans = [Span(begin_s + start_s, begin_s + start_s + length_s) for start_s in starts_s]
    if _holds_array(content):
        content = load_npy(read_media(cell, folder))
    if isinstance(content, bytes | str):
        parts, rate = _read_stretches(content, spans, channels)
    else:
        array, own_rate = _split_rate(content)
        rate = own_rate or sample_rate_hz
        whole = _read_array(as_array(array), int(spans[-1].end_s * rate), channels)
        parts = [whole[int(span.start_s * rate) : int(span.end_s * rate)] for span in spans]
    return [_resample(part, rate, sample_rate_hz) if len(part) else part for part in parts]


def _read_stretches(
    content: bytes | str, spans: Sequence[Span], channels: int
) -> tuple[list[NDArray[np.float32]], int]:
    import soundfile

    opened = _open(content)
    if opened is not None:
        with opened as file:
            try:
                return [_read_stretch(file, span, channels) for span in spans], int(file.samplerate)
            except soundfile.LibsndfileError as error:
                if not has_av():
                    raise CellReadError(f"is damaged sound ({_error_text(error)})") from None
    parts, rate, _ = read_audio_stretches(content, spans)
    return [_mix(part, channels) for part in parts], rate


def _read_stretch(file: Any, span: Span, channels: int) -> NDArray[np.float32]:
    first, last = (int(time_s * file.samplerate) for time_s in span)
    if first >= file.frames:
        return np.zeros((0, channels), np.float32)
    file.seek(first)
    return _read_blocks(file, last - first, channels)


def _resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    import soxr

    if not np.isfinite(samples).all():
        raise CellReadError(f"holds {int((~np.isfinite(samples)).sum()):,} samples that are NaN or infinite")
    if rate == wanted:
        return samples
    resampled = np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"), np.float32)
    return resampled if len(resampled) else np.zeros((1, samples.shape[1]), np.float32)


def _mix(samples: NDArray[Any], channels: int) -> NDArray[Any]:
    """Mix ``[samples, any number of channels]`` to one channel or two."""
    if samples.shape[1] == channels == 1:
        return samples
    if samples.shape[1] == 1:
        return np.repeat(samples, channels, axis=1)
    return samples.mean(axis=1, keepdims=True) if channels == 1 else samples[:, :channels]


def _read_samples(
    cell: Cell, folder: Path | None, max_duration_s: float, assumed_rate: int, channels: int
) -> tuple[NDArray[np.float32], int]:
    content, span = locate_media(cell, folder), span_of(cell) or Span(0.0, math.inf)
    duration_s = min(max_duration_s, span.end_s - span.start_s)
    if _holds_array(content):
        content = load_npy(read_media(cell, folder))
    if isinstance(content, bytes | str):
        return _read_file(content, span.start_s, duration_s, channels)
    array, rate = _split_rate(content)
    rate = rate or assumed_rate
    first, limit = int(span.start_s * rate), max(1, int(duration_s * rate))
    return _read_array(as_array(array), first + limit, channels)[first:], rate


def _holds_array(content: Any) -> bool:
    if isinstance(content, str):
        return content.lower().endswith(".npy")
    return isinstance(content, bytes) and content.startswith(NUMPY_MAGIC)


def _split_rate(content: Any) -> tuple[Any, int | None]:
    if isinstance(content, Mapping):
        rate = next((content[name] for name in RATE_NAMES if content.get(name) is not None), None)
        return content["array"], _check_rate(rate)
    if isinstance(content, tuple) and len(content) == 2 and np.ndim(content[0]) == 0 and np.ndim(content[1]) > 0:
        content = content[::-1]  # as SciPy reads WAV files
    if isinstance(content, tuple) and len(content) == 2 and np.ndim(content[0]) > 0 and np.ndim(content[1]) == 0:
        return content[0], _check_rate(content[1])
    return content, None


def _check_rate(rate: Any) -> int | None:
    if rate is None:
        return None
    if not 1 <= float(rate) <= 1_000_000:
        raise CellReadError(f"has a sample rate of {rate} Hz; expected 1 to 1,000,000")
    return round(float(rate))


def _read_array(values: NDArray[Any], limit: int, channels: int) -> NDArray[np.float32]:
    if values.ndim not in (1, 2):
        raise CellReadError(f"is an array of shape {list(values.shape)}; expected [samples] or [samples, channels]")
    if not values.size:
        raise CellReadError(f"is an array of shape {list(values.shape)}, without samples")
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    kind, full = values.dtype.kind, _full_scale(values)
    samples = values[:limit].reshape(min(limit, len(values)), -1).astype(np.float64)
    if kind == "u":
        full = (full + 1) / 2
        samples = samples - full
    with np.errstate(over="ignore"):
        return _mix(samples / full, channels).astype(np.float32)


def _full_scale(values: NDArray[Any]) -> float:
    """Return what is full volume: of whole numbers the largest of their type, or of the smaller type they fit into.

    Lists of whole numbers come as 64 bits and decoders write 16 bits into 32: samples of 8 bits stay as they are, wider
    types are taken for 16, 24 or 32 bits by the loudest sample of the clip.
    """
    if values.dtype.kind not in "iu":
        return 1.0
    if values.dtype.itemsize <= 2:
        return float(np.iinfo(values.dtype).max)
    loudest = max(abs(int(values.min())), abs(int(values.max())))
    return next((float(2**bits - 1) for bits in SAMPLE_BITS if loudest <= 2**bits), float(2**63 - 1))


def _open(content: bytes | str) -> Any:
    """Open a file with libsndfile; None if PyAV has to be tried."""
    import soundfile

    try:
        file = soundfile.SoundFile(io.BytesIO(content) if isinstance(content, bytes) else content)
        return None if not file.frames and has_av() else file  # a WAV file whose sizes were never filled in
    except soundfile.LibsndfileError as error:
        if has_av():
            return None
        raise NoMediaError(
            f"is not readable sound ({_error_text(error)}); convert it to WAV, FLAC, OGG or MP3, "
            "or read more formats with `pip install 'polymodal[video]'`"
        ) from None


def _error_text(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


def _read_file(
    content: bytes | str, start_s: float, duration_s: float, channels: int
) -> tuple[NDArray[np.float32], int]:
    import soundfile

    opened = _open(content)
    if opened is None:
        samples, rate = read_audio(content, start_s + duration_s)
        return _mix(samples[int(start_s * rate) :], channels), rate
    with opened as file:
        rate, declared = int(file.samplerate), int(file.frames)
        first, limit = int(start_s * rate), max(1, int(duration_s * rate))
        if first:
            _check_start(start_s, first, declared, rate)
            file.seek(first)
        try:
            samples = _read_blocks(file, limit, channels)
        except soundfile.LibsndfileError as error:
            problem = f"is damaged sound ({_error_text(error)})"
            samples, rate = _read_with_av(content, start_s + duration_s, channels, problem)
            return samples[int(start_s * rate) :], rate
    if 0 < declared < 2**62 and len(samples) < MIN_SHARE_READ * min(limit, declared - first):
        raise CellReadError(f"is damaged sound: it declares {declared:,} samples but {len(samples):,} can be decoded")
    return samples, rate


def _check_start(start_s: float, first: int, declared: int, rate: int) -> None:
    if first >= declared:
        raise CellReadError(f"has {declared / rate:g} s of sound, and its stretch starts at {start_s:g} s")


def _read_with_av(
    content: bytes | str, max_duration_s: float, channels: int, problem: str
) -> tuple[NDArray[np.float32], int]:
    """Read a file that libsndfile opens but cannot read, such as FLAC from a pipe, whose header has no length."""
    if not has_av():
        raise CellReadError(f"{problem}; more files can be read with `pip install 'polymodal[video]'`")
    try:
        samples, rate = read_audio(content, max_duration_s)
    except CellReadError:
        raise CellReadError(problem) from None
    return _mix(samples, channels), rate


def _read_blocks(file: Any, limit: int, channels: int) -> NDArray[np.float32]:
    """Read block by block, so that memory depends on the actual content, not on what the header declares."""
    step, left = max(1, BLOCK_VALUES // file.channels), limit
    blocks: list[NDArray[np.float32]] = []
    while left > 0:
        block = file.read(min(step, left), dtype="float32", always_2d=True)
        blocks.append(_mix(block, channels))
        left -= len(block)
        if len(block) < min(step, left + len(block)):
            break
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def duration_s(cell: Cell, folder: Path | None, sample_rate_hz: int, most_s: float) -> float:
    """Return how long an audio cell is, from its header where that says so.

    Args:
        cell: As in ``load_clip``.
        folder: As in ``load_clip``.
        sample_rate_hz: Rate of cells that have none.
        most_s: A clip whose header has no length is decoded up to this time; it may be infinite.

    Returns:
        Seconds.

    Raises:
        CellReadError: If there is no readable audio.
    """
    rate, num_samples, _ = read_header(cell, folder)
    span = span_of(cell)
    if num_samples and span is not None:
        whole_s = num_samples / (rate or sample_rate_hz)
        return max(min(span.end_s, whole_s) - span.start_s, 0.0)
    if num_samples:
        return num_samples / (rate or sample_rate_hz)
    if math.isinf(most_s) and has_av():
        _, own_rate, num_samples = read_audio_stretches(locate_media(cell, folder), [])
        start_s, end_s = span or Span(0.0, math.inf)
        return max(min(end_s, num_samples / own_rate) - start_s, 0.0)
    return len(load_clip(cell, folder, sample_rate_hz, min(most_s, UNDECLARED_S))) / sample_rate_hz


def read_header(cell: Cell, folder: Path | None) -> tuple[int | None, int, int]:
    """Read sample rate, length and channels of an audio cell without decoding it.

    Args:
        cell: As in ``load_clip``.
        folder: As in ``load_clip``.

    Returns:
        The clip's own rate in Hz, None where the cell has none, and its numbers of samples and channels.

    Raises:
        CellReadError: If there is no readable audio.
    """
    content = locate_media(cell, folder)
    if _holds_array(content):
        content = load_npy(read_media(cell, folder))
    if isinstance(content, bytes | str):
        opened = _open(content)
        if opened is None:
            return read_audio_header(content)
        with opened as file:
            frames = int(file.frames)
            return int(file.samplerate), frames if frames < 2**62 else 0, int(file.channels)
    array, rate = _split_rate(content)
    shape = as_array(array).shape
    return rate, max(shape, default=0), min(shape) if len(shape) == 2 else 1
