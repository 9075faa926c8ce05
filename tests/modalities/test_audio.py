"""Sound of every kind, and what is no sound."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from polymodal.modalities import Audio, AudioSettings
from polymodal.modalities.audio import load_clip


def tone(frequency_hz: float, rate: int = 8000, seconds: float = 0.5) -> NDArray[np.float32]:
    times_s = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def encode(samples: NDArray[Any], rate: int = 8000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def fit(cells: list[Any], **options: Any) -> Audio:
    return Audio.fit(cells, AudioSettings(**options), None)


def reason(cell: Any, folder: Path | None = None) -> str:
    column, broken = fit([]).transform([cell], folder)
    assert not column.present.any()
    return broken[0].reason


def peak_hz(samples: NDArray[np.float32], rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_silence_is_zeros(shared_data: Path) -> None:
    folder = shared_data / "fixtures"
    for features in ("log_mel", "mfcc", "waveform"):
        settings = AudioSettings.model_validate({"features": features})
        fitted = Audio.fit(["silent.wav"], settings, folder)
        column, broken = fitted.transform(["silent.wav"], folder)
        assert broken == []
        assert column.present.all()
        assert not column.values.any()


def test_stereo_is_mixed_and_resampled(shared_data: Path) -> None:
    folder = shared_data / "fixtures"
    clip = load_clip("stereo_48k.wav", folder, 16_000)
    assert len(clip) == 8000
    spectrum = np.abs(np.fft.rfft(clip))
    strongest = sorted(np.argsort(spectrum)[-2:] * 16_000 / len(clip))
    assert strongest == pytest.approx([440, 880], abs=4)
    assert Audio.fit(["stereo_48k.wav"], AudioSettings(), folder).sample_rate_hz == 16_000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("truncated.png", "is not readable sound"),
        ("empty.jpg", "is empty"),
        ("nasa_13013.mp4", "is not readable sound"),
        ("nan_values.npy", "NaN or infinite"),
        ("huge_header.png", "is not readable sound"),
        ("grid", "is a folder"),
        ("none.wav", "there is no file"),
    ],
)
def test_fixtures_that_are_no_sound(shared_data: Path, name: str, expected: str) -> None:
    assert expected in reason(name, shared_data / "fixtures")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (encode(np.zeros(0)), "holds no samples"),
        (np.zeros(0), "without samples"),
        (np.zeros((100, 0)), "without samples"),
        (np.zeros((2, 3, 4)), "expected [samples]"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (np.array([0.0, 1e300]), "NaN or infinite"),
        (encode(np.array([0.0, np.inf], np.float32), subtype="FLOAT"), "NaN or infinite"),
        ((np.zeros(10), 0), "sample rate of 0"),
        ({"array": np.zeros(10), "sampling_rate": -1}, "sample rate of -1"),
        ({"array": np.zeros(10), "sampling_rate": "fast"}, "cannot be decoded"),
        (7, "is of type int"),
    ],
)
def test_cells_that_are_no_sound(cell: Any, expected: str) -> None:
    assert expected in reason(cell)


def test_a_cut_off_file_is_broken() -> None:
    content = encode(np.random.default_rng(0).normal(0, 0.1, 40_000), kind="FLAC")
    assert "is damaged sound" in reason(content[: len(content) // 2])


def test_a_declared_length_is_not_trusted() -> None:
    content = bytearray(encode(tone(1000), 96_000))
    content[4:8] = content[40:44] = b"\xf0\xff\xff\xff"  # 4 GB of samples
    content[22:24] = (8).to_bytes(2, "little")
    tracemalloc.start()
    Audio.fit([bytes(content)], AudioSettings(), None).transform([bytes(content)], None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


@pytest.mark.parametrize(
    "cell",
    [
        tone(1000),
        (tone(1000), 8000),
        {"array": tone(1000), "sampling_rate": 8000},
        {"bytes": encode(tone(1000)), "path": None},
        encode(tone(1000), kind="FLAC"),
        np.stack([tone(1000), tone(1000)]),
        np.stack([tone(1000), tone(1000)], axis=1),
        (tone(1000) * 32767).astype(np.int16),
        ((tone(1000) * 127) + 128).astype(np.uint8),
        (tone(1000, 16_000), 16_000),
        tone(1000).tolist(),
    ],
)
def test_every_form_of_the_same_sound(cell: Any) -> None:
    clip = load_clip(cell, None, 8000)
    assert len(clip) == pytest.approx(4000, abs=2)
    assert peak_hz(clip, 8000) == pytest.approx(1000, abs=4)
    assert np.abs(clip).max() == pytest.approx(0.5, abs=0.02)


def test_rate_is_the_most_common_at_most_16000() -> None:
    assert fit([(tone(5), 8000), (tone(6), 8000), (tone(7), 22_050)]).sample_rate_hz == 8000
    assert fit([(tone(5), 44_100)]).sample_rate_hz == 16_000
    assert fit([tone(5)]).sample_rate_hz == 16_000
    assert fit([(tone(5), 44_100)], sample_rate_hz=44_100).sample_rate_hz == 44_100
    assert fit([(tone(5), 8000)]).num_mels == 40
    assert fit([(tone(5), 16_000)]).num_mels == 64


def test_hop_grows_with_the_longest_training_clip() -> None:
    short = fit([(tone(5, seconds=1), 8000)])
    assert (short.hop_length, short.window_length) == (80, 200)
    long = fit([(tone(5, seconds=20), 8000), (tone(6, seconds=1), 8000)])
    assert (long.hop_length, long.window_length) == (313, 626)
    column, _ = long.transform([(tone(5, seconds=20), 8000), (tone(5, seconds=30), 8000)], None)
    assert column.lengths is not None
    assert column.lengths.tolist() == [511, 512]


def test_what_is_beyond_the_longest_duration_is_not_read() -> None:
    fitted = fit([(tone(5), 8000)], max_duration_s=1.0, features="waveform")
    column, _ = fitted.transform([(tone(5, seconds=3), 8000), encode(tone(5, seconds=3))], None)
    assert column.values.shape == (2, 8000, 1)


@pytest.mark.parametrize(("features", "num_features"), [("log_mel", 40), ("mfcc", 40), ("waveform", 1)])
def test_clips_are_normalised_one_by_one(features: str, num_features: int) -> None:
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    fitted = fit([(noise, 8000)], features=features)
    column, _ = fitted.transform([(noise, 8000), (noise * 0.001, 8000)], None)
    assert fitted.num_features == num_features == column.values.shape[2]
    assert column.values.dtype == np.float16
    values = column.values.astype(np.float64)
    assert values.mean() == pytest.approx(0, abs=1e-3)
    assert values.std() == pytest.approx(1, abs=1e-2)
    np.testing.assert_allclose(values[0], values[1], atol=0.02)


def test_a_clip_of_one_sample() -> None:
    column, broken = fit([(tone(5), 8000)]).transform([(np.ones(1), 8000), (np.ones(1), 48_000)], None)
    assert broken == []
    assert column.lengths is not None
    assert column.lengths.tolist() == [1, 1]


def test_padding_is_zero_and_lengths_count_frames() -> None:
    column, _ = fit([(tone(5), 8000)]).transform([(tone(500), 8000), (tone(500, seconds=0.1), 8000), None], None)
    assert column.lengths is not None
    assert column.lengths.tolist() == [49, 9, 0]
    assert not column.values[1, 9:].any()


def test_real_clips_each_alone_or_together(shared_data: Path) -> None:
    folder = shared_data / "avdigits"
    cells = sorted(f"audio/{path.name}" for path in (folder / "audio").iterdir())[:40]
    fitted = Audio.fit(cells, AudioSettings(), folder)
    column, broken = fitted.transform(cells, folder)
    assert broken == []
    assert (fitted.sample_rate_hz, fitted.num_mels) == (8000, 40)
    assert column.lengths is not None
    for row in (0, 17, 39):
        alone, _ = fitted.transform([cells[row]], folder)
        np.testing.assert_array_equal(alone.values[0], column.values[row, : column.lengths[row]])
    as_bytes, _ = fitted.transform([(folder / cells[3]).read_bytes()], None)
    np.testing.assert_array_equal(as_bytes.values[0], column.values[3, : column.lengths[3]])
