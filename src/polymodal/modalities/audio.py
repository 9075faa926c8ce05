"""Audio of any format, rate and number of channels, to log-mel spectrograms, MFCCs or samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, PositiveInt

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import parameter_error
from polymodal.modalities import checkpoint_mel, mel
from polymodal.modalities.audio_files import duration_s, load_clip, load_stereo, read_header
from polymodal.modalities.base import CellReadError, Cut, Modality, Settings
from polymodal.modalities.container import NoMediaError, NoSoundError, is_media_file
from polymodal.modalities.decoding import decode_ragged, sample_cells
from polymodal.modalities.float16 import to_float16
from polymodal.modalities.media import FileCellError, try_decode, unwrap
from polymodal.modalities.silence import choose_trim_db, non_silent_span
from polymodal.modalities.stretch import span_of

__all__ = ["Audio", "AudioSettings", "load_clip"]

HEADER_SAMPLE = 2000
CLIP_SAMPLE = 64
CUT_TOLERANCE_S = 0.01
MAX_RATE_HZ = 16_000
MAX_AMPLITUDE = 1e4
"""Samples are limited to this where loudness counts; those of files lie in -1..1."""
CONSTANT_TOLERANCE = 1e-5
"""A deviation below this share of the clip's largest value is rounding, not sound."""
ENDINGS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".m4a",
                     ".aac", ".wma", ".caf", ".amr", ".awb", ".wv", ".ape", ".mka", ".weba", ".w64", ".spx", ".mp2",
                     ".sph", ".mp1", ".snd", ".rf64", ".tta", ".ac3", ".m4b"})  # fmt: skip

Features = Literal["log_mel", "mfcc", "waveform", "samples", "whisper", "kaldi"]


class AudioSettings(Settings):
    """Options of audio.

    Attributes:
        features: What encoders get: log-mel spectra, MFCCs with their changes, samples brought to mean 0
            and deviation 1 (``waveform``) or as they are (``samples``), or the log-mel spectra of
            pretrained checkpoints: Whisper's, or Kaldi's as AST takes them.
        channels: 1 mixes all channels down; 2 keeps left and right where a training clip has them.
        sample_rate_hz: Rate of all clips; None takes the training cells' most common, at most 16,000.
        num_mels: Mel bands; None means 64 from 16,000 Hz on and 40 below.
        num_mfcc: Cepstral coefficients; as many changes are added.
        window_s: Length of a window; grows to twice the hop where that is longer.
        hop_s: From one window to the next; grows until the longest training clip has ``max_frames``.
        max_frames: Frames of a clip at most.
        max_duration_s: The clip is read up to this time.
        mean: Is subtracted from Kaldi's spectra.
        std: Twice of it divides Kaldi's spectra.
        trim_db: Silence at the ends, so many decibels below the clip's loudest, is cut off; 0 keeps it.
            None keeps it unless most training clips are mostly silent at their ends.
        of_video: Whether the cells are videos, which may have no sound.
    """

    features: Features = "log_mel"
    channels: Literal[1, 2] = 1
    sample_rate_hz: int | None = Field(default=None, ge=1000, le=192_000)
    num_mels: int | None = Field(default=None, ge=8, le=256)
    num_mfcc: int = Field(default=20, ge=2, le=128)
    window_s: float = Field(default=0.025, ge=0.002, le=1)
    hop_s: float = Field(default=0.010, ge=0.001, le=1)
    max_frames: int = Field(default=512, ge=8)
    max_duration_s: float = Field(default=30.0, gt=0, le=3600)
    mean: float = 0.0
    std: float = Field(default=0.5, gt=0)
    trim_db: float | None = Field(default=None, ge=0, le=100)
    of_video: bool = False


@dataclass(frozen=True, kw_only=True)
class Audio(Modality):
    """Clips of one rate, as frames of features or as samples.

    One channel is the mean of all; of two channels the first two are left and right, and a clip that has
    only one gives it twice. Clips are resampled (soxr, high quality). Each clip is normalised by itself:
    log-mel by one mean and deviation over all its values, MFCCs by one for each coefficient, samples
    to mean 0 and deviation 1; its channels together, so that the louder one stays the louder one. A silent
    clip becomes zeros. What pretrained checkpoints read keeps its loudness (``samples``, ``whisper``, ``kaldi``)
    and has one channel. An array without a rate is taken to be at ``sample_rate_hz``; of an array with two
    axes the shorter one holds the channels. Files that libsndfile does not know (MP4, MKV, M4A, ...) are read
    with PyAV, where it is installed.

    Attributes:
        features: ``log_mel``, ``mfcc``, ``waveform``, ``samples``, ``whisper`` or ``kaldi``.
        sample_rate_hz: Samples per second after resampling.
        num_mels: Mel bands; for ``log_mel`` evenly spaced on HTK's mel scale from 0 to half the rate.
        num_mfcc: Cepstral coefficients.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.
        fft_length: Samples of the Fourier transform.
        max_frames: Frames of a clip at most.
        max_duration_s: The clip is read up to this time.
        median_duration_s: Of the training clips that were looked at, without the silence that is cut off.
        channels: 1, or 2 for left and right; the features of a frame are then left's followed by right's.
        mean: Is subtracted from Kaldi's spectra.
        std: Twice of it divides Kaldi's spectra.
        trim_db: Silence at the ends, so many decibels below the clip's loudest, is cut off; 0 keeps it.
        of_video: Whether the cells are videos. One without sound is absent, not broken, and so is one
            that cannot be read at all: the video's own column names it.
    """

    features: Features
    sample_rate_hz: int
    num_mels: int
    num_mfcc: int
    window_length: PositiveInt
    hop_length: PositiveInt
    fft_length: PositiveInt
    max_frames: int
    max_duration_s: float
    median_duration_s: float
    channels: int = 1
    mean: float = 0.0
    std: float = 0.5
    trim_db: float = 0.0
    of_video: bool = False

    name: ClassVar[str] = "audio"
    summary: ClassVar[str] = "sound as files, bytes or arrays, mono or stereo, to log-mel spectra, MFCCs or samples"
    paper: ClassVar[str] = "Davis and Mermelstein 1980 (mel cepstra); the HTK Book 3.4, section 5; soxr resampling"
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    endings: ClassVar[frozenset[str]] = ENDINGS
    Settings: ClassVar[type[BaseModel]] = AudioSettings

    @property
    def num_features(self) -> int:
        """Values per step, of all channels: mel bands, coefficients with their changes, or samples."""
        if self.is_waveform:
            return self.channels
        return self.channels * (2 * self.num_mfcc if self.features == "mfcc" else self.num_mels)

    @property
    def is_waveform(self) -> bool:
        """Whether encoders read samples, not spectrograms."""
        return self.features in ("waveform", "samples")

    @classmethod
    def fit(
        cls, cells: Sequence[Cell], settings: AudioSettings, folder: Path | None, *, num_threads: int | None = None
    ) -> Audio:
        """Fit sample rate, mel bands and hop length on the headers of the training clips.

        Args:
            cells: Training cells.
            settings: Options.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read headers.

        Returns:
            The fitted modality.
        """
        cells = _without_arrays(cells) if settings.of_video else cells
        found = sample_cells(cells, partial(read_header, folder=folder), HEADER_SAMPLE, num_threads)
        headers = [header for _, header in found]
        found = [(cell, header) for cell, header in found if span_of(cell) is None] + [
            (cell, (None, 0, 1)) for cell, _ in found if span_of(cell) is not None
        ]
        rate = settings.sample_rate_hz or _most_common_rate([rate for rate, _, _ in headers])
        durations = [num_samples / (own_rate or rate) for own_rate, num_samples, _ in headers if num_samples]
        measure = partial(duration_s, folder=folder, sample_rate_hz=rate, most_s=settings.max_duration_s)
        without = [cell for cell, (_, num_samples, _) in found if not num_samples]  # as browsers record
        durations += [seconds for _, seconds in sample_cells(without, measure, CLIP_SAMPLE, num_threads)]
        longest_s = min(settings.max_duration_s, max(durations, default=0.0))
        channels = min(settings.channels, max([1, *(channels for _, _, channels in headers)]))
        if settings.channels > 1 and settings.features in ("samples", *checkpoint_mel.FEATURES):
            raise parameter_error("channels", f"audio with the features {settings.features!r}", "1", settings.channels)
        load = _loader(channels, folder, rate, settings.max_duration_s)
        clips = (
            [] if settings.trim_db == 0 else [clip for _, clip in sample_cells(cells, load, CLIP_SAMPLE, num_threads)]
        )
        trim_db = choose_trim_db(clips, rate) if settings.trim_db is None else settings.trim_db
        if trim_db:
            durations = [len(clip[non_silent_span(clip, rate, trim_db)]) / rate for clip in clips]
        num_mels = settings.num_mels or (64 if rate >= MAX_RATE_HZ else 40)
        hop = max(round(settings.hop_s * rate), math.ceil(longest_s * rate / settings.max_frames), 1)
        window = max(round(settings.window_s * rate), 2 * hop)
        fft_length = mel.choose_fft_length(rate, window, num_mels)
        if settings.features in checkpoint_mel.FEATURES:
            hop, window, fft_length = checkpoint_mel.windows(settings.features, settings.hop_s, settings.window_s, rate)
        return cls(
            features=settings.features,
            sample_rate_hz=rate,
            num_mels=num_mels,
            num_mfcc=min(settings.num_mfcc, num_mels),
            window_length=window,
            hop_length=hop,
            fft_length=fft_length,
            max_frames=settings.max_frames,
            max_duration_s=settings.max_duration_s,
            median_duration_s=float(np.median(durations)) if durations else 0.0,
            channels=channels,
            mean=settings.mean,
            std=settings.std,
            trim_db=trim_db,
            of_video=settings.of_video,
        )

    def transform(
        self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None
    ) -> tuple[Column, list[BrokenCell]]:
        """Decode clips, each distinct file once.

        Args:
            cells: Paths, bytes, structs, arrays, or ``(array, sample_rate_hz)``.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of decoding threads.

        Returns:
            float16 ``[rows, frames, features]`` or ``[rows, samples, channels]``, as long as the longest
            clip, with lengths; and the broken cells.
        """
        work = partial(self._decode, folder=folder)
        decodable = _without_arrays(cells) if self.of_video else cells
        return decode_ragged(decodable, work, (self.num_features,), np.float16, num_threads)

    def _decode(self, chunk: list[Cell], folder: Path | None) -> list[NDArray[np.float16] | CellReadError | None]:
        loaded = [try_decode(partial(self._load, folder=folder), cell) for cell in chunk]
        clips = [clip for clip in loaded if isinstance(clip, np.ndarray)]
        computed = iter(self._compute_features(clips) if self.channels == 1 else self._compute_stereo_features(clips))
        return [next(computed) if isinstance(clip, np.ndarray) else clip for clip in loaded]

    def _load(self, cell: Cell, folder: Path | None) -> NDArray[np.float32] | None:
        """Return a clip with silent ends trimmed; None for a video without audio."""
        try:
            clip = _loader(self.channels, folder, self.sample_rate_hz, self.max_duration_s)(cell)
        except (NoSoundError, NoMediaError, FileCellError):
            if self.of_video:
                return None
            raise
        return clip[non_silent_span(clip, self.sample_rate_hz, self.trim_db)] if self.trim_db else clip

    def _compute_features(self, clips: list[NDArray[np.float32]]) -> list[NDArray[np.float16]]:
        if self.features == "waveform":
            return [normalise(clip[:, None]) for clip in clips]
        if self.features == "samples":
            return [to_float16(np.clip(clip[:, None], -MAX_AMPLITUDE, MAX_AMPLITUDE)) for clip in clips]
        if self.features in checkpoint_mel.FEATURES:
            clipped = [np.clip(clip, -MAX_AMPLITUDE, MAX_AMPLITUDE) for clip in clips]
            return [to_float16(self._checkpoint_mel(clip)) for clip in clipped]
        spectra = self._log_mel(clips)
        if self.features == "log_mel":
            return [normalise(spectrum) for spectrum in spectra]
        return [normalise(mel.mfcc(spectrum, self.num_mfcc), axis=0) for spectrum in spectra]

    def _checkpoint_mel(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the spectrum ``[frames, num_mels]`` that a checkpoint was trained on."""
        shared = {
            "sample_rate_hz": self.sample_rate_hz,
            "window_length": self.window_length,
            "hop_length": self.hop_length,
            "num_mels": self.num_mels,
            "max_frames": self.max_frames,
        }
        if self.features == "whisper":
            return checkpoint_mel.whisper_log_mel(clip, **shared)
        return checkpoint_mel.kaldi_log_mel(clip, **shared, fft_length=self.fft_length, mean=self.mean, std=self.std)

    def _compute_stereo_features(self, clips: list[NDArray[np.float32]]) -> list[NDArray[np.float16]]:
        if self.features == "waveform":
            return [normalise(clip) for clip in clips]
        sides = [self._log_mel([np.ascontiguousarray(clip[:, side]) for clip in clips]) for side in range(2)]
        spectra = [mel.limit_dynamic_range(np.stack(both, axis=1)) for both in zip(*sides, strict=True)]
        if self.features == "log_mel":
            return [normalise(spectrum).reshape(len(spectrum), -1) for spectrum in spectra]
        return [normalise(self._cepstra(spectrum), axis=(0, 1)).reshape(len(spectrum), -1) for spectrum in spectra]

    def _cepstra(self, spectrum_TKM: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([mel.mfcc(spectrum_TKM[:, side], self.num_mfcc) for side in range(2)], axis=1)

    def _log_mel(self, clips: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return mel.log_mel(
            clips,
            sample_rate_hz=self.sample_rate_hz,
            window_length=self.window_length,
            hop_length=self.hop_length,
            fft_length=self.fft_length,
            num_mels=self.num_mels,
            max_frames=self.max_frames,
        )

    def with_settings(self, settings: AudioSettings) -> Audio:
        """Return the modality for one of several streams that were fitted together.

        Args:
            settings: The stream's own options.

        Returns:
            The same, for cells that are videos or are not.
        """
        return self if self.of_video == settings.of_video else replace(self, of_video=settings.of_video)

    def notice(self, column: str, asked: Mapping[str, Any]) -> str:
        """Report that there is one channel if two were requested.

        Args:
            column: The column's name.
            asked: Options that the user gave.

        Returns:
            A sentence for the user; empty where there is nothing to say.
        """
        if asked.get("channels") == 2 and self.channels == 1:
            return f"No training clip of the column {column!r} has two channels, so one is kept (asked for: 2)."
        return ""

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:
        """Count the clips that are longer than what is read of them, by their headers.

        Args:
            cells: As in ``transform``; at most 2,000 are looked at.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read headers.

        Returns:
            The counts.
        """
        frames_s = math.inf if self.is_waveform else self.max_frames * self.hop_length / self.sample_rate_hz
        limit_s = min(self.max_duration_s, frames_s)
        cells = _without_arrays(cells) if self.of_video else cells
        measure = partial(duration_s, folder=folder, sample_rate_hz=self.sample_rate_hz, most_s=1.1 * limit_s)
        found = [seconds for _, seconds in sample_cells(cells, measure, HEADER_SAMPLE, num_threads)]
        num_cut = sum(
            seconds > limit_s + max(CUT_TOLERANCE_S, self.hop_length / self.sample_rate_hz) for seconds in found
        )
        effect = f"are longer than {limit_s:.3g} s; only the first {limit_s:.3g} s are used"
        return Cut(num_cut, len(found), effect, "max_duration_s" if limit_s == self.max_duration_s else "max_frames")

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Audio:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned.

        Returns:
            The same modality.
        """
        return cls(**state)


def _loader(
    channels: int, folder: Path | None, sample_rate_hz: int, max_duration_s: float
) -> Callable[[Cell], NDArray[np.float32]]:
    """Return the function that loads a cell as one channel ``[samples]`` or as two ``[samples, 2]``."""
    load = load_clip if channels == 1 else load_stereo
    return partial(load, folder=folder, sample_rate_hz=sample_rate_hz, max_duration_s=max_duration_s)


def _without_arrays(cells: Sequence[Cell]) -> list[Cell]:
    """Replace videos that are arrays, which have no audio, by None."""
    return [cell if is_media_file(unwrap(cell)) else None for cell in cells]


def normalise(values: NDArray[np.float32], axis: int | tuple[int, ...] | None = None) -> NDArray[np.float16]:
    """Normalise a clip's values to mean 0 and standard deviation 1; constant values become 0.

    Args:
        values: float32 ``[steps, features]`` or ``[steps, channels, features]``.
        axis: What is normalised together: 0 each feature by itself, (0, 1) each feature over all channels; None
            everything.

    Returns:
        float16 of the same shape.
    """
    centred = values - values.mean(axis=axis, keepdims=True, dtype=np.float64)
    deviation = centred.std(axis=axis, keepdims=True)
    rounding = CONSTANT_TOLERANCE * np.abs(values).max()
    return np.asarray(centred / np.where(deviation > rounding, deviation, np.inf), np.float16)


def _most_common_rate(rates: list[int | None]) -> int:
    known = Counter(rate for rate in rates if rate)
    if not known:
        return MAX_RATE_HZ
    most = max(known.values())
    return min(MAX_RATE_HZ, max(rate for rate, count in known.items() if count == most))
