from __future__ import annotations

import base64
import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import films
from polymodal.report.gallery import GalleryCell, GalleryRow, render_cell, render_row, select_rows


def embedded(html: str) -> bytes:
    found = re.search(r'src="data:[a-z/]+;base64,([^"]+)"', html)
    assert found, html
    return base64.b64decode(found[1])


def image_bytes(mode: str = "RGB", size: tuple[int, int] = (600, 300), kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "cell",
    [
        image_bytes(),
        {"bytes": image_bytes(), "path": None},
        np.zeros((300, 600, 3), np.uint8),
        np.zeros((300, 600), np.float32),
        Image.new("RGBA", (600, 300), (255, 0, 0, 90)),
        image_bytes("P"),
        image_bytes("LA"),
        image_bytes("I;16"),
        image_bytes("CMYK", kind="JPEG"),
        image_bytes("1"),
    ],
)
def test_pictures_become_small_thumbnails(cell: Any) -> None:
    html = render_cell(GalleryCell("photo", "image", cell), None)
    with Image.open(io.BytesIO(embedded(html))) as thumbnail:
        assert thumbnail.size == (240, 120)
    assert 'alt="Picture in column photo"' in html


def test_orientation_of_the_camera_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    html = render_cell(GalleryCell("p", "image", image_bytes(kind="JPEG", exif=exif)), None)
    assert 'width="120" height="240"' in html


def test_sixteen_bit_pictures_keep_their_contrast() -> None:
    ramp = np.linspace(0, 60000, 100 * 100).reshape(100, 100).astype(np.uint16)
    with Image.open(io.BytesIO(embedded(render_cell(GalleryCell("p", "image", ramp), None)))) as thumbnail:
        assert np.ptp(np.asarray(thumbnail.convert("L"))) > 200


def test_header_that_promises_too_many_pixels_is_refused(shared_data: Path) -> None:
    assert "unreadable" in render_cell(GalleryCell("p", "image", "huge_header.png"), shared_data / "fixtures")


def test_giant_picture_made_here_is_refused() -> None:
    content = bytearray(image_bytes("1", (8, 8)))
    content[16:24] = (60000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    assert "unreadable" in render_cell(GalleryCell("p", "image", bytes(content)), None)


def test_long_sound_is_cut_and_mixed_down() -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, (44100 * 14, 2))
    soundfile.write(buffer, noise, 44100, format="WAV")
    html = render_cell(GalleryCell("clip", "audio", buffer.getvalue()), None)
    content = embedded(html)
    samples, rate_hz = soundfile.read(io.BytesIO(content))
    assert samples.ndim == 1
    assert 9.9 < len(samples) / rate_hz < 10.2
    assert len(content) < 350_000
    assert "the first 10.0 s" in html
    assert "<audio controls" in html


@pytest.mark.parametrize(
    "cell", [(np.zeros(4000, np.float32), 8000), {"array": np.ones((4000, 2)), "sampling_rate": 8000}]
)
def test_sounds_as_arrays_play(cell: Any) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(embedded(render_cell(GalleryCell("a", "audio", cell), None))))
    assert len(samples) / rate_hz == 0.5


def test_text_is_shortened_and_escaped() -> None:
    html = render_cell(GalleryCell("t", "text", "<b>bold</b> " + "word " * 200), None)
    assert "&lt;b&gt;bold" in html
    assert len(html) < 450
    assert "…" in html


def test_chinese_text_without_blanks_is_shortened() -> None:
    html = render_cell(GalleryCell("t", "text", "很好吃" * 400), None)
    assert 280 < html.count("很") * 3 < 310


@pytest.mark.parametrize("cell", [[0.1, 2.0, -3.0], np.arange(64), "[1, 2, 3.5]"])
def test_vector_is_drawn(cell: Any) -> None:
    html = render_cell(GalleryCell("v", "vector", cell), None)
    assert "<polyline" in html
    assert "numbers" in html


def test_vector_file_is_read_without_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.arange(5.0))
    np.save(tmp_path / "bad.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "<polyline" in render_cell(GalleryCell("v", "vector", "good.npy"), tmp_path)
    assert "unreadable" in render_cell(GalleryCell("v", "vector", "bad.npy"), tmp_path)


@pytest.mark.parametrize("modality", ["image", "audio", "text", "vector", "number", "category"])
@pytest.mark.parametrize("cell", [None, float("nan"), "  ", {"bytes": None, "path": None}])
def test_absent_cell_says_missing(modality: str, cell: Any) -> None:
    html = render_cell(GalleryCell("c", modality, cell), None)
    assert "missing" in html
    assert "data:" not in html


@pytest.mark.parametrize("modality", ["image", "audio", "vector"])
@pytest.mark.parametrize("cell", [b"nonsense", b"", "no such file", 12, [], object()])
def test_broken_cell_says_unreadable(modality: str, cell: Any, tmp_path: Path) -> None:
    assert "unreadable" in render_cell(GalleryCell("c", modality, cell), tmp_path)


def test_paths_are_refused_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes())
    assert "unreadable" in render_cell(GalleryCell("c", "image", str(tmp_path / "a.png")), None)
    assert "<img" in render_cell(GalleryCell("c", "image", "a.png"), tmp_path)


def test_table_values_stand_together_below_the_media() -> None:
    cells = (
        GalleryCell("age", "number", 41.0),
        GalleryCell("note", "text", "hello"),
        GalleryCell("tabular", "tabular", {"town": "Ulm", "height": None}),
    )
    html = render_row(GalleryRow(1, "a", "a", None, cells), None)
    assert html.index("hello") < html.index("age")
    assert html.count("<dl") == 1
    assert "<dd>41</dd>" in html
    assert "Ulm" in html
    assert "missing" in html


def test_right_rows_go_round_the_classes_and_wrong_rows_are_the_surest() -> None:
    truth = ["a"] * 6 + ["b"] * 2 + ["c"] * 2
    confidence = np.array([0.99, 0.98, 0.97, 0.96, 0.4, 0.9, 0.5, 0.6, 0.7, 0.95])
    correct = np.array([True, True, True, True, False, False, True, True, True, False])
    right, wrong = select_rows(truth, truth, confidence, correct, num=4)
    assert right.tolist() == [0, 7, 8, 1]
    assert wrong.tolist() == [9, 5, 4]


def test_numbers_give_the_largest_misses_and_close_rows_over_the_range() -> None:
    truth = np.arange(20.0)
    prediction = truth + np.where(np.arange(20) % 2, 0.1, 0.3)
    prediction[[3, 11]] += [50, -90]
    right, wrong = select_rows(truth.tolist(), prediction.tolist(), None, None, num=2)
    assert wrong.tolist() == [11, 3]
    assert truth[right[0]] < 10 <= truth[right[1]]
    assert all(row % 2 for row in right)


def test_picking_from_few_or_no_rows_never_repeats_one() -> None:
    right, wrong = select_rows([], [], np.array([]), np.array([], dtype=bool))
    assert (len(right), len(wrong)) == (0, 0)
    right, wrong = select_rows([1.0, 2.0, float("nan")], [1.0, 5.0, 1.0], None, None, num=8)
    assert sorted([*right, *wrong]) == [0, 1]
    labels: list[Any] = [["a", "b"], ["a"], ["a", "b"]]
    right, wrong = select_rows(labels, labels, np.array([0.1, 0.2, 0.3]), np.array([True, True, True]), num=2)
    assert sorted(right) == [1, 2]


def test_videos_become_a_strip_of_four_frames() -> None:
    frames = np.zeros((40, 60, 90, 3), np.uint8)
    frames[:, :, :, 1] = np.linspace(0, 250, 40).astype(np.uint8)[:, None, None]
    for cell in (films.encode(frames), frames):
        html = render_cell(GalleryCell("clip", "video", cell), None)
        assert 'alt="4 frames of the video in column clip"' in html
        with Image.open(io.BytesIO(embedded(html))) as strip:
            assert strip.size == (4 * 90 + 3 * 2, 60)
            greens = [strip.convert("RGB").getpixel((45 + 92 * place, 30))[1] for place in range(4)]
        assert greens == sorted(greens)
        assert greens[0] < 60 < 190 < greens[3]
    assert "unreadable" in render_cell(GalleryCell("clip", "video", b"no film"), None)
    assert "missing" in render_cell(GalleryCell("clip", "video", None), None)


def test_a_film_without_sound_says_so() -> None:
    silent = films.encode(np.zeros((3, 16, 16, 3), np.uint8))
    assert "no sound" in render_cell(GalleryCell("clip.audio", "audio", silent), None)
    spoken = films.encode(np.zeros((3, 16, 16, 3), np.uint8), sound=films.tone(300))
    assert "Sound in column clip.audio" in render_cell(GalleryCell("clip.audio", "audio", spoken), None)
