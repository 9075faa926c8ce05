"""Videos of every kind, and what is no video."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as pillow  # noqa: N813

import films
from polymodal.errors import ConfigError
from polymodal.modalities import Video, VideoSettings, container
from polymodal.modalities.frame_sampling import FrameSampling
from polymodal.modalities.video_frames import load_frames

PIXELS = 10_000_000


def fixed(frames: int = 16, height: int = 32, width: int = 48, channels: int = 1, **options: Any) -> Video:
    sizes = {"height": height, "width": width, "channels": channels, "frames": frames, "rate_hz": None}
    return Video(**{**sizes, "mean": [0.5] * channels, "std": [0.2] * channels, **options})


def decode(cell: Any, **options: Any) -> NDArray[np.uint8]:
    column, broken = fixed(**options).transform([cell], None)
    assert broken == []
    assert column.lengths is not None
    values: NDArray[np.uint8] = column.values[0, : column.lengths[0]]
    return values


def numbers(cell: Any, num: int, **options: Any) -> list[int]:
    """Return which of the film's grey steps were taken."""
    return films.level_numbers(decode(cell, **options), num)


def reason(cell: Any, folder: Path | None = None) -> str:
    column, broken = fixed().transform([cell], folder)
    assert not column.present.any()
    assert len(broken) == 1
    return broken[0].reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("truncated.mp4", "truncated.mp4 is not readable video (its header is damaged"),
        ("truncated_tail.mp4", "truncated_tail.mp4 is cut off: it declares 25 frames but holds 12"),
        ("silent.wav", "silent.wav holds sound but no video"),
        ("text_renamed.png", "is not readable video (no known format"),
        ("truncated.png", "is not readable video"),
        ("huge_header.png", "is not readable video"),
        ("empty.jpg", "is empty (0 bytes)"),
        ("nan_values.npy", "is an array of shape [10, 4]; expected [frames, height, width]"),
        ("grid", "is a folder"),
        ("none.mp4", "there is no file"),
    ],
)
def test_fixtures_that_are_no_video(shared_data: Path, name: str, expected: str) -> None:
    assert expected in reason(name, shared_data / "fixtures")


def test_the_best_of_several_streams_is_taken(shared_data: Path) -> None:
    folder = shared_data / "fixtures"
    fitted = Video.fit(["nasa_13013.mp4"], VideoSettings(max_side=512), folder)
    assert (fitted.height, fitted.width, fitted.channels, fitted.frames) == (272, 480, 3, 16)


def test_real_films_are_made_small_and_few(shared_data: Path) -> None:
    folder = shared_data / "fixtures" / "grid"
    cells = sorted(path.name for path in folder.iterdir())[:3]
    fitted = Video.fit(cells, VideoSettings(), folder)
    assert (fitted.height, fitted.width, fitted.channels, fitted.frames) == (76, 96, 3, 16)
    column, broken = fitted.transform(cells, folder)
    assert broken == []
    assert column.values.shape == (3, 16, 76, 96, 3)
    as_bytes, _ = fitted.transform([(folder / cells[0]).read_bytes()], None)
    np.testing.assert_array_equal(as_bytes.values[0], column.values[0])


def test_small_films_keep_their_size(shared_data: Path) -> None:
    folder = shared_data / "movingdigits"
    with (folder / "validation.csv").open(encoding="utf-8", newline="") as file:
        cells = [row["video"] for row in csv.DictReader(file)][:12]
    fitted = Video.fit(cells, VideoSettings(), folder)
    assert (fitted.height, fitted.width, fitted.channels, fitted.frames) == (32, 32, 1, 16)
    column, broken = fitted.transform(cells, folder)
    assert broken == []
    assert column.lengths is not None
    assert column.lengths.tolist() == [16] * 12
    moved = np.abs(np.diff(column.values.astype(int), axis=1)).mean(axis=(2, 3, 4))
    assert (moved > 1).all()


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mp4", "libx264"), ("mp4", "mpeg4"), ("matroska", "libx264"), ("webm", "libvpx"), ("avi", "libx264"),
     ("avi", "mpeg4"), ("mpegts", "libx264"), ("mpeg", "mpeg1video"), ("flv", "flv"), ("h264", "libx264"),
     ("gif", "gif")],
)  # fmt: skip
def test_every_frame_of_a_short_film_comes_once_in_order(kind: str, codec: str) -> None:
    frames = films.grey_steps(9)
    if kind == "gif":
        file = io.BytesIO()
        pictures = [pillow.fromarray(frame) for frame in frames]
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=100)
        film = file.getvalue()
    else:
        film = films.encode(frames, kind=kind, codec=codec, rate_hz=25)
    assert numbers(film, 9) == list(range(9))


def test_frames_that_a_film_skips_are_not_missed() -> None:
    late = films.encode(films.grey_steps(20), kind="avi", rate_hz=25, sound=films.tone(500))  # its first frame lasts
    found = numbers(late, 20, frames=20)
    assert (found[0], found[-1]) == (0, 19)
    assert found == sorted(found)
    assert found.count(0) > 1


def test_frames_are_spread_evenly_over_a_long_film() -> None:
    film = films.encode(films.grey_steps(40))
    assert numbers(film, 40, frames=4) == [5, 15, 25, 35]
    assert numbers(film, 40, frames=1) == [20]
    assert numbers(film, 40, frames=40) == list(range(40))


def test_a_rate_takes_frames_from_the_beginning() -> None:
    film = films.encode(films.grey_steps(40), rate_hz=10)
    assert numbers(film, 40, frames=16, rate_hz=5.0) == list(range(1, 33, 2))
    assert numbers(film, 40, frames=16, rate_hz=2.0) == [2, 7, 12, 17, 22, 27, 32, 37]


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_variable_rates_are_sampled_in_time(kind: str) -> None:
    times = [0, 100, 200, 300, 400, 1400, 2400, 3400]  # quick frames, then slow ones
    film = films.encode(films.grey_steps(8), kind=kind, codec="libx264", times_ms=times)
    assert numbers(film, 8, frames=4) == [4, 4, 5, 6]
    assert numbers(film, 8, frames=2) == [4, 6]


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_a_wrong_duration_changes_nothing(factor: float) -> None:
    film = films.encode(films.grey_steps(20))
    wrong = films.with_duration(film, factor)
    assert wrong != film
    np.testing.assert_array_equal(decode(wrong, frames=5), decode(film, frames=5))


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        (films.CLOCKWISE, (0, -1)),
        (films.COUNTERCLOCKWISE, (-1, 0)),
        (films.UPSIDE_DOWN, (-1, -1)),
        (films.MIRRORED, (0, -1)),
    ],
)
def test_films_are_turned_upright(matrix: tuple[int, int, int, int], corner: tuple[int, int]) -> None:
    frames = np.zeros((4, 32, 48, 3), np.uint8)
    frames[:, :12, :12] = 240  # a light square at the top left
    film = films.with_matrix(films.encode(frames), matrix)
    is_turned = matrix in (films.CLOCKWISE, films.COUNTERCLOCKWISE)
    fitted = Video.fit([film], VideoSettings(), None)
    assert (fitted.height, fitted.width) == ((48, 32) if is_turned else (32, 48))
    values = fitted.transform([film], None)[0].values[0, 0, :, :, 0].astype(int)
    assert values[corner] > 200
    assert sum(values[place] > 200 for place in ((0, 0), (0, -1), (-1, 0), (-1, -1))) == 1


def test_timestamps_that_a_container_hides_do_not_count() -> None:
    film = films.encode(films.grey_steps(20), codec="libx264", times_ms=list(range(-500, 1500, 100)))
    assert numbers(film, 20) == list(range(5, 20))


@pytest.mark.parametrize("group", [12, 1000])
def test_long_films_are_jumped_through(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    decoded = 0
    plain = container.decode_packet

    def counted(packet: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return plain(packet)

    monkeypatch.setattr("polymodal.modalities.video_frames.decode_packet", counted)
    still = {"sc_threshold": "1000000000"}  # no key frames but those asked for
    film = films.encode(films.grey_steps(600, 16, 16), group=group, rate_hz=30, options=still)
    levels = decode(film, frames=4, height=16, width=16).mean(axis=(1, 2, 3))
    assert levels == pytest.approx([30, 90, 150, 210], abs=3)
    assert decoded < 200 if group == 12 else decoded > 500


def test_memory_follows_the_frames_wanted() -> None:
    film = films.encode(np.zeros((60, 480, 640, 3), np.uint8))
    tracemalloc.start()
    decode(film, frames=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 640 * 480 * 3


def test_what_is_beyond_the_longest_duration_is_not_read() -> None:
    film = films.encode(films.grey_steps(40), rate_hz=10)
    assert numbers(film, 40, frames=4, max_duration_s=2.0) == [2, 7, 12, 17]


def test_frames_too_large_are_refused() -> None:
    film = films.encode(films.grey_steps(3, 64, 96))
    column, broken = fixed(max_pixels=1000).transform([film, np.zeros((3, 64, 96), np.uint8)], None)
    assert not column.present.any()
    assert all("declares 96 x 64 pixels, above the limit of 1,000" in cell.reason for cell in broken)


def test_a_film_with_damage_throughout_is_broken_and_one_bad_frame_is_not() -> None:
    film = films.encode(films.grey_steps(30), kind="avi", group=1)
    packets = films.packets_of(film)
    assert "is a damaged video: of 30 frames only 15 can be decoded" in reason(films.without(film, packets[::2]))
    assert "is a damaged video: no frame can be decoded" in reason(films.without(film, packets))
    assert numbers(films.without(film, packets[7:8]), 30, frames=30) == [*range(7), 6, *range(8, 30)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (b"not a video", "is not readable video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "is not readable video"),
        (b"ffconcat version 1.0\nfile film.mp4\n", "is not readable video"),
        (np.zeros((0, 4, 4), np.uint8), "is a video without frames"),
        (np.zeros((3, 0, 4), np.uint8), "without pixels"),
        (np.zeros((3, 4), np.uint8), "expected [frames, height, width]"),
        (np.zeros((2, 6, 4, 5), np.uint8), "expected [frames, height, width]"),
        (np.full((2, 3, 4), np.nan), "NaN or infinite"),
        (pillow.new("RGB", (8, 8)), "is a picture; expected a video"),
        (7, "is of type int"),
    ],
)
def test_cells_that_are_no_video(cell: Any, expected: str) -> None:
    assert expected in reason(cell)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        voice: Any = out.add_stream("aac", rate=8000)
        cover: Any = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        block = av.AudioFrame.from_ndarray(films.tone(300)[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = 8000, 0
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        packets = [*voice.encode(block), *voice.encode(None), *cover.encode(frame), *cover.encode(None)]
        out.mux(packets)
    assert "holds sound but no video" in reason(file.getvalue())


@pytest.mark.parametrize(
    "values",
    [
        films.grey_steps(5)[..., 0],
        films.grey_steps(5)[..., :1],
        films.grey_steps(5),
        films.grey_steps(5).transpose(0, 3, 1, 2),
        films.grey_steps(5).astype(np.float32) / 255,
        films.grey_steps(5, 4, 6)[..., 0].tolist(),
    ],
)
def test_arrays_of_every_layout(values: Any) -> None:
    assert numbers(values, 5) == [0, 1, 2, 3, 4]
    assert numbers(values, 5, frames=2) == [1, 3]


def test_array_files(tmp_path: Path) -> None:
    np.save(tmp_path / "film.npy", films.grey_steps(5)[..., 0])
    column, broken = fixed().transform(["film.npy"], tmp_path)
    assert broken == []
    assert films.level_numbers(column.values[0, :5], 5) == [0, 1, 2, 3, 4]


def test_colour_is_kept_where_any_training_film_has_it() -> None:
    grey, red = films.grey_steps(3), films.grey_steps(3)
    red[..., 1:] = 0
    assert Video.fit([grey], VideoSettings(), None).channels == 1
    assert Video.fit([grey, red], VideoSettings(), None).channels == 3
    assert Video.fit([grey, red], VideoSettings(channels=1), None).channels == 1


def test_size_and_number_of_frames_can_be_asked_for() -> None:
    cells = [films.grey_steps(num) for num in (20, 30, 40)]
    assert Video.fit(cells, VideoSettings(), None).frames == 16
    assert Video.fit(cells, VideoSettings(max_frames=64), None).frames == 30
    assert Video.fit(cells, VideoSettings(frames=5, size=24), None).transform(cells, None)[0].values.shape == (
        3, 5, 24, 24, 1,
    )  # fmt: skip


def test_shapes_of_another_aspect_are_padded_not_stretched() -> None:
    column, _ = fixed(height=32, width=32).transform([np.full((2, 16, 32), 200, np.uint8)], None)
    assert column.values[0, :2].min() == 200


def test_without_pyav_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(container, "has_av", lambda: False)
    with pytest.raises(ConfigError, match=r"Video needs the package av\. Install it with `pip install"):
        fixed().transform(["film.mp4"], tmp_path)
    assert fixed().transform([films.grey_steps(3)], None)[0].present.all()


def test_frames_are_given_to_the_caller_one_by_one() -> None:
    sampling = FrameSampling(frames=4, rate_hz=None, max_pixels=PIXELS, max_duration_s=60)
    sizes = load_frames(films.encode(films.grey_steps(12)), None, sampling, lambda picture: picture.size)
    assert sizes == [(48, 32)] * 4
