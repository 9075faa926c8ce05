"""Pictures of every kind, and what is no picture."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as pillow  # noqa: N813
from PIL import ImageOps

from polymodal.modalities import Image, ImageSettings
from polymodal.modalities.image_files import open_image

PIXELS = 50_000_000


def encode(picture: pillow.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def fixed(channels: int = 3, size: int = 8) -> Image:
    return Image(height=size, width=size, channels=channels, mean=[0.5] * channels, std=[0.2] * channels)


def decode(cell: Any, channels: int = 3, size: int = 8) -> NDArray[np.uint8]:
    column, broken = fixed(channels, size).transform([cell], None)
    assert broken == []
    pixels: NDArray[np.uint8] = column.values[0]
    return pixels


def reason(cell: Any, folder: Path | None = None) -> str:
    column, broken = fixed().transform([cell], folder)
    assert not column.present.any()
    return broken[0].reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("huge_header.png", "pixels, above the limit of 50,000,000"),
        ("truncated.png", "is a damaged picture"),
        ("empty.jpg", r"is empty (0 bytes)"),
        ("text_renamed.png", "is not a picture in a known format"),
        ("nan_values.npy", "5 values that are NaN or infinite"),
        ("silent.wav", "is not a picture in a known format"),
    ],
)
def test_fixtures_are_broken_cells_in_bounded_memory(shared_data: Path, name: str, expected: str) -> None:
    tracemalloc.start()
    text = reason(name, shared_data / "fixtures")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert name in text
    assert expected in text
    assert peak < 20 * 2**20


def test_pixel_limit_can_be_lowered() -> None:
    modality = Image(height=8, width=8, channels=1, mean=[0.5], std=[0.2], max_pixels=100)
    _, broken = modality.transform([encode(pillow.new("L", (11, 10)))], None)
    assert broken[0].reason == "declares 11 x 10 pixels, above the limit of 100"


def test_a_bomb_between_the_two_limits_is_refused_without_a_warning() -> None:
    head = struct.pack(">IIBBBBB", 10_000, 12_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    content = b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e"
    assert reason(content) in (
        "declares 10000 x 12000 pixels, above the limit of 50,000,000",
        "declares 120,000,000 pixels, above the limit of 50,000,000",
    )


def test_orientation_is_honoured() -> None:
    pixels = np.zeros((8, 4), np.uint8)
    pixels[:4] = 255
    exif = pillow.Exif()
    exif[0x0112] = 6  # turned right by a quarter when shown
    upright = open_image(encode(pillow.fromarray(pixels), "PNG", exif=exif), None, PIXELS)
    assert upright.size == (8, 4)
    assert np.asarray(upright)[:, 4:].min() == 255


def test_transparency_lies_on_white() -> None:
    clear = pillow.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert decode(encode(clear)).min() == 255
    palette = pillow.new("P", (8, 8), 0)
    palette.putpalette([200, 0, 0] * 256)
    assert decode(encode(palette, transparency=0)).min() == 255
    assert decode(encode(palette))[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK", "YCbCr", "LAB", "HSV", "LA", "RGBA", "I;16", "F", "I"])
def test_every_mode_is_read(mode: str) -> None:
    assert decode(pillow.new(mode, (8, 8)), 1).shape == (8, 8, 1)
    assert decode(pillow.new(mode, (8, 8)), 3).shape == (8, 8, 3)


def test_sixteen_bits_are_divided_by_257() -> None:
    deep = np.array([[0, 257 * 100], [65535, 257 * 7]], np.uint16)
    content = encode(pillow.fromarray(deep))
    expected = [[0, 100], [255, 7]]
    assert np.asarray(open_image(content, None, PIXELS)).tolist() == expected
    assert np.asarray(open_image(deep, None, PIXELS)).tolist() == expected
    dark = pillow.fromarray(np.full((2, 2), 200, np.uint16))
    assert np.asarray(open_image(encode(dark), None, PIXELS)).max() == 1


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((8, 8), 1.0), 255),
        (np.full((8, 8), 0.5, np.float16), 128),
        (np.full((8, 8), 200.0, np.float32), 200),
        (np.full((8, 8), 7, np.int64), 7),
        (np.full((8, 8), 1, np.int64), 1),
        (np.ones((8, 8), bool), 255),
        (np.full((8, 8, 1), 9, np.uint8), 9),
        (np.full((3, 8, 8), 9, np.uint8), 9),
        ([[9] * 8] * 8, 9),
    ],
)
def test_arrays_follow_the_stated_rule(array: Any, expected: int) -> None:
    assert np.unique(decode(array)).tolist() == [expected]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((8, 8, 0)), "expected [height, width]"),
        (np.zeros((0, 8)), "without pixels"),
        (np.zeros(8), "is an array of shape [8]"),
        (np.zeros((2, 8, 8, 3)), "is an array of shape [2, 8, 8, 3]"),
        (np.full((8, 8), -1.0), "holds values in -1..-1"),
        (np.full((8, 8), 300), "holds values in 300..300"),
        (np.full((8, 8), np.nan), "NaN or infinite"),
        (np.zeros((8, 8), complex), "expected numbers"),
        (5, "is of type int"),
    ],
)
def test_arrays_that_are_no_pictures(array: Any, expected: str) -> None:
    assert expected in reason(array)


def test_size_comes_from_the_data_and_keeps_a_shared_aspect() -> None:
    wide = [np.zeros((30, 61), np.uint8)] * 3
    fitted = Image.fit([cell.copy() for cell in wide], ImageSettings(), None)
    assert (fitted.height, fitted.width, fitted.channels) == (32, 60, 1)
    large = Image.fit([np.zeros((240, 320, 3), np.uint8)], ImageSettings(), None)
    assert (large.height, large.width) == (96, 128)
    mixed = Image.fit([np.zeros((40, 20), np.uint8), np.zeros((20, 40), np.uint8)], ImageSettings(), None)
    assert (mixed.height, mixed.width) == (40, 40)
    assert Image.fit(wide, ImageSettings(size=16), None).height == 16


def test_channels_come_from_the_colours() -> None:
    grey = np.full((8, 8, 3), 50, np.uint8)
    colour = grey.copy()
    colour[2, 2] = [200, 0, 0]
    assert Image.fit([grey], ImageSettings(), None).channels == 1
    assert Image.fit([grey, colour], ImageSettings(), None).channels == 3
    assert Image.fit([grey], ImageSettings(channels=3), None).channels == 3


def test_padding_continues_the_border() -> None:
    pixels = np.full((4, 8), 90, np.uint8)
    assert np.unique(decode(pixels, 1)).tolist() == [90]


def test_mean_and_deviation_are_in_0_to_1() -> None:
    fitted = Image.fit([np.full((8, 8), 51, np.uint8), np.full((8, 8), 153, np.uint8)], ImageSettings(), None)
    assert fitted.mean == pytest.approx([0.4])
    assert fitted.std == pytest.approx([0.2])


def test_a_users_picture_is_not_changed() -> None:
    mine = pillow.open(io.BytesIO(encode(pillow.new("RGB", (800, 800), "red"), "JPEG")))
    assert decode(mine).shape == (8, 8, 3)
    assert (mine.size, mine.mode) == ((800, 800), "RGB")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_formats(kind: str) -> None:
    pixels = decode(encode(pillow.new("RGB", (16, 16), (200, 100, 50)), kind))
    assert np.abs(pixels[4, 4].astype(int) - [200, 100, 50]).max() <= 4


def test_each_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encode(pillow.new("L", (8, 8), 3)))
    opened = []

    def counted(cell: Any, *positional: Any, **named: Any) -> pillow.Image:
        opened.append(cell)
        return open_image(cell, *positional, **named)

    monkeypatch.setattr("polymodal.modalities.image.open_image", counted)
    column, _ = fixed(1).transform(["a.png"] * 50, tmp_path)
    assert len(opened) == 1
    assert column.present.all()
    assert np.unique(column.values).tolist() == [3]


def test_real_pictures(shared_data: Path) -> None:
    folder = shared_data / "avdigits"
    cells = sorted(str(path) for path in (folder / "images").iterdir())[:50]
    fitted = Image.fit(cells, ImageSettings(), folder)
    column, broken = fitted.transform(cells, folder)
    assert (column.values.shape, broken) == ((50, 28, 28, 1), [])
    np.testing.assert_array_equal(column.values[7, :, :, 0], np.asarray(pillow.open(cells[7])))


def photo(width: int, height: int) -> NDArray[np.uint8]:
    """Draw soft colours with hard edges, as photographs have them."""
    y, x = np.mgrid[0:300, 0:400] / 400
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y), np.sin(20 * x * y)], axis=2)
    pixels = np.asarray(127 + 90 * waves + 30 * (x[..., None] + y[..., None] > 0.8), np.uint8)
    return np.asarray(pillow.fromarray(pixels).resize((width, height)))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("resize", ["pad", "stretch", "crop"])
def test_a_large_jpeg_is_decoded_more_coarsely_but_looks_the_same(
    monkeypatch: pytest.MonkeyPatch, orientation: int, resize: str
) -> None:
    exif = pillow.Exif()
    exif[0x0112] = orientation
    content = encode(pillow.fromarray(photo(2400, 1600)), "JPEG", quality=92, exif=exif)
    modality = Image.from_state({**fixed(3, 64).state(), "resize": resize})
    sizes = []

    def told(cell: Any, *positional: Any, **named: Any) -> pillow.Image:
        sizes.append(open_image(cell, *positional, **named))
        return sizes[-1]

    monkeypatch.setattr("polymodal.modalities.image.open_image", told)
    coarse = modality.transform([content], None)[0].values[0].astype(np.int16)
    assert 2 * 64 <= max(sizes[0].size) <= 600
    upright = np.asarray(ImageOps.exif_transpose(pillow.open(io.BytesIO(content))))
    fine = modality.transform([upright], None)[0].values[0].astype(np.int16)
    assert np.abs(coarse - fine).mean() < 1.5
    assert np.quantile(np.abs(coarse - fine), 0.99) < 12


def test_a_small_jpeg_is_decoded_as_it_is() -> None:
    content = encode(pillow.fromarray(photo(100, 80)), "JPEG", quality=90)
    expected = pillow.open(io.BytesIO(content)).convert("RGB")
    fitted = Image.from_state({**fixed(3, 64).state(), "resize": "stretch"})
    assert np.array_equal(fitted.transform([content], None)[0].values, fitted.transform([expected], None)[0].values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_chosen_from_the_whole_upright_picture(orientation: int) -> None:
    exif = pillow.Exif()
    exif[0x0112] = orientation
    content = encode(pillow.fromarray(photo(640, 480)), "JPEG", exif=exif)
    found = Image.fit([content], ImageSettings(max_side=512), None)
    assert (found.height, found.width, found.channels) == ((384, 512, 3) if orientation < 5 else (512, 384, 3))


def test_a_picture_of_the_users_is_not_changed() -> None:
    picture = pillow.fromarray(photo(300, 200))
    before = np.asarray(picture).copy()
    Image.fit([picture], ImageSettings(), None).transform([picture], None)
    assert picture.size == (300, 200)
    assert np.array_equal(np.asarray(picture), before)
