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
from pydantic import BaseModel, Field

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.errors import parameter_error
from polymodal.modalities import checkpoint_mel, mel
from polymodal.modalities.audio_files import duration_s, load_clip, load_stereo, read_header
from polymodal.modalities.audio_segments import WHOLE_S, Part, SegmentReader, choose_segment_s
from polymodal.modalities.base import CellReadError, Cut, Modality, Settings
from polymodal.modalities.container import NoMediaError, NoSoundError, is_media_file
from polymodal.modalities.decoding import decode_ragged, sample_cells
from polymodal.modalities.media import FileCellError, try_decode, unwrap
from polymodal.modalities.silence import choose_trim_db, non_silent_span
from polymodal.modalities.sound_features import Features, SoundFeatures
from polymodal.modalities.stretch import span_of

__all__ = ["Audio", "AudioSettings", "load_clip"]

HEADER_SAMPLE = 2000
CLIP_SAMPLE = 64
CUT_TOLERANCE_S = 0.01
MAX_RATE_HZ = 16_000
SEGMENT_FRAMES, SEGMENT_SAMPLES = 8, 1024
"""Segments are so many times a number: encoders merge as many frames, or samples, to one step at most."""
ENDINGS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".m4a",
                     ".aac", ".wma", ".caf", ".amr", ".awb", ".wv", ".ape", ".mka", ".weba", ".w64", ".spx", ".mp2",
                     ".sph", ".mp1", ".snd", ".rf64", ".tta", ".ac3", ".m4b"})  # fmt: skip


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
        hop_s: From one window to the next; grows until the longest training clip, or its segment, has ``max_frames``.
        max_frames: Frames of a segment at most.
        segment_s: Longer clips are encoded in segments of so many seconds, which are pooled. None: 30, or where a
            training clip is longer the median length, but 5 to 10.
        max_segments: Segments of a clip at most; of longer ones so many are read, spread evenly.
        max_duration_s: The rest of a clip is not read; None reads all.
        mean: Is subtracted from Kaldi's spectra.
        std: Twice of it divides Kaldi's spectra.
        trim_db: Silence at the ends, so many decibels below the clip's loudest, is cut off; 0 keeps it.
            None keeps it unless most training clips are mostly silent at their ends and none is longer than a segment.
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
    segment_s: float | None = Field(default=None, ge=0.1, le=3600)
    max_segments: int = Field(default=32, ge=1, le=4096)
    max_duration_s: float | None = Field(default=None, gt=0)
    mean: float = 0.0
    std: float = Field(default=0.5, gt=0)
    trim_db: float | None = Field(default=None, ge=0, le=100)
    of_video: bool = False


Header = tuple[int | None, int, int]
"""A clip's own rate, None where it has none; its samples, 0 where they are not declared; its channels."""


@dataclass(frozen=True, kw_only=True)
class Audio(SoundFeatures, Modality):
    """Clips of one rate, as frames of features or as samples.

    One channel is the mean of all; of two channels the first two are left and right, and a clip that has
    only one gives it twice. Clips are resampled (soxr, high quality). An array without a rate is taken to be at
    ``sample_rate_hz``; of an array with two axes the shorter one holds the channels. Files that libsndfile does not
    know (MP4, MKV, M4A, ...) are read with PyAV, where it is installed.

    Attributes:
        max_duration_s: The rest of a clip is not read; None reads all.
        median_duration_s: Of the training clips that were looked at, without the silence that is cut off.
        trim_db: Silence at the ends, so many decibels below the clip's loudest, is cut off; 0 keeps it.
        of_video: Whether the cells are videos. One without sound is absent, not broken, and so is one
            that cannot be read at all: the video's own column names it.
        num_segments: Segments of the longest training clip that was looked at.
    """

    max_duration_s: float | None
    median_duration_s: float
    trim_db: float = 0.0
    of_video: bool = False
    num_segments: int = 1

    name: ClassVar[str] = "audio"
    summary: ClassVar[str] = "sound as files, bytes or arrays, mono or stereo, to log-mel spectra, MFCCs or samples"
    paper: ClassVar[str] = "Davis and Mermelstein 1980 (mel cepstra); the HTK Book 3.4, section 5; soxr resampling"
    is_media: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    endings: ClassVar[frozenset[str]] = ENDINGS
    Settings: ClassVar[type[BaseModel]] = AudioSettings

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
        if settings.channels > 1 and settings.features in ("samples", *checkpoint_mel.FEATURES):
            raise parameter_error("channels", f"audio with the features {settings.features!r}", "1", settings.channels)
        cells = _without_arrays(cells) if settings.of_video else cells
        found = sample_cells(cells, partial(read_header, folder=folder), HEADER_SAMPLE, num_threads)
        rate = settings.sample_rate_hz or _most_common_rate([rate for _, (rate, _, _) in found])
        channels = min(settings.channels, max([1, *(channels for _, (_, _, channels) in found)]))
        limit_s = settings.max_duration_s or math.inf
        measure = partial(duration_s, folder=folder, sample_rate_hz=rate, most_s=limit_s)
        durations = _durations_s(found, rate, measure, num_threads)
        segment_s = settings.segment_s or choose_segment_s(durations, limit_s)
        longest_s = min(limit_s, max(durations, default=0.0))
        clips = []
        if settings.trim_db or (settings.trim_db is None and longest_s <= segment_s):
            load = _loader(channels, folder, rate, min(limit_s, WHOLE_S))
            clips = [clip for _, clip in sample_cells(cells, load, CLIP_SAMPLE, num_threads)]
        trim_db = choose_trim_db(clips, rate) if settings.trim_db is None else settings.trim_db
        if trim_db:
            durations = [len(clip[non_silent_span(clip, rate, trim_db)]) / rate for clip in clips]
        frames = _frames(settings, rate, min(longest_s, segment_s))
        return cls(
            **frames,
            **_segments(settings, frames["hop_length"], round(segment_s * rate), round(longest_s * rate)),
            features=settings.features,
            sample_rate_hz=rate,
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
        if self.num_segments > 1 and len(chunk) > 1:  # one long clip in memory at a time
            return [found for cell in chunk for found in self._decode([cell], folder)]
        loaded = [try_decode(partial(self._load, folder=folder), cell) for cell in chunk]
        computed = iter(self.compute([clip for clip in loaded if isinstance(clip, list)]))
        return [next(computed) if isinstance(clip, list) else clip for clip in loaded]

    def _load(self, cell: Cell, folder: Path | None) -> list[NDArray[np.float32]] | None:
        """Return the parts of a clip, ``[samples, channels]`` each; None for a video without audio."""
        try:
            return [samples for _, samples in self.read_parts(cell, folder)]
        except (NoSoundError, NoMediaError, FileCellError):
            if self.of_video:
                return None
            raise

    def read_parts(self, cell: Cell, folder: Path | None) -> list[Part]:
        """Read a clip, silent ends trimmed.

        Args:
            cell: Path, bytes, struct, array, or ``(array, rate)``.
            folder: Base folder of relative paths; None: strings are not opened as paths.

        Returns:
            The whole clip as one part; of one with more than ``max_segments`` segments, so many parts of it.

        Raises:
            CellReadError: If there is no readable audio.
        """
        parts = self.reader.read(cell, folder)
        if not self.trim_db or len(parts) > 1:
            return parts
        ((_, clip),) = parts
        span = non_silent_span(clip, self.sample_rate_hz, self.trim_db)
        return [(span.start / self.sample_rate_hz, clip[span])]

    @property
    def reader(self) -> SegmentReader:
        """What reads clips, with their silent ends."""
        whole = round((self.max_duration_s or WHOLE_S) * self.sample_rate_hz)
        return SegmentReader(
            sample_rate_hz=self.sample_rate_hz,
            channels=self.channels,
            max_duration_s=self.max_duration_s or math.inf,
            segment_length=self.segment_length or whole,
            max_segments=self.max_segments,
            overlap=self.overlap,
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
        """Report that there is one channel if two were requested, and how long clips are encoded.

        Args:
            column: The column's name.
            asked: Options that the user gave.

        Returns:
            A sentence for the user; empty where there is nothing to say.
        """
        sentences = []
        if asked.get("channels") == 2 and self.channels == 1:
            sentences.append(
                f"No training clip of the column {column!r} has two channels, so one is kept (asked for: 2)."
            )
        if self.num_segments > 1:
            sentences.append(
                f"Clips of the column {column!r} that are longer than {self.segment_s:.3g} s are encoded in segments "
                f"of {self.segment_s:.3g} s, which are pooled; the longest training clip has {self.num_segments}."
            )
        return " ".join(sentences)

    @property
    def segment_s(self) -> float:
        """Length of a segment in seconds."""
        return self.segment_length / self.sample_rate_hz

    def cut(self, cells: Sequence[Cell], folder: Path | None, *, num_threads: int | None = None) -> Cut | None:
        """Count the clips that are longer than what is read of them, by their headers.

        Args:
            cells: As in ``transform``; at most 2,000 are looked at.
            folder: Base folder of relative paths; None: strings are not opened as paths.
            num_threads: Number of threads that read headers.

        Returns:
            The counts.
        """
        limit_s = min(self.max_duration_s or math.inf, self.reader.whole_s)
        cells = _without_arrays(cells) if self.of_video else cells
        measure = partial(duration_s, folder=folder, sample_rate_hz=self.sample_rate_hz, most_s=1.1 * limit_s)
        found = [seconds for _, seconds in sample_cells(cells, measure, HEADER_SAMPLE, num_threads)]
        longer_s = limit_s + max(CUT_TOLERANCE_S, self.hop_length / self.sample_rate_hz)
        is_spread = limit_s != self.max_duration_s
        used = f"only the first {limit_s:.3g} s are used"
        if is_spread:
            segments = "one segment" if self.max_segments == 1 else f"{self.max_segments} segments"
            used = f"{segments} of {self.segment_s:.3g} s, spread evenly over the whole, are used"
        effect = f"are longer than {limit_s:.3g} s; {used}"
        option = "max_segments" if is_spread else "max_duration_s"
        return Cut(sum(seconds > longer_s for seconds in found), len(found), effect, option)

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


def _durations_s(
    found: Sequence[tuple[Cell, Header]], rate_hz: int, measure: Callable[[Cell], float], num_threads: int | None
) -> list[float]:
    """Return the seconds of clips by their headers; those that declare none and stretches of clips are measured."""
    is_declared = [num_samples > 0 and span_of(cell) is None for cell, (_, num_samples, _) in found]
    pairs = list(zip(found, is_declared, strict=True))
    declared = [num_samples / (own_hz or rate_hz) for (_, (own_hz, num_samples, _)), known in pairs if known]
    others = [cell for (cell, _), known in pairs if not known]
    return declared + [seconds for _, seconds in sample_cells(others, measure, CLIP_SAMPLE, num_threads)]


def _frames(settings: AudioSettings, rate: int, longest_s: float) -> dict[str, int]:
    """Return the bands and windows of spectra for segments of up to so many seconds."""
    num_mels = settings.num_mels or (64 if rate >= MAX_RATE_HZ else 40)
    hop = max(round(settings.hop_s * rate), math.ceil(longest_s * rate / settings.max_frames), 1)
    window = max(round(settings.window_s * rate), 2 * hop)
    fft_length = mel.choose_fft_length(rate, window, num_mels)
    if settings.features in checkpoint_mel.FEATURES:
        hop, window, fft_length = checkpoint_mel.windows(settings.features, settings.hop_s, settings.window_s, rate)
    return {
        "num_mels": num_mels,
        "num_mfcc": min(settings.num_mfcc, num_mels),
        "window_length": window,
        "hop_length": hop,
        "fft_length": fft_length,
    }


def _segments(settings: AudioSettings, hop: int, length: int, longest: int) -> dict[str, int]:
    """Return the steps of a segment and the segments of the longest clip, from numbers of samples."""
    step = hop
    if settings.features in checkpoint_mel.FEATURES:
        steps = settings.max_frames
    elif settings.features in ("waveform", "samples"):
        step, steps = 1, _rounded_up(length, SEGMENT_SAMPLES)
    else:
        steps = _rounded_up(min(settings.max_frames, math.ceil(length / hop)), SEGMENT_FRAMES)
    most = settings.max_segments
    num_segments = min(max(math.ceil(longest / (steps * step)), 1), most)
    return {"segment_steps": steps, "max_segments": most, "num_segments": num_segments}


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _loader(
    channels: int, folder: Path | None, sample_rate_hz: int, max_duration_s: float
) -> Callable[[Cell], NDArray[np.float32]]:
    """Return the function that loads a cell as one channel ``[samples]`` or as two ``[samples, 2]``."""
    load = load_clip if channels == 1 else load_stereo
    return partial(load, folder=folder, sample_rate_hz=sample_rate_hz, max_duration_s=max_duration_s)


def _without_arrays(cells: Sequence[Cell]) -> list[Cell]:
    """Replace videos that are arrays, which have no audio, by None."""
    return [cell if is_media_file(unwrap(cell)) else None for cell in cells]


def _most_common_rate(rates: list[int | None]) -> int:
    known = Counter(rate for rate in rates if rate)
    if not known:
        return MAX_RATE_HZ
    most = max(known.values())
    return min(MAX_RATE_HZ, max(rate for rate, count in known.items() if count == most))
