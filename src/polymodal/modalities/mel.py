"""Log-mel spectra and MFCCs of many clips at once (numpy only).

Shape legend: T frames, N samples of a window, B bins of the spectrum, M mel bands, C coefficients, K channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Clip = NDArray[np.float32]

TOP_DB = 80.0
"""Values are limited to this range below the maximum of the clip, so that digital silence is finite."""
MIN_POWER = 1e-10
MAX_BLOCK_PRODUCTS = 200_000
"""Below this many multiplications a matrix product starts no threads of its own."""
DELTA_WINDOW = 2


def hertz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mel of frequencies: HTK's formula, ``2595 log10(1 + f / 700)``.

    Args:
        frequency_hz: Any shape.

    Returns:
        Mels, the same shape.
    """
    return np.asarray(2595.0 * np.log10(1.0 + frequency_hz / 700.0), np.float64)


@lru_cache(maxsize=16)
def mel_filters(sample_rate_hz: int, fft_length: int, num_mels: int) -> NDArray[np.float32]:
    """Return triangular filters, even on the mel scale from 0 to half the sample rate.

    Each filter's sum is 1, so that a band's value is a mean power.
    Source: Davis and Mermelstein 1980; the HTK Book 3.4, section 5.6.

    Args:
        sample_rate_hz: Samples per second.
        fft_length: Samples of the transform.
        num_mels: Bands.

    Returns:
        float32 ``[B, M]``; a band narrower than the bins is all zero.
    """
    mels_B = hertz_to_mel(np.linspace(0, sample_rate_hz / 2, fft_length // 2 + 1))
    edges = np.linspace(0, hertz_to_mel(np.array(sample_rate_hz / 2)), num_mels + 2)
    step = edges[1] - edges[0]
    filters_BM = np.maximum(0.0, 1.0 - np.abs(mels_B[:, None] - edges[None, 1:-1]) / step)
    total = filters_BM.sum(axis=0)
    return np.asarray(filters_BM / np.where(total > 0, total, 1.0), np.float32)


def choose_fft_length(sample_rate_hz: int, window_length: int, num_mels: int) -> int:
    """Return the smallest power of two that holds the window and gives every band a bin.

    Args:
        sample_rate_hz: Samples per second.
        window_length: Samples per window.
        num_mels: Bands.

    Returns:
        Samples of the transform, at most 16 times the window's.
    """
    length = 1 << max(5, (window_length - 1).bit_length())
    longest = 16 * length
    while length < longest and not (mel_filters(sample_rate_hz, length, num_mels).sum(axis=0) > 0).all():
        length *= 2
    return length


def count_frames(num_samples: int, window_length: int, hop_length: int) -> int:
    """Return the number of windows that cover a clip; the last one may be padded.

    Args:
        num_samples: Samples of the clip.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.

    Returns:
        At least 1.
    """
    return 1 + max(0, -(-(num_samples - window_length) // hop_length))


def frame(clip: Clip, window_length: int, hop_length: int, max_frames: int) -> NDArray[np.float32]:
    """Split a clip into overlapping windows; the end is zero-padded.

    Args:
        clip: float32 ``[samples]``.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.
        max_frames: Further frames are dropped.

    Returns:
        float32 ``[T, N]``, a view.
    """
    num_frames = min(max_frames, count_frames(len(clip), window_length, hop_length))
    needed = (num_frames - 1) * hop_length + window_length
    padded = np.zeros(needed, np.float32)
    padded[: min(needed, len(clip))] = clip[:needed]
    return np.lib.stride_tricks.sliding_window_view(padded, window_length)[::hop_length]


def log_mel(
    clips: Sequence[Clip],
    *,
    sample_rate_hz: int,
    window_length: int,
    hop_length: int,
    fft_length: int,
    num_mels: int,
    max_frames: int,
) -> list[NDArray[np.float32]]:
    """Return the logarithm of mel band powers under a Hann window, for several clips at once.

    Args:
        clips: float32 ``[samples]`` each, in -1..1.
        sample_rate_hz: Samples per second.
        window_length: Samples per window.
        hop_length: Samples from one window to the next.
        fft_length: Samples of the transform.
        num_mels: Bands.
        max_frames: Frames per clip at most.

    Returns:
        float32 ``[T, M]`` for each clip, in natural logarithms, with a range of 80 dB.
    """
    if not clips:
        return []
    framed = [frame(clip, window_length, hop_length, max_frames) for clip in clips]
    frames_TN = np.concatenate(framed) * np.hanning(window_length + 1)[:-1].astype(np.float32)
    spectrum_TB = np.fft.rfft(frames_TN, fft_length, axis=1)
    power_TB = np.asarray(spectrum_TB.real**2 + spectrum_TB.imag**2, np.float32)
    filters_BM = mel_filters(sample_rate_hz, fft_length, num_mels)
    ends = np.cumsum([len(frames) for frames in framed])[:-1]
    return [_log_with_floor(apply_filters(filters_BM, powers_TB)) for powers_TB in np.split(power_TB, ends)]


def apply_filters(filters_BM: NDArray[np.float32], power_TB: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply filters to power spectra, in blocks of frames.

    Blocks this small stay in the calling thread, and a clip gets the same bits whatever its neighbours.

    Args:
        filters_BM: Filters.
        power_TB: Powers.

    Returns:
        float32 ``[T, M]``.
    """
    step = max(1, MAX_BLOCK_PRODUCTS // filters_BM.size)
    blocks = [power_TB[start : start + step] @ filters_BM for start in range(0, len(power_TB), step)]
    return np.concatenate(blocks)


def _log_with_floor(powers_TM: NDArray[np.float32]) -> NDArray[np.float32]:
    floor = max(MIN_POWER, float(powers_TM.max()) * 10 ** (-TOP_DB / 10))
    return np.asarray(np.log(np.maximum(powers_TM, np.float32(floor))), np.float32)


def limit_dynamic_range(spectra_TKM: NDArray[np.float32]) -> NDArray[np.float32]:
    """Limit the dynamic range to 80 dB below the maximum over the channels of a clip, as ``log_mel`` does for one.

    Args:
        spectra_TKM: float32 ``[T, K, M]``, in natural logarithms.

    Returns:
        The same shape.
    """
    floor = float(spectra_TKM.max()) - float(np.log(10)) * TOP_DB / 10
    return np.asarray(np.maximum(spectra_TKM, np.float32(floor)), np.float32)


@lru_cache(maxsize=16)
def cosine_basis(num_mels: int, num_mfcc: int) -> NDArray[np.float32]:
    """Return the orthonormal DCT-II that turns log-mel bands into cepstral coefficients.

    Args:
        num_mels: Bands.
        num_mfcc: Coefficients, from the zeroth on.

    Returns:
        float32 ``[M, C]``.
    """
    bands, orders = np.arange(num_mels)[:, None], np.arange(num_mfcc)[None]
    basis_MC = np.cos(np.pi * orders * (bands + 0.5) / num_mels) * np.sqrt(2 / num_mels)
    basis_MC[:, 0] /= np.sqrt(2)
    return np.asarray(basis_MC, np.float32)


def mfcc(log_mel_TM: NDArray[np.float32], num_mfcc: int) -> NDArray[np.float32]:
    """Return mel-frequency cepstral coefficients and their deltas.

    Source: Davis and Mermelstein 1980; changes by the HTK Book 3.4, equation 5.16, over two frames
    to each side.

    Args:
        log_mel_TM: float32 ``[T, M]``.
        num_mfcc: Coefficients.

    Returns:
        float32 ``[T, 2 C]``.
    """
    cepstra_TC = log_mel_TM @ cosine_basis(log_mel_TM.shape[1], num_mfcc)
    both: NDArray[np.float32] = np.concatenate([cepstra_TC, deltas(cepstra_TC)], axis=1)
    return both


def deltas(values_TC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the slope of each coefficient over two frames to each side.

    Args:
        values_TC: float32 ``[T, C]``.

    Returns:
        float32 ``[T, C]``; the first and last frame are repeated beyond the ends.
    """
    padded = np.pad(values_TC, ((DELTA_WINDOW, DELTA_WINDOW), (0, 0)), mode="edge")
    size = len(values_TC)
    slope = np.zeros_like(values_TC)
    for step in range(1, DELTA_WINDOW + 1):
        later, earlier = DELTA_WINDOW + step, DELTA_WINDOW - step
        slope += step * (padded[later : later + size] - padded[earlier : earlier + size])
    return np.asarray(slope / (2 * sum(step**2 for step in range(1, DELTA_WINDOW + 1))), np.float32)
