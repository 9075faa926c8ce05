"""Two channels, and every rate to every other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.fft import dct

from polymodal.modalities import Audio, AudioSettings, build_settings
from polymodal.modalities.audio import load_clip
from polymodal.modalities.audio_files import load_stereo

RATES_HZ = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)


def tone(frequency_hz: float, rate: int = 8000, seconds: float = 0.5) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def stereo(left: NDArray[Any], right: NDArray[Any], rate: int = 8000) -> tuple[NDArray[Any], int]:
    return np.stack([left, right], axis=1), rate


def fit(cells: list[Any], folder: Path | None = None, **options: Any) -> Audio:
    return Audio.fit(cells, AudioSettings(**options), folder)


def peak_hz(samples: NDArray[np.float32], rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_left_and_right_of_a_real_file_stay_apart(shared_data: Path) -> None:
    folder = shared_data / "fixtures"
    clip = load_stereo("stereo_48k.wav", folder, 16_000)
    assert clip.shape == (8000, 2)
    assert [peak_hz(clip[:, side], 16_000) for side in range(2)] == pytest.approx([440, 880], abs=4)
    mixed = load_clip("stereo_48k.wav", folder, 16_000)
    np.testing.assert_allclose(clip.mean(axis=1), mixed, atol=1e-5)
    fitted = fit(["stereo_48k.wav"], folder, channels=2)
    column, broken = fitted.transform(["stereo_48k.wav", "silent.wav"], folder)
    assert (broken, fitted.channels, column.values.shape[2]) == ([], 2, 2 * fitted.num_mels)
    left, right = np.split(column.values[0].astype(np.float32), 2, axis=1)
    assert left.mean(axis=0).argmax() < right.mean(axis=0).argmax()
    assert not column.values[1].any()


def test_mono_training_clips_keep_one_channel(shared_data: Path) -> None:
    folder = shared_data / "fixtures"
    assert fit(["silent.wav", "yesno/00.flac"], folder, channels=2).channels == 1
    assert fit(["silent.wav", "stereo_48k.wav"], folder, channels=2).channels == 2
    assert fit(["stereo_48k.wav"], folder).channels == 1
    assert fit([], channels=2).channels == 1
    assert fit([stereo(tone(500), tone(900))], channels=2).channels == 2


@pytest.mark.parametrize("features", ["log_mel", "mfcc", "waveform"])
def test_a_clip_with_one_channel_gives_it_twice(features: str) -> None:
    fitted = fit([stereo(tone(500), tone(900))], channels=2, features=features)
    (values,) = fitted.transform([(tone(700), 8000)], None)[0].values
    left, right = np.split(values, 2, axis=1)
    np.testing.assert_array_equal(left, right)
    (mono,) = fit([(tone(700), 8000)], features=features).transform([(tone(700), 8000)], None)[0].values
    np.testing.assert_array_equal(left, mono)


@pytest.mark.parametrize("features", ["log_mel", "mfcc", "waveform"])
def test_the_louder_channel_stays_the_louder_one(features: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    cell = stereo(noise, noise * 0.1)
    fitted = fit([cell], channels=2, features=features)
    values = fitted.transform([cell], None)[0].values[0].astype(np.float64)
    left, right = np.split(values, 2, axis=1)
    loudness = {"log_mel": lambda side: side.mean(), "mfcc": lambda side: side[:, 0].mean(), "waveform": np.std}[
        features
    ]
    assert loudness(left) > loudness(right) + 0.5
    if features != "mfcc":
        assert (values.mean(), values.std()) == (pytest.approx(0, abs=1e-2), pytest.approx(1, abs=1e-2))


def test_a_silent_channel_does_no_harm() -> None:
    cell = stereo(tone(500), np.zeros(4000, np.float32))
    for features in ("log_mel", "mfcc", "waveform"):
        fitted = fit([cell], channels=2, features=features)
        column, broken = fitted.transform([cell, stereo(np.zeros(4000), np.zeros(4000))], None)
        assert broken == []
        assert np.isfinite(column.values.astype(np.float64)).all()
        assert column.values[0].any()
        assert not column.values[1].any()


def test_more_than_two_channels_give_their_first_two(tmp_path: Path) -> None:
    samples = np.stack([tone(frequency) for frequency in (500, 900, 1500, 2500)], axis=1)
    soundfile.write(tmp_path / "four.wav", samples, 8000)
    clip = load_stereo("four.wav", tmp_path, 8000)
    assert [peak_hz(clip[:, side], 8000) for side in range(2)] == pytest.approx([500, 900], abs=4)
    np.testing.assert_allclose(load_clip("four.wav", tmp_path, 8000), samples.mean(axis=1), atol=1e-4)


def test_channels_survive_the_state_and_older_states_have_one() -> None:
    fitted = fit([stereo(tone(500), tone(900))], channels=2)
    state = json.loads(json.dumps(fitted.state()))
    assert Audio.from_state(state) == fitted
    del state["channels"]
    assert Audio.from_state(state).channels == 1


def test_three_channels_are_no_option() -> None:
    from polymodal.errors import ConfigError

    with pytest.raises(ConfigError, match=r"option 'channels' of modality 'audio' is wrong: .*1 or 2.*Got 3 instead"):
        build_settings("audio", {"channels": 3})


@pytest.mark.parametrize("rate", RATES_HZ)
@pytest.mark.parametrize("wanted", [8000, 16_000, 44_100])
def test_every_rate_becomes_every_other(rate: int, wanted: int) -> None:
    """A tone keeps its pitch, loudness and length; what the new rate cannot hold is gone, not folded down."""
    clip = load_clip((tone(1000, rate), rate), None, wanted)
    assert len(clip) == pytest.approx(wanted * 0.5, abs=2)
    assert peak_hz(clip, wanted) == pytest.approx(1000, abs=4)
    inside = clip[len(clip) // 10 : -len(clip) // 10]
    assert np.sqrt(2) * inside.std() == pytest.approx(0.5, rel=0.01)
    if rate > wanted * 1.2:
        too_high = load_clip((tone(0.55 * wanted, rate), rate), None, wanted)
        assert np.abs(too_high[len(too_high) // 10 : -len(too_high) // 10]).max() < 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "fixtures/stereo_48k.wav",
        "fixtures/silent.wav",
        "fixtures/yesno/00.flac",
        "avdigits/audio/0000.flac",
        "esc10/audio/000.ogg",
    ],
)
def test_real_files_of_every_rate(shared_data: Path, name: str) -> None:
    samples, rate = soundfile.read(shared_data / name, always_2d=True)
    for wanted in (8000, 16_000, 22_050):
        clip = load_clip(name, shared_data, wanted)
        assert len(clip) == pytest.approx(len(samples) * wanted / rate, abs=2)
        shared = min(rate, wanted) / 2 * 0.9
        before, after = (_energy_below(part, at, shared) for part, at in ((samples.mean(axis=1), rate), (clip, wanted)))
        assert after == pytest.approx(before, rel=0.01, abs=1e-12)


def _energy_below(samples: NDArray[Any], rate: int, limit_hz: float) -> float:
    """Return the mean power of what lies below a frequency."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2 / len(samples) ** 2
    return float(spectrum[: int(limit_hz * len(samples) / rate)].sum())


def test_mfcc_of_real_clips_are_the_cosine_transform_of_their_spectra(shared_data: Path) -> None:
    folder = shared_data / "avdigits" / "audio"
    cells = [path.name for path in sorted(folder.iterdir())[:4]]
    settings = {"num_mels": 40, "sample_rate_hz": 8000}
    cepstra, _ = fit(cells, folder, features="mfcc", **settings).transform(cells, folder)
    spectra, _ = fit(cells, folder, **settings).transform(cells, folder)
    assert cepstra.lengths is not None
    assert cepstra.values.shape[2] == 40
    assert cepstra.lengths.tolist() == spectra.lengths.tolist()  # type: ignore[union-attr]
    for row, length in enumerate(cepstra.lengths):
        expected = dct(spectra.values[row, :length].astype(np.float64), type=2, norm="ortho", axis=1)[:, :20]
        expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
        found = cepstra.values[row, :length, :20].astype(np.float64)
        np.testing.assert_allclose(found, expected, atol=0.05)
