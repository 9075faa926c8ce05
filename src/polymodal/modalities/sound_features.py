"""What encoders read of sound: log-mel spectra, MFCCs, samples, or the spectra of pretrained checkpoints (numpy only).

Shape legend: T frames, K channels, M features of a frame and channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from polymodal.modalities import checkpoint_mel, mel
from polymodal.modalities.float16 import to_float16

MAX_AMPLITUDE = 1e4
"""Samples are limited to this where loudness counts; those of files lie in -1..1."""
CONSTANT_TOLERANCE = 1e-5
"""A deviation below this share of the clip's largest value is rounding, not sound."""

Features = Literal["log_mel", "mfcc", "waveform", "samples", "whisper", "kaldi"]
Samples = NDArray[np.float32]
"""``[samples, channels]``."""


@dataclass(frozen=True, kw_only=True)
class SoundFeatures:
    """How samples become features.

    Each clip is normalised by itself: log-mel by one mean and deviation over all its values, MFCCs by one for each
    coefficient, samples to mean 0 and deviation 1; its channels together, so that the louder one stays the louder one.
    A silent clip becomes zeros. What pretrained checkpoints read keeps its loudness (``samples``, ``whisper``,
    ``kaldi``) and has one channel.

    Attributes:
        features: ``log_mel``, ``mfcc``, ``waveform``, ``samples``, ``whisper`` or ``kaldi``.
        sample_rate_hz: Samples per second.
        num_mels: Mel bands; for ``log_mel`` evenly spaced on HTK's mel scale from 0 to half the rate.
        num_mfcc: Cepstral coefficients.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.
        fft_length: Samples of the Fourier transform.
        max_frames: Frames of a segment at most.
        channels: 1, or 2 for left and right; the features of a frame are then left's followed by right's.
        mean: Is subtracted from Kaldi's spectra.
        std: Twice of it divides Kaldi's spectra.
        segment_steps: Frames, or samples, of a segment; 0 in models saved before there were any.
        max_segments: Segments of a clip at most.
    """

    features: Features
    sample_rate_hz: int
    num_mels: int
    num_mfcc: int
    window_length: PositiveInt
    hop_length: PositiveInt
    fft_length: PositiveInt
    max_frames: int
    channels: int = 1
    mean: float = 0.0
    std: float = 0.5
    segment_steps: int = 0
    max_segments: int = 1

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

    @property
    def segment_length(self) -> int:
        """Samples of a segment; 0 in models saved before there were any."""
        return self.segment_steps * (1 if self.is_waveform else self.hop_length)

    @property
    def overlap(self) -> int:
        """Samples behind a segment that its last frame reaches into."""
        return 0 if self.is_waveform or self.features == "whisper" else max(self.window_length - self.hop_length, 0)

    @property
    def most_frames(self) -> int:
        """Frames of a whole clip at most."""
        return self.segment_steps * self.max_segments or self.max_frames

    def compute(self, clips: Sequence[Sequence[Samples]]) -> list[NDArray[np.float16]]:
        """Compute the features of clips.

        Args:
            clips: The parts of each clip: one is the whole clip; of several, each is a segment and the overlap.

        Returns:
            float16 ``[steps, features]`` of each; a segment has ``segment_steps`` steps.
        """
        parts = [part for clip in clips for part in clip]
        values = iter(self._of_parts(parts))
        return [self._finish([next(values) for _ in clip]) for clip in clips]

    def _of_parts(self, parts: Sequence[Samples]) -> list[NDArray[np.float32]]:
        """Return samples ``[samples, K]``, a checkpoint's spectra ``[T, M]``, or log-mel spectra ``[T, K, M]``."""
        if self.is_waveform:
            return list(parts)
        if self.features in checkpoint_mel.FEATURES:
            return [self._checkpoint_mel(np.clip(part[:, 0], -MAX_AMPLITUDE, MAX_AMPLITUDE)) for part in parts]
        of_side = ([np.ascontiguousarray(part[:, side]) for part in parts] for side in range(self.channels))
        sides = [self._log_mel(clips) for clips in of_side]
        return [np.stack(both, axis=1) for both in zip(*sides, strict=True)]

    def _finish(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float16]:
        """Join the parts of a clip and normalise them together."""
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.features == "waveform":
            return normalise(values)
        if self.features == "samples":
            return to_float16(np.clip(values, -MAX_AMPLITUDE, MAX_AMPLITUDE))
        if self.features in checkpoint_mel.FEATURES:
            return to_float16(values)
        if self.channels > 1 or len(parts) > 1:
            values = mel.limit_dynamic_range(values)
        if self.features == "log_mel":
            return normalise(values).reshape(len(values), -1)
        return normalise(self._cepstra(values), axis=(0, 1)).reshape(len(values), -1)

    def _checkpoint_mel(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the spectrum ``[T, M]`` that a checkpoint was trained on."""
        shared = {
            "sample_rate_hz": self.sample_rate_hz,
            "window_length": self.window_length,
            "hop_length": self.hop_length,
            "num_mels": self.num_mels,
        }
        if self.features == "whisper":  # each segment has the range of its own loudest moment
            step = self.max_frames * self.hop_length
            pieces = [clip[start : start + step] for start in range(0, len(clip), step)][: self.max_segments]
            return np.concatenate(
                [checkpoint_mel.whisper_log_mel(piece, **shared, max_frames=self.max_frames) for piece in pieces]
            )
        return checkpoint_mel.kaldi_log_mel(
            clip, **shared, fft_length=self.fft_length, mean=self.mean, std=self.std, max_frames=self.most_frames
        )

    def _cepstra(self, spectrum_TKM: NDArray[np.float32]) -> NDArray[np.float32]:
        sides = range(self.channels)
        return np.stack([mel.mfcc(spectrum_TKM[:, side], self.num_mfcc) for side in sides], axis=1)

    def _log_mel(self, clips: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return mel.log_mel(
            clips,
            sample_rate_hz=self.sample_rate_hz,
            window_length=self.window_length,
            hop_length=self.hop_length,
            fft_length=self.fft_length,
            num_mels=self.num_mels,
            max_frames=self.most_frames,
        )


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
