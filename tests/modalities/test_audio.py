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

import films
from polymodal.modalities import Audio, AudioSettings, container
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
        ("truncated.mp4", "is not readable sound"),
        ("truncated_tail.mp4", "is cut off: it declares 44 blocks of sound but holds 19"),
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
    ids=range(11),  # not the bytes, which tell the time they were written
)
def test_cells_that_are_no_sound(cell: Any, expected: str) -> None:
    assert expected in reason(cell)


def test_huge_samples_are_sound_and_limited() -> None:
    cell = np.array([3e38, 3e38, -1.0], np.float32)
    fitted = Audio.fit([cell], AudioSettings(features="samples"), None)
    column, broken = fitted.transform([cell], None)
    assert not broken
    assert column.values[0, :, 0].tolist() == [10_000, 10_000, -1]


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
    assert column.lengths.tolist() == [511, 766]  # the second clip as two segments


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


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "mpeg4"), ("matroska", "mpeg4"), ("mov", "mpeg4")])
def test_the_sound_of_films_is_read(kind: str, codec: str) -> None:
    film = films.encode(films.grey_steps(10), kind=kind, codec=codec, sound=tone(1000, seconds=1))
    clip = load_clip(film, None, 8000)
    assert len(clip) == pytest.approx(8000, abs=1100)  # AAC fills whole blocks
    assert peak_hz(clip[:8000], 8000) == pytest.approx(1000, abs=4)
    assert np.abs(clip[2000:6000]).max() == pytest.approx(0.5, abs=0.05)


def test_sound_files_of_other_containers_are_read(shared_data: Path, tmp_path: Path) -> None:
    import av

    path = tmp_path / "voice.m4a"
    samples = np.stack([tone(500, 44_100), np.zeros(22_050, np.float32)])
    with av.open(str(path), "w", format="mp4") as out:
        voice: Any = out.add_stream("aac", rate=44_100, layout="stereo")
        block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        block.sample_rate, block.pts = 44_100, 0
        out.mux([*voice.encode(block), *voice.encode(None)])
    clip = load_clip("voice.m4a", tmp_path, 16_000)
    assert peak_hz(clip[:8000], 16_000) == pytest.approx(500, abs=4)
    assert np.abs(clip[1000:7000]).max() == pytest.approx(0.25, abs=0.03)
    cells = ["nasa_13013.mp4", "grid/00.mpg", "grid/02.mp4"]
    fitted = Audio.fit(cells, AudioSettings(), shared_data / "fixtures")
    column, broken = fitted.transform(cells, shared_data / "fixtures")
    assert broken == []
    assert column.lengths is not None
    seconds = column.lengths * fitted.hop_length / fitted.sample_rate_hz
    assert seconds.tolist() == pytest.approx([13.1, 2.97, 2.98], abs=0.1)


def test_whole_numbers_of_a_film_s_sound_become_shares(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mov"
    with av.open(str(path), "w", format="mov") as out:
        voice: Any = out.add_stream("pcm_s16le", rate=8000, layout="stereo")
        samples = (np.stack([tone(500), tone(500)], axis=1).reshape(1, -1) * 32767).astype(np.int16)
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        block.sample_rate, block.pts = 8000, 0
        out.mux([*voice.encode(block), *voice.encode(None)])
    np.testing.assert_allclose(load_clip("film.mov", tmp_path, 8000), tone(500), atol=1e-4)


def test_without_pyav_a_film_is_broken_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    film = films.encode(films.grey_steps(4), sound=tone(1000))
    monkeypatch.setattr("polymodal.modalities.audio_files.has_av", lambda: False)
    assert "convert it to WAV, FLAC, OGG or MP3, or read more formats with `pip install 'polymodal[video]'`" in reason(
        film
    )


def test_a_film_without_sound_is_broken_unless_the_column_is_of_films() -> None:
    silent = films.encode(films.grey_steps(4))
    assert "holds no sound" in reason(silent)
    speaking = films.encode(films.grey_steps(4), sound=tone(1000))
    cells = [silent, speaking, b"no film", films.grey_steps(3), None]
    column, broken = fit(cells, of_video=True).transform(cells, None)
    assert broken == []
    assert column.present.tolist() == [False, True, False, False, False]
    assert container.has_audio(speaking, None)
    assert not any(container.has_audio(cell, None) for cell in (silent, b"no film", films.grey_steps(3)))


def in_silence(before_s: float, after_s: float, rate: int = 8000) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(int(before_s * rate)), tone(1000, rate), np.zeros(int(after_s * rate))]).astype(
        np.float32
    )


def test_clips_that_are_mostly_digital_silence_lose_it() -> None:
    cells = [(in_silence(start, 2 - start), 8000) for start in (0.0, 0.3, 0.8, 1.9)]
    fitted = fit(cells)
    assert fitted.trim_db == 50
    assert fitted.median_duration_s == pytest.approx(0.54, abs=0.03)
    column, _ = fitted.transform(cells, None)
    assert column.lengths is not None
    assert (np.abs(column.lengths - 52) <= 3).all()
    kept, _ = fit(cells, trim_db=0).transform(cells, None)
    assert kept.lengths is not None
    assert kept.lengths.tolist() == [249] * 4


def test_other_clips_are_left_whole(shared_data: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.005, 20_000)
    noisy = [(in_silence(start, 2 - start) + noise, 8000) for start in (0.3, 0.8)]
    some = [(in_silence(0.1, 0.1), 8000), (in_silence(0.2, 0.1), 8000), (in_silence(0.5, 1.5), 8000)]
    silent = [np.zeros(8000, np.float32)]
    assert [fit(cells).trim_db for cells in (noisy, some, silent, [])] == [0, 0, 0, 0]
    for name, pattern in (("avdigits", "audio/*"), ("esc10", "audio/*"), ("spoken_strings", "audio/*")):
        folder = shared_data / name
        cells = sorted(str(path.relative_to(folder)) for path in folder.glob(pattern))[:30]
        assert Audio.fit(cells, AudioSettings(), folder).trim_db == 0


def test_a_silent_clip_is_not_cut_away() -> None:
    fitted = fit([(in_silence(0.3, 1.7), 8000)])
    column, _ = fitted.transform([(np.zeros(8000, np.float32), 8000)], None)
    assert column.lengths is not None
    assert column.lengths.tolist() == [99]


def test_silence_is_cut_off_where_no_channel_sounds() -> None:
    left, right = in_silence(0.3, 1.7), in_silence(0.6, 1.4)
    for sides in ((left, right), (left, -left)):
        cells = [(np.stack(sides, axis=1), 8000)]
        fitted = fit(cells, channels=2)
        column, broken = fitted.transform(cells, None)
        assert (fitted.trim_db, fitted.channels, broken) == (50, 2, [])
        assert column.lengths is not None
        seconds = column.lengths[0] * fitted.hop_length / 8000
        assert seconds == pytest.approx(0.54 if sides[1] is not right else 0.84, abs=0.04)


def test_wav_whose_sizes_were_never_filled_in() -> None:
    pytest.importorskip("av")
    content = bytearray(encode(tone(440)))
    content[4:8] = content[40:44] = bytes(4)
    np.testing.assert_allclose(load_clip(bytes(content), None, 8000), load_clip(encode(tone(440)), None, 8000))


@pytest.mark.parametrize("name", ["sampling_rate", "sample_rate", "sr"])
def test_the_rate_of_records_and_of_scipys_pairs(name: str) -> None:
    expected = load_clip((tone(440, 16000), 16000), None, 8000)
    np.testing.assert_array_equal(load_clip({"array": tone(440, 16000), name: 16000}, None, 8000), expected)
    np.testing.assert_array_equal(load_clip((16000, tone(440, 16000)), None, 8000), expected)
