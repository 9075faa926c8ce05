from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polymodal.modalities.image import Image as ImageModality
from polymodal.modalities.image_files import open_image
from polymodal.modalities.image_size import image_size
from polymodal.modalities.letterbox import Letterbox


def encoded(kind: str, turned: bool = False, size: tuple[int, int] = (30, 20)) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    if turned:
        exif[0x0112] = 6
    Image.new("RGB", size).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_size_is_that_of_the_upright_picture(kind: str, turned: bool, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(encoded(kind, turned))
    picture = open_image("picture", tmp_path, 1000)
    assert image_size("picture", tmp_path) == (picture.height, picture.width)
    assert image_size({"bytes": encoded(kind, turned)}, None) == ((30, 20) if turned else (20, 30))


@pytest.mark.parametrize(
    "cell", [np.zeros((20, 30, 3), np.uint8), np.zeros((3, 20, 30)), np.zeros((20, 30)), Image.new("L", (30, 20))]
)
def test_pictures_in_memory_have_a_size(cell: Any) -> None:
    assert image_size(cell, None) == (20, 30)


def test_array_files_have_a_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 30, 3), np.uint8))
    assert image_size("a.npy", tmp_path) == (20, 30)
    assert image_size((tmp_path / "a.npy").read_bytes(), None) == (20, 30)


def test_the_header_is_enough(tmp_path: Path) -> None:
    content = encoded("JPEG", size=(800, 600))
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    assert image_size("cut.jpg", tmp_path) == (600, 800)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    assert image_size("a.png", tmp_path) == (20, 30)
    (tmp_path / "a.png").write_bytes(encoded("PNG", size=(64, 48)))
    assert image_size("a.png", tmp_path) == (48, 64)


@pytest.mark.parametrize("cell", [None, " ", float("nan"), "none.jpg", b"nonsense", 12, {"bytes": None, "path": None}])
def test_what_is_no_picture_has_no_size(cell: Any, tmp_path: Path) -> None:
    assert image_size(cell, tmp_path) is None


def test_a_header_that_promises_too_many_pixels_is_not_believed(shared_data: Path) -> None:
    assert image_size("huge_header.png", shared_data / "fixtures") is None


@pytest.mark.parametrize("picture", [(40, 20), (20, 40), (30, 30), (7, 100), (33, 17)])
@pytest.mark.parametrize("frame", [(32, 32), (24, 48)])
def test_boxes_follow_the_picture_into_the_frame_and_back(picture: tuple[int, int], frame: tuple[int, int]) -> None:
    pixels = np.zeros((*picture, 3), np.uint8)
    box = np.array([picture[1] // 4, picture[0] // 4, picture[1] // 4 * 3, picture[0] // 4 * 3])
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    fitted = ImageModality(height=frame[0], width=frame[1], channels=3, mean=[0.5] * 3, std=[0.5] * 3)
    seen = fitted.transform([pixels], None)[0].values[0, :, :, 0] > 127
    place = Letterbox.fit(picture, frame)
    left, top, right, bottom = place.to_padded(box)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose([left, top, right, bottom], found, atol=1.0)
    np.testing.assert_allclose(place.to_original(place.to_padded(box)), box, atol=1e-9)
