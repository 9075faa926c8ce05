"""Log-mel spectra as pretrained checkpoints were trained on them: Whisper's, and Kaldi's for AST (numpy only).

Shape legend: T frames, N samples of a window, B bins of the spectrum, M mel bands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.mel import Clip, apply_filters

WHISPER_TOP_HZ = 8000.0
WHISPER_FLOOR = 1e-10
WHISPER_DECADES = 8.0
KALDI_BOTTOM_HZ = 20.0
KALDI_FLOOR = 1.192092955078125e-07
PREEMPHASIS = 0.97
Floats = NDArray[np.float32]
FEATURES = ("whisper", "kaldi")
"""What ``AudioSettings.features`` calls them; their windows and bands do not depend on the clips."""


def windows(features: str, hop_s: float, window_s: float, rate: int) -> tuple[int, int, int]:
    """Return the windows that a checkpoint was trained with.

    Args:
        features: One of ``FEATURES``.
        hop_s: From one window to the next, in seconds.
        window_s: Length of a window, in seconds.
        rate: Samples per second.

    Returns:
        Samples from one window to the next, of a window, and of the Fourier transform.
    """
    hop, window = max(round(hop_s * rate), 1), round(window_s * rate)
    return hop, window, window if features == "whisper" else 1 << (window - 1).bit_length()


def whisper_log_mel(
    clip: Clip, *, sample_rate_hz: int, window_length: int, hop_length: int, num_mels: int, max_frames: int
) -> Floats:
    """Return the spectrum that Whisper was trained on: Radford et al. 2022, arXiv 2212.04356, section 2.2.

    Args:
        clip: float32 ``[samples]``, in -1..1.
        sample_rate_hz: Samples per second.
        window_length: Samples per window, and of the Fourier transform.
        hop_length: Samples from one window to the next.
        num_mels: Bands.
        max_frames: Frames that the checkpoint reads; the clip counts as followed by silence up to there.

    Returns:
        float32 ``[T, M]``, about -1..1.5: the clip's frames and the first one of pure silence behind it.
        All later frames equal that one.
    """
    signal = np.zeros(max_frames * hop_length, np.float32)
    signal[: len(clip)] = clip[: len(signal)]
    used = min(len(clip), len(signal))
    num_frames = min(max_frames, -(-(used + window_length // 2) // hop_length) + 1)
    padded = np.pad(signal, window_length // 2, mode="reflect")
    frames_TN = np.lib.stride_tricks.sliding_window_view(padded, window_length)[::hop_length][:num_frames]
    window = np.hanning(window_length + 1)[:-1].astype(np.float32)
    power_TB = _power(frames_TN * window, window_length)
    filters_BM = whisper_filters(sample_rate_hz, window_length, num_mels)
    logarithms = np.log10(np.maximum(apply_filters(filters_BM, power_TB), WHISPER_FLOOR))
    return np.asarray((np.maximum(logarithms, logarithms.max() - WHISPER_DECADES) + 4.0) / 4.0, np.float32)


def kaldi_log_mel(
    clip: Clip,
    *,
    sample_rate_hz: int,
    window_length: int,
    hop_length: int,
    fft_length: int,
    num_mels: int,
    max_frames: int,
    mean: float,
    std: float,
) -> Floats:
    """Return Kaldi's filter banks as AST takes them: Gong et al. 2021, arXiv 2104.01778, section 2.1.

    Args:
        clip: float32 ``[samples]``; one shorter than a window is filled up with zeros.
        sample_rate_hz: Samples per second.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.
        fft_length: Samples of the Fourier transform.
        num_mels: Bands.
        max_frames: Further frames are dropped.
        mean: Is subtracted.
        std: Twice of it divides.

    Returns:
        float32 ``[T, M]``; windows that reach over the clip's end are left out.
    """
    clip = np.pad(clip, (0, max(0, window_length - len(clip))))
    windows = np.lib.stride_tricks.sliding_window_view(clip, window_length)[::hop_length][:max_frames]
    frames_TN = windows.astype(np.float64)
    frames_TN -= frames_TN.mean(axis=1, keepdims=True)
    frames_TN[:, 1:] -= PREEMPHASIS * frames_TN[:, :-1]
    frames_TN[:, 0] *= 1 - PREEMPHASIS
    power_TB = _power(frames_TN * np.hanning(window_length), fft_length)
    filters_BM = kaldi_filters(sample_rate_hz, fft_length, num_mels)
    logarithms = np.log(np.maximum(apply_filters(filters_BM, power_TB), KALDI_FLOOR))
    return np.asarray((logarithms - mean) / (2 * std), np.float32)


def _power(frames_TN: NDArray[np.floating], fft_length: int) -> Floats:
    spectrum_TB = np.fft.rfft(frames_TN, fft_length, axis=1)
    return np.asarray(spectrum_TB.real**2 + spectrum_TB.imag**2, np.float32)


@lru_cache(maxsize=8)
def whisper_filters(sample_rate_hz: int, fft_length: int, num_mels: int) -> Floats:
    """Return triangular filters on Slaney's mel scale up to 8,000 Hz, each of about the same energy.

    Source: Slaney 1998, Auditory Toolbox, technical report 1998-010.

    Args:
        sample_rate_hz: Samples per second.
        fft_length: Samples of the transform.
        num_mels: Bands.

    Returns:
        float32 ``[B, M]``.
    """
    edges_hz = _slaney_hertz(np.linspace(0.0, _slaney_mels(WHISPER_TOP_HZ), num_mels + 2))
    bins_hz = np.linspace(0.0, sample_rate_hz // 2, fft_length // 2 + 1)
    return np.asarray(_triangles(bins_hz, edges_hz) * (2.0 / (edges_hz[2:] - edges_hz[:-2])), np.float32)


@lru_cache(maxsize=8)
def kaldi_filters(sample_rate_hz: int, fft_length: int, num_mels: int) -> Floats:
    """Return filters that are triangles on the mel scale, from 20 Hz to half the sample rate.

    Source: Kaldi's ``mel-computations``, Povey et al. 2011.

    Args:
        sample_rate_hz: Samples per second.
        fft_length: Samples of the transform.
        num_mels: Bands.

    Returns:
        float32 ``[B, M]``.
    """
    ends_hz = np.array([KALDI_BOTTOM_HZ, sample_rate_hz // 2])
    low, high = _kaldi_mels(ends_hz)
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, fft_length // 2 + 1)
    return np.asarray(_triangles(_kaldi_mels(bins_hz), np.linspace(low, high, num_mels + 2)), np.float32)


def _triangles(places_B: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``[B, M]``: the value at each frequency of triangular filters between neighbouring edges."""
    slopes = edges[None, :] - places_B[:, None]
    widths = np.diff(edges)
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def _kaldi_mels(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + frequency_hz / 700.0))


def _slaney_mels(frequency_hz: float) -> float:
    """Return mels of a frequency above 1,000 Hz: even in hertz below, in logarithms above."""
    return float(15.0 + 27.0 / np.log(6.4) * np.log(frequency_hz / 1000.0))


def _slaney_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mels - 15.0))
    return np.where(mels < 15.0, 200.0 / 3.0 * mels, above)
