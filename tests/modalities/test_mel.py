"""Spectra against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dct

from polymodal.modalities import mel


@pytest.mark.parametrize(("rate", "num_mels"), [(8000, 40), (16_000, 64), (16_000, 128), (4000, 64)])
def test_every_band_has_a_bin(rate: int, num_mels: int) -> None:
    fft_length = mel.choose_fft_length(rate, round(0.025 * rate), num_mels)
    assert mel.mel_filters(rate, fft_length, num_mels).sum(axis=0) == pytest.approx(np.ones(num_mels), abs=1e-5)


def test_a_tone_stands_in_its_band() -> None:
    rate, frequency = 8000, 1000.0
    clip = np.sin(2 * np.pi * frequency * np.arange(4000) / rate).astype(np.float32)
    (spectrum,) = mel.log_mel(
        [clip], sample_rate_hz=rate, window_length=200, hop_length=80, fft_length=256, num_mels=40, max_frames=512
    )
    top = mel.hertz_to_mel(np.array(rate / 2))
    expected = float(mel.hertz_to_mel(np.array(frequency)) / top * 41 - 1)
    assert spectrum.shape == (49, 40)
    assert abs(spectrum.mean(axis=0).argmax() - expected) <= 1


def test_range_is_80_db() -> None:
    clip = np.zeros(8000, np.float32)
    clip[:400] = np.random.default_rng(0).normal(size=400)
    (spectrum,) = mel.log_mel(
        [clip], sample_rate_hz=8000, window_length=200, hop_length=80, fft_length=256, num_mels=40, max_frames=512
    )
    assert spectrum.max() - spectrum.min() == pytest.approx(8 * np.log(10), rel=1e-4)


@pytest.mark.parametrize(("num_samples", "expected"), [(1, 1), (200, 1), (201, 2), (280, 2), (281, 3)])
def test_windows_cover_the_clip(num_samples: int, expected: int) -> None:
    assert mel.count_frames(num_samples, 200, 80) == expected
    frames = mel.frame(np.ones(num_samples, np.float32), 200, 80, 512)
    assert len(frames) == expected


def test_cepstra_are_the_orthonormal_dct() -> None:
    values = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    expected = dct(values, type=2, norm="ortho", axis=1)[:, :13]
    np.testing.assert_allclose(mel.mfcc(values, 13)[:, :13], expected, atol=1e-4)


def test_the_change_of_a_ramp_is_its_slope() -> None:
    ramp = np.arange(9, dtype=np.float32)[:, None] * 3
    assert mel.deltas(ramp)[2:-2, 0].tolist() == [3.0] * 5
    assert mel.deltas(ramp[:1]).tolist() == [[0.0]]
