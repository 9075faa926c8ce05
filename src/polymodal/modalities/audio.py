"""Sound: any format, rate and number of channels to log-mel spectra, MFCCs or samples."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities import mel
from polymodal.modalities.base import CellReadError, Settings
from polymodal.modalities.container import NoMediaError, NoSoundError, has_av, is_file, read_sound, sound_header
from polymodal.modalities.media import (
    NUMPY_MAGIC,
    FileCellError,
    as_array,
    attempt,
    by_row,
    decode_chunks,
    distinct,
    load_npy,
    locate_media,
    read_media,
    sample,
    unwrap,
)
from polymodal.modalities.silence import choose_trim_db, loud_span

HEADER_SAMPLE = 2000
CLIP_SAMPLE = 64
MAX_RATE_HZ = 16_000
BLOCK_VALUES = 2**20
MIN_SHARE_READ = 0.9
CONSTANT = 1e-5
"""A deviation below this share of the clip's largest value is rounding, not sound."""

Features = Literal["log_mel", "mfcc", "waveform"]


class AudioSettings(Settings):
    """Options of sound.

    Attributes:
        features: What encoders get: log-mel spectra, MFCCs with their changes, or samples.
        sample_rate_hz: Rate of all clips; None takes the training cells' most common, at most 16,000.
        num_mels: Mel bands; None means 64 from 16,000 Hz on and 40 below.
        num_mfcc: Cepstral coefficients; as many changes are added.
        window_s: Length of a window; grows to twice the hop where that is longer.
        hop_s: From one window to the next; grows until the longest training clip has ``max_frames``.
        max_frames: Frames of a clip at most.
        max_duration_s: What a clip has beyond this is not read.
        trim_db: Silence at the ends, so many decibels below the clip's loudest, is cut off; 0 keeps it.
            None keeps it unless most training clips are mostly silent at their ends.
        of_video: Whether the cells are videos, which may have no sound.
    """

    features: Features = "log_mel"
    sample_rate_hz: int | None = Field(default=None, ge=1000, le=192_000)
    num_mels: int | None = Field(default=None, ge=8, le=256)
    num_mfcc: int = Field(default=20, ge=2, le=128)
    window_s: float = Field(default=0.025, ge=0.002, le=1)
    hop_s: float = Field(default=0.010, ge=0.001, le=1)
    max_frames: int = Field(default=512, ge=8)
    max_duration_s: float = Field(default=30.0, gt=0, le=3600)
    trim_db: float | None = Field(default=None, ge=0, le=100)
    of_video: bool = False


@dataclass(frozen=True, kw_only=True)
class Audio:
    """Clips of one rate, as frames of features or as samples.

    Channels are averaged, clips resampled (soxr, high quality). Each clip is normalised by itself:
    log-mel by one mean and deviation over all its values, MFCCs by one for each coefficient, samples
    to mean 0 and deviation 1. A silent clip becomes zeros. An array without a rate is taken to be at
    ``sample_rate_hz``; of an array with two axes the shorter one holds the channels. Files that
    libsndfile does not know (MP4, MKV, M4A, ...) are read with PyAV, where it is installed.

    Attributes:
        features: ``log_mel``, ``mfcc`` or ``waveform``.
        sample_rate_hz: Samples per second after resampling.
        num_mels: Mel bands, evenly spaced on HTK's mel scale from 0 to half the rate.
        num_mfcc: Cepstral coefficients.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.
        fft_length: Samples of the Fourier transform.
        max_frames: Frames of a clip at most.
        max_duration_s: What a clip has beyond this is not read.
        median_duration_s: Of the training clips that were looked at, without the silence that is cut off.
        trim_db: Silence at the ends, so many decibels below the clip's loudest, is cut off; 0 keeps it.
        of_video: Whether the cells are videos. One without sound is absent, not broken, and so is one
            that cannot be read at all: the video's own column names it.
    """

    features: Features
    sample_rate_hz: int
    num_mels: int
    num_mfcc: int
    window_length: int
    hop_length: int
    fft_length: int
    max_frames: int
    max_duration_s: float
    median_duration_s: float
    trim_db: float = 0.0
    of_video: bool = False

    name: ClassVar[str] = "audio"
    summary: ClassVar[str] = "sound as files, bytes or arrays, to log-mel spectra, MFCCs or samples"
    paper: ClassVar[str] = "Davis and Mermelstein 1980 (mel cepstra); the HTK Book 3.4, section 5; soxr resampling"
    is_media: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = AudioSettings

    @property
    def num_features(self) -> int:
        """Values per step: mel bands, coefficients with their changes, or 1 sample."""
        return {"log_mel": self.num_mels, "mfcc": 2 * self.num_mfcc, "waveform": 1}[self.features]

    @classmethod
    def fit(cls, cells: Sequence[Cell], settings: AudioSettings, folder: Path | None, *, num_threads: int = 2) -> Audio:
        """Choose rate, bands and hop from the headers of the training clips.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Where relative paths begin; None refuses strings as paths.
            num_threads: Threads that read headers.

        Returns:
            The fitted modality.
        """
        cells = _with_sound(cells) if settings.of_video else cells
        headers = [header for _, header in sample(cells, partial(_header, folder=folder), HEADER_SAMPLE, num_threads)]
        rate = settings.sample_rate_hz or _common_rate([rate for rate, _ in headers])
        durations = [num_samples / (own_rate or rate) for own_rate, num_samples in headers]
        longest_s = min(settings.max_duration_s, max(durations, default=0.0))
        load = partial(load_clip, folder=folder, sample_rate_hz=rate, max_duration_s=settings.max_duration_s)
        clips = [clip for _, clip in sample(cells, load, CLIP_SAMPLE, num_threads)]
        trim_db = choose_trim_db(clips, rate) if settings.trim_db is None else settings.trim_db
        if trim_db:
            durations = [len(clip[loud_span(clip, rate, trim_db)]) / rate for clip in clips]
        hop = max(round(settings.hop_s * rate), math.ceil(longest_s * rate / settings.max_frames), 1)
        window = max(round(settings.window_s * rate), 2 * hop)
        num_mels = settings.num_mels or (64 if rate >= MAX_RATE_HZ else 40)
        return cls(
            features=settings.features,
            sample_rate_hz=rate,
            num_mels=num_mels,
            num_mfcc=min(settings.num_mfcc, num_mels),
            window_length=window,
            hop_length=hop,
            fft_length=mel.choose_fft_length(rate, window, num_mels),
            max_frames=settings.max_frames,
            max_duration_s=settings.max_duration_s,
            median_duration_s=float(np.median(durations)) if durations else 0.0,
            trim_db=trim_db,
            of_video=settings.of_video,
        )

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int = 2
    ) -> tuple[Column, list[BrokenCell]]:
        """Decode clips, each distinct file once.

        Args:
            cells: Paths, bytes, structs, arrays, or ``(array, sample_rate_hz)``.
            folder: Where relative paths begin; None refuses strings as paths.
            num_threads: Threads that decode.

        Returns:
            float16 ``[rows, frames, features]`` or ``[rows, samples, 1]``, as long as the longest
            clip, with lengths; and the broken cells.
        """
        groups = distinct(_with_sound(cells) if self.of_video else cells)
        work = partial(self._decode, folder=folder)
        results = list(decode_chunks([cell for cell, _ in groups], work, num_threads))
        steps = max((len(found) for found in results if isinstance(found, np.ndarray)), default=1)
        values = np.zeros((len(cells), steps, self.num_features), np.float16)
        lengths, present = np.zeros(len(cells), np.int64), np.zeros(len(cells), bool)
        failures = []
        for (_, rows), result in zip(groups, results, strict=True):
            if isinstance(result, CellReadError):
                failures.append((rows, result))
            if not isinstance(result, np.ndarray):
                continue
            values[rows, : len(result)] = result
            lengths[rows], present[rows] = len(result), True
        return Column(values, present, lengths), by_row(failures)

    def _decode(self, chunk: list[Cell], folder: Path | None) -> list[NDArray[np.float16] | CellReadError | None]:
        loaded = [attempt(partial(self._load, folder=folder), cell) for cell in chunk]
        described = iter(self._describe([clip for clip in loaded if isinstance(clip, np.ndarray)]))
        return [next(described) if isinstance(clip, np.ndarray) else clip for clip in loaded]

    def _load(self, cell: Cell, folder: Path | None) -> NDArray[np.float32] | None:
        """Return a clip without silent ends; None for a video without sound."""
        try:
            clip = load_clip(cell, folder, self.sample_rate_hz, self.max_duration_s)
        except (NoSoundError, NoMediaError, FileCellError):
            if self.of_video:
                return None
            raise
        return clip[loud_span(clip, self.sample_rate_hz, self.trim_db)] if self.trim_db else clip

    def _describe(self, clips: list[NDArray[np.float32]]) -> list[NDArray[np.float16]]:
        if self.features == "waveform":
            return [normalise(clip[:, None]) for clip in clips]
        spectra = mel.log_mel(
            clips,
            sample_rate_hz=self.sample_rate_hz,
            window_length=self.window_length,
            hop_length=self.hop_length,
            fft_length=self.fft_length,
            num_mels=self.num_mels,
            max_frames=self.max_frames,
        )
        if self.features == "log_mel":
            return [normalise(spectrum) for spectrum in spectra]
        return [normalise(mel.mfcc(spectrum, self.num_mfcc), axis=0) for spectrum in spectra]

    def state(self) -> dict[str, Any]:
        """Return what was fitted, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Audio:
        """Make the modality again from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def _with_sound(cells: Sequence[Cell]) -> list[Cell]:
    """Make videos absent that are arrays: they have no sound."""
    return [cell if is_file(unwrap(cell)) else None for cell in cells]


def normalise(values: NDArray[np.float32], axis: int | None = None) -> NDArray[np.float16]:
    """Bring a clip's values to mean 0 and deviation 1; constant values become 0.

    Args:
        values: float32 ``[steps, features]``.
        axis: 0 normalises each feature by itself; None all together.

    Returns:
        float16 of the same shape.
    """
    centred = values - values.mean(axis=axis, keepdims=True, dtype=np.float64)
    deviation = centred.std(axis=axis, keepdims=True)
    rounding = CONSTANT * np.abs(values).max()
    return np.asarray(centred / np.where(deviation > rounding, deviation, np.inf), np.float16)


def load_clip(
    cell: Cell, folder: Path | None, sample_rate_hz: int, max_duration_s: float = 30.0
) -> NDArray[np.float32]:
    """Read a sound cell as one channel at one rate.

    Args:
        cell: Path, bytes, struct, array, or ``(array, rate)``.
        folder: Where relative paths begin; None refuses strings as paths.
        sample_rate_hz: The rate wanted.
        max_duration_s: What is beyond is not read.

    Returns:
        float32 ``[samples]``, at least one, in -1..1 where the file is.

    Raises:
        CellReadError: If there is no readable sound.
    """
    samples, rate = _read_samples(cell, folder, max_duration_s, sample_rate_hz)
    if not len(samples):
        raise CellReadError("holds no samples")
    if not np.isfinite(samples).all():
        raise CellReadError(f"holds {int((~np.isfinite(samples)).sum()):,} samples that are NaN or infinite")
    return samples if rate == sample_rate_hz else _resample(samples, rate, sample_rate_hz)


def _resample(samples: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    import soxr

    resampled = np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"), np.float32)
    return resampled if len(resampled) else np.zeros(1, np.float32)


def _read_samples(
    cell: Cell, folder: Path | None, max_duration_s: float, assumed_rate: int
) -> tuple[NDArray[np.float32], int]:
    content = locate_media(cell, folder)
    if _holds_array(content):
        content = load_npy(read_media(cell, folder))
    if isinstance(content, bytes | Path):
        return _read_file(content, max_duration_s)
    array, rate = _split_rate(content)
    rate = rate or assumed_rate
    return _mix_array(as_array(array), max(1, int(max_duration_s * rate))), rate


def _holds_array(content: Any) -> bool:
    if isinstance(content, Path):
        return content.suffix.lower() == ".npy"
    return isinstance(content, bytes) and content.startswith(NUMPY_MAGIC)


def _split_rate(content: Any) -> tuple[Any, int | None]:
    if isinstance(content, Mapping):
        return content["array"], _check_rate(content.get("sampling_rate"))
    if isinstance(content, tuple) and len(content) == 2 and np.ndim(content[0]) > 0 and np.ndim(content[1]) == 0:
        return content[0], _check_rate(content[1])
    return content, None


def _check_rate(rate: Any) -> int | None:
    if rate is None:
        return None
    if not 1 <= float(rate) <= 1_000_000:
        raise CellReadError(f"has a sample rate of {rate} Hz; expected 1 to 1,000,000")
    return round(float(rate))


def _mix_array(values: NDArray[Any], limit: int) -> NDArray[np.float32]:
    if values.ndim not in (1, 2):
        raise CellReadError(f"is an array of shape {list(values.shape)}; expected [samples] or [samples, channels]")
    if not values.size:
        raise CellReadError(f"is an array of shape {list(values.shape)}, without samples")
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    kind, full = values.dtype.kind, float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else 1.0
    samples = values[:limit].astype(np.float64)
    if kind == "u":
        full = (full + 1) / 2
        samples = samples - full
    samples = samples / full
    samples = samples.mean(axis=1) if samples.ndim == 2 else samples
    with np.errstate(over="ignore"):
        return samples.astype(np.float32)


def _open(content: bytes | Path) -> Any:
    """Open a file with libsndfile; None where PyAV is to try."""
    import soundfile

    try:
        return soundfile.SoundFile(io.BytesIO(content) if isinstance(content, bytes) else content)
    except soundfile.LibsndfileError as error:
        if has_av():
            return None
        raise NoMediaError(
            f"is not readable sound ({_error_text(error)}); convert it to WAV, FLAC, OGG or MP3, "
            "or read more formats with `pip install 'polymodal[video]'`"
        ) from None


def _error_text(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


def _read_file(content: bytes | Path, max_duration_s: float) -> tuple[NDArray[np.float32], int]:
    import soundfile

    opened = _open(content)
    if opened is None:
        samples, rate = read_sound(content, max_duration_s)
        return samples.mean(axis=1), rate
    with opened as file:
        rate, declared = int(file.samplerate), int(file.frames)
        limit = max(1, int(max_duration_s * rate))
        try:
            samples = _read_blocks(file, limit)
        except soundfile.LibsndfileError as error:
            raise CellReadError(f"is damaged sound ({_error_text(error)})") from None
    if 0 < declared < 2**62 and len(samples) < MIN_SHARE_READ * min(limit, declared):
        raise CellReadError(f"is damaged sound: it declares {declared:,} samples but {len(samples):,} can be decoded")
    return samples, rate


def _read_blocks(file: Any, limit: int) -> NDArray[np.float32]:
    """Read block by block, so that memory follows what is there and not what a header declares."""
    step, left = max(1, BLOCK_VALUES // file.channels), limit
    blocks: list[NDArray[np.float32]] = []
    while left > 0:
        block = file.read(min(step, left), dtype="float32", always_2d=True)
        blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1))
        left -= len(block)
        if len(block) < min(step, left + len(block)):
            break
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _header(cell: Cell, folder: Path | None) -> tuple[int | None, int]:
    """Return a clip's own rate, None where the cell has none, and its number of samples."""
    content = locate_media(cell, folder)
    if _holds_array(content):
        content = load_npy(read_media(cell, folder))
    if isinstance(content, bytes | Path):
        opened = _open(content)
        if opened is None:
            return sound_header(content)[:2]
        with opened as file:
            frames = int(file.frames)
            return int(file.samplerate), frames if frames < 2**62 else 0
    array, rate = _split_rate(content)
    return rate, max(as_array(array).shape, default=0)


def _common_rate(rates: list[int | None]) -> int:
    known = Counter(rate for rate in rates if rate)
    if not known:
        return MAX_RATE_HZ
    most = max(known.values())
    return min(MAX_RATE_HZ, max(rate for rate, count in known.items() if count == most))
