"""Clips that are longer than a segment: what is read of them, and where."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from polymodal.modalities import Audio, AudioSettings

RATE_HZ = 1000


def fit(cells: list[Any], **options: Any) -> Audio:
    return Audio.fit(cells, AudioSettings(**options), None)


def wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="FLOAT")
    return file.getvalue()


def recording(marks_s: list[float], seconds: float) -> NDArray[np.float32]:
    """Silence with half a second of a tone at some places."""
    samples, times_s = np.zeros(int(seconds * RATE_HZ), np.float32), np.arange(RATE_HZ // 2) / RATE_HZ
    for mark_s in marks_s:
        samples[int(mark_s * RATE_HZ) :][: RATE_HZ // 2] = 0.5 * np.sin(2 * np.pi * 100 * times_s)
    return samples


def loud_seconds(fitted: Audio, cell: Any) -> list[int]:
    column, broken = fitted.transform([cell], None)
    assert not broken
    loudness = column.values[0].astype(np.float32).max(axis=1)
    return sorted({int(step * fitted.hop_length / fitted.sample_rate_hz) for step in np.flatnonzero(loudness > 1)})


@pytest.mark.parametrize("of_file", [False, True])
def test_the_end_of_a_long_clip_is_read(of_file: bool) -> None:
    samples = recording([3.0, 61.0], 65)
    cell = wav(samples) if of_file else (samples, 1000)
    fitted = fit([cell, (recording([1.0], 4), 1000)])
    assert (fitted.segment_s, fitted.num_segments) == (pytest.approx(10.0, abs=0.3), 7)
    assert {3, 61} <= set(loud_seconds(fitted, cell)) <= {2, 3, 60, 61}


def test_segments_are_five_to_ten_seconds_or_as_told() -> None:
    short = [(recording([1.0], seconds), 1000) for seconds in (2, 3)]
    mixed = [*short, (recording([1.0], 40), 1000)]
    assert fit(mixed).segment_s == pytest.approx(5.0, abs=0.15)
    assert fit(mixed, segment_s=8.0).segment_s == pytest.approx(8.0, abs=0.15)
    sentence = fit(mixed).notice("clip", {})
    assert "'clip' that are longer than 5.04 s are encoded in segments of 5.04 s, which are pooled" in sentence
    assert fit(short).num_segments == 1
    assert not fit(short).notice("clip", {})


@pytest.mark.parametrize("features", ["log_mel", "mfcc", "waveform", "whisper", "kaldi"])
def test_of_a_very_long_clip_segments_are_spread_evenly(features: str) -> None:
    samples = recording([0.0, 50.0, 99.0], 100)
    settings = {"features": features, "segment_s": 2.0, "max_segments": 3, "sample_rate_hz": 1000}
    settings |= {"max_frames": 200} if features in ("whisper", "kaldi") else {}
    fitted = fit([(samples, 1000)], **settings)
    column, _ = fitted.transform([(samples, 1000), wav(samples)], None)
    assert column.lengths.tolist() == [3 * fitted.segment_steps] * 2
    starts = [start_s for start_s, _ in fitted.read_parts((samples, 1000), None)]
    assert starts == pytest.approx([0, 49, 98], abs=0.1)
    segments = column.values.astype(np.float32).reshape(2, 3, -1)
    np.testing.assert_allclose(segments[0], segments[1], atol=0.05)
    assert (segments.std(axis=2) > 0.05).all()  # a tone in each


def test_stretches_of_a_recording_are_segmented_from_their_start() -> None:
    cell = {"bytes": wav(recording([20.0, 75.0], 100)), "start": 20, "end": 80}
    fitted = fit([cell], segment_s=2.0, max_segments=3)
    assert [round(start_s) for start_s, _ in fitted.read_parts(cell, None)] == [0, 29, 58]
    (first, *_), _ = fitted.transform([cell], None)[0].values, None
    assert first[: fitted.segment_steps // 4].max() > first[fitted.segment_steps // 2 : fitted.segment_steps].max()
