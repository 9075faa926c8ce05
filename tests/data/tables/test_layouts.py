"""Folders as datasets have them: films as folders of frames, COCO, ImageFolder and AudioFolder, splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from polymodal.data.cache.keys import cell_keys
from polymodal.data.inspection import inspect_table
from polymodal.data.schema.detect_target import detect_target_kind
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import TableError
from polymodal.modalities import MODALITIES, build_settings
from polymodal.modalities.picture_lists import frames_of


def draw(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade, shade, shade)).save(path)


def film(folder: Path, shades: list[int]) -> None:
    for number, shade in enumerate(shades):
        draw(folder / f"frame_{number}.png", shade)


def test_a_folder_of_numbered_pictures_is_a_film(tmp_path: Path) -> None:
    for row in range(4):
        film(tmp_path / "clips" / f"c{row}", list(range(0, 240, 20)))  # frame_10 stands behind frame_9
        (tmp_path / "clips" / f"c{row}" / "notes.txt").write_text("no frame")
    table = Table({"clip": [f"clips/c{row}" for row in range(4)], "y": list("abab")}, folder=tmp_path)
    found = {entry["name"]: entry for entry in inspect_table(table, targets=["y"])["columns"]}
    assert (found["clip"]["modality"], found["clip"]["broken"], found["clip"]["certainty"]) == ("video", 0, "sure")
    video = MODALITIES["video"].fit(table.columns["clip"], build_settings("video", {"size": 16}), tmp_path)
    column, broken = video.transform(table.columns["clip"], tmp_path)
    assert not broken
    brightness = column.values[0, : column.lengths[0]].mean(axis=(1, 2, 3))
    assert (np.diff(brightness) > 0).all()


def test_frames_that_change_are_decoded_anew(tmp_path: Path) -> None:
    film(tmp_path / "c", [1, 2, 3])
    before = cell_keys("video", {}, ["c"], tmp_path).name
    draw(tmp_path / "c" / "frame_3.png", 9)
    assert cell_keys("video", {}, ["c"], tmp_path).name != before
    assert frames_of("c", None) is None


def test_labels_that_are_names_of_class_folders_stay_labels(tmp_path: Path) -> None:
    film(tmp_path / "cat", [1, 2])
    film(tmp_path / "dog", [1, 2])
    assert detect_target_kind("label", ["cat", "dog"] * 10, tmp_path)[0] == "category"


@pytest.mark.parametrize("kind", ["metadata.csv", "metadata.jsonl"])
def test_hugging_face_folders_are_read(tmp_path: Path, kind: str) -> None:
    for row in range(3):
        soundfile.write(tmp_path / f"{row}.wav", np.zeros(800), 8000)
    lines = {
        "metadata.csv": "file_name,transcription\n" + "".join(f"{row}.wav,word {row}\n" for row in range(3)),
        "metadata.jsonl": "".join(
            json.dumps({"file_name": f"{row}.wav", "transcription": f"word {row}"}) + "\n" for row in range(3)
        ),
    }
    (tmp_path / kind).write_text(lines[kind])
    table = read_table(tmp_path)
    assert table.columns["file_name"] == ["0.wav", "1.wav", "2.wav"]
    found = inspect_table(table)["columns"][0]
    assert (found["modality"], found["broken"]) == ("audio", 0)


def test_folders_of_class_folders_say_which_to_give(tmp_path: Path) -> None:
    for split in ("test", "train"):
        draw(tmp_path / split / "cat" / "1.png", 1)
        draw(tmp_path / split / "dog" / "1.png", 1)
    with pytest.raises(TableError, match=r"holds folders of class folders: test, train\. Give one of them"):
        read_table(tmp_path)
    assert read_table(tmp_path / "train").columns["label"] == ["cat", "dog"]


@pytest.mark.parametrize("place", ["images", "train2017", "images/train2017"])
def test_pictures_of_coco_are_found_beside_the_annotations(tmp_path: Path, place: str) -> None:
    draw(tmp_path / place / "1.png", 1)
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}],
    }
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances.json"
    path.write_text(json.dumps(content))
    table = read_table(path)
    assert table.columns["image"] == [f"../{place}/1.png"]
    assert inspect_table(table)["columns"][0]["broken"] == 0
