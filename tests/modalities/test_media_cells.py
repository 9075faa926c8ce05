"""Media cells in the forms in which tables hold them: base64, other spellings of a path, several pictures."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import numpy as np
import pytest
from PIL import Image as Pillow

from polymodal.data.schema.detect_modality import detect_modality
from polymodal.modalities import Image, ImageSettings
from polymodal.modalities.base import CellReadError
from polymodal.modalities.frame_sampling import FrameSampling
from polymodal.modalities.inline_media import inline_content, inline_modality
from polymodal.modalities.media import read_media
from polymodal.modalities.picture_lists import picture_list
from polymodal.modalities.video_frames import load_frames


def png(value: int = 7) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(np.full((8, 8, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
def test_base64_is_the_file(head: str) -> None:
    text = head + base64.b64encode(png()).decode()
    assert (inline_modality(text), inline_content(text)) == ("image", png())
    assert read_media(text, None) == png()
    assert detect_modality("v", [text, None], None)[0] == "image"


@pytest.mark.parametrize("write", [
    lambda content: "data:image/png;base64," + quote(base64.b64encode(content).decode(), safe=""),
    lambda content: "data:image/png," + quote_from_bytes(content),
    lambda content: {"bytes": base64.b64encode(content).decode()},
    lambda content: {"path": "data:image/png;base64," + base64.b64encode(content).decode()},
])  # fmt: skip
def test_other_ways_to_write_a_file_into_a_cell(write: Callable[[bytes], Any]) -> None:
    assert read_media(write(png()), None) == png()


def test_url_safe_base64_of_a_jpeg() -> None:
    content = b"\xff\xd8\xff\xe0" + bytes(range(256))
    text = base64.urlsafe_b64encode(content).decode()
    assert (inline_modality(text), inline_content(text)) == ("image", content)


def test_an_svg_address_is_refused_by_name() -> None:
    _, (broken,) = Image.fit([png()], ImageSettings(), None).transform(["data:image/svg+xml,%3Csvg/%3E"], None)
    assert "SVG" in broken.reason


@pytest.mark.parametrize("text", ["cat.png", "Quick brown foxes " * 10, "data:text/plain,hello", "AAAA", "x" * 100])
def test_other_texts_are_no_files(text: str) -> None:
    assert inline_content(text) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda path: unicodedata.normalize("NFC", path),
        lambda path: path.replace("/", "\\"),
        lambda path: path.replace(" ", "%20"),
        lambda path: f" {path} ",
    ],
    ids=["NFC", "backslash", "%20", "blanks"],
)
def test_a_path_in_another_form_is_found(tmp_path: Path, write: Any) -> None:
    name = unicodedata.normalize("NFD", "im/é 1.png")
    (tmp_path / "im").mkdir()
    (tmp_path / name).write_bytes(png())
    assert read_media(write(name), tmp_path) == png()
    assert read_media((tmp_path / name).as_uri(), tmp_path) == png()


@pytest.mark.parametrize(
    ("path", "hint"), [("im/A.PNG", "did you mean a.png"), ("other/a.png", "did you mean .*im/a.png")]
)
def test_a_near_path_is_suggested(tmp_path: Path, path: str, hint: str) -> None:
    (tmp_path / "im").mkdir()
    (tmp_path / "im" / "a.png").write_bytes(png())
    with pytest.raises(CellReadError, match=f"there is no file .*{hint}"):
        read_media(path, tmp_path)


@pytest.mark.parametrize(
    "cell",
    [
        "0.png;1.png",
        "0.png | 1.png",
        ["0.png", "1.png"],
        json.dumps(["0.png", "1.png"]),
        "['0.png', '1.png']",
        [{"bytes": None, "path": "0.png"}, {"bytes": png(1), "path": None}],
        [png(0), png(1)],
    ],
    ids=str,
)
def test_several_pictures_are_the_frames_of_a_video(tmp_path: Path, cell: Any) -> None:
    for value in range(2):
        (tmp_path / f"{value}.png").write_bytes(png(value))
    assert detect_modality("v", [cell] * 4, tmp_path)[0] == "video"
    sampling = FrameSampling(frames=8, rate_hz=None, max_pixels=100, max_duration_s=1.0)
    frames = load_frames(cell, tmp_path, sampling, np.asarray)
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1]


@pytest.mark.parametrize("cell", ["0.png", "a;b", [1, 2], [], None, ["cat", "dog"]], ids=str)
def test_other_cells_are_no_list_of_pictures(cell: Any) -> None:
    assert picture_list(cell) is None


@pytest.mark.parametrize(("most", "white"), [(120, 255), (900, 1023), (4000, 4095), (60000, 65535)])
def test_16_bit_pictures_keep_the_levels_that_they_use(most: int, white: int) -> None:
    pixels = np.linspace(0, most, 64).reshape(8, 8).astype(np.uint16)
    fitted = Image.fit([pixels, pixels // 2], ImageSettings(), None, num_threads=1)
    assert fitted.white == white
    column, _ = fitted.transform([pixels], None, num_threads=1)
    assert column.values.max() == pytest.approx(255 * most / white, abs=1)
    assert (fitted.notice("scan", {}) == "") == (white == 65535)


def test_heic_pictures() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Pillow.fromarray(np.full((16, 16, 3), 99, np.uint8)).save(file, "HEIF")
    column, broken = Image.fit([file.getvalue()], ImageSettings(), None).transform([file.getvalue()], None)
    assert broken == []
    assert abs(int(column.values.mean()) - 99) <= 2


def dicom(values: np.ndarray, **tags: Any) -> bytes:
    dataset_module = pytest.importorskip("pydicom.dataset")
    meta = dataset_module.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = dataset_module.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    shape = {"Rows": values.shape[0], "Columns": values.shape[1], "SamplesPerPixel": 1, "BitsAllocated": 16}
    signed = int(values.dtype.kind == "i")
    depth = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": signed, "PhotometricInterpretation": "MONOCHROME2"}
    for name, value in (shape | depth | tags).items():
        setattr(dataset, name, value)
    dataset.PixelData = values.tobytes()
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_dicom_pictures_keep_their_levels() -> None:
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    cells = [
        dicom(values),
        dicom(values, PhotometricInterpretation="MONOCHROME1"),
        dicom(values.astype(np.int16) - 2048),
    ]
    assert detect_modality("scan", cells, None)[0] == "image"
    fitted = Image.fit(cells, ImageSettings(size=8), None)
    column, broken = fitted.transform(cells, None)
    assert broken == []
    pixels = column.values[..., 0].astype(int)
    np.testing.assert_allclose(pixels[0], values / 4095 * 255, atol=1)
    np.testing.assert_allclose(pixels[1], 255 - pixels[0], atol=1)
    np.testing.assert_allclose(pixels[2], pixels[0], atol=1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'<?xml version="1.0"?><svg width="9"/>', "SVG drawing"),
        (b"\0" * 128 + b"DICM" + b"nothing", "not a readable DICOM picture"),
    ],
)
def test_other_drawings_and_damaged_scans_are_named(content: bytes, reason: str) -> None:
    if "DICOM" in reason:
        pytest.importorskip("pydicom")
    _, broken = Image.fit([png()], ImageSettings(), None).transform([content], None)
    assert reason in broken[0].reason
