"""Sound in the forms that pretrained checkpoints read; that the values are theirs is tested beside the encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.modalities import Audio, AudioSettings
from polymodal.modalities.checkpoint_mel import kaldi_filters, whisper_filters

RATE_HZ = 16_000
FORMS = ("samples", "whisper", "kaldi")
every_form = pytest.mark.parametrize("features", FORMS)


def fit(features: Any, **options: Any) -> Audio:
    return Audio.fit([], AudioSettings(features=features, sample_rate_hz=RATE_HZ, **options), None)


def noise(seconds: float, loudness: float = 0.1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, loudness, round(seconds * RATE_HZ)).astype(np.float32)


@every_form
def test_loudness_is_kept(features: str) -> None:
    fitted = fit(features)
    quiet, loud = (fitted.transform([noise(0.2, loudness)], None)[0].values.astype(float) for loudness in (0.001, 0.1))
    assert np.abs(loud).mean() > 2 * np.abs(quiet).mean() if features == "samples" else loud.mean() > quiet.mean() + 0.5


@every_form
@pytest.mark.parametrize("clip", [np.zeros(800), np.full(800, 1e30), np.array([0.0]), np.array([1e-30, -1e-30])])
def test_silent_loud_and_short_clips_stay_finite(features: str, clip: np.ndarray) -> None:
    column, broken = fit(features).transform([clip.astype(np.float32)], None)
    assert not broken
    assert np.isfinite(column.values).all()
    assert column.lengths is not None
    assert column.lengths[0] >= 1


@every_form
def test_a_clip_gets_the_same_bits_whatever_its_neighbours(features: str) -> None:
    clips = [noise(0.1), noise(0.3), noise(0.05)]
    together = fit(features).transform(clips, None)[0]
    alone = fit(features).transform(clips[:1], None)[0]
    assert together.lengths is not None
    assert np.array_equal(together.values[0, : together.lengths[0]], alone.values[0])


def test_segments_end_where_the_checkpoint_ends() -> None:
    whisper, kaldi = fit("whisper", max_frames=50), fit("kaldi", max_frames=40)
    assert (whisper.segment_steps, kaldi.segment_steps) == (50, 40)
    long, first = (whisper.transform([noise(seconds)], None)[0].values[0] for seconds in (0.8, 0.5))
    assert np.array_equal(long[:50], first[:50])
    assert kaldi.transform([noise(0.8)], None)[0].values.shape == (1, 78, 64)
    one = fit("kaldi", max_frames=40, max_segments=1)
    assert one.transform([noise(0.8)], None)[0].values.shape == (1, 40, 64)


def test_windows_do_not_grow_with_the_clips() -> None:
    settings = AudioSettings(features="kaldi", sample_rate_hz=RATE_HZ, max_frames=40)
    fitted = Audio.fit([noise(20)], settings, None)
    assert (fitted.window_length, fitted.hop_length, fitted.fft_length) == (400, 160, 512)


def test_filters_cover_the_bands() -> None:
    for filters in (whisper_filters(RATE_HZ, 400, 80), kaldi_filters(RATE_HZ, 512, 80)):
        assert filters.shape[1] == 80
        assert (filters >= 0).all()
        peaks = filters.argmax(axis=0)
        assert (np.diff(peaks) >= 0).all()
