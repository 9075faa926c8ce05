"""What `inspect` says about a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from polymodal.data.inspection import inspect_table
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import ConfigError


def column(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in found["columns"] if entry["name"] == name)


def test_broken_media_cells_are_counted_and_named(shared_data: Path) -> None:
    names = ["truncated.png", "empty.jpg", "text_renamed.png", "huge_header.png", "missing.png", None]
    good = shared_data / "leaf" / "images" / "000.png"
    table = Table(
        {"image": [str(good), *names, "truncated.png"], "label": list("aabbaabb")},
        folder=shared_data / "fixtures",
        name="t.csv",
    )
    found = inspect_table(table, targets=["label"])
    image = column(found, "image")
    assert (image["modality"], image["stream"], image["missing"], image["broken"]) == ("image", "image", 1, 6)
    assert [example["row"] for example in image["broken_examples"]] == [2, 3, 4, 5, 6]
    assert all(example["reason"] for example in image["broken_examples"])


def test_notices_of_the_table_are_listed() -> None:
    labels = [("p", "n")[row % 2] for row in range(80)]
    sizes = ["unknown" if row == 3 else str(row * 0.37 % 5) for row in range(80)]
    found = inspect_table(Table({"copy": labels, "size": sizes, "y": labels}), targets=["y", "size"])
    assert [(notice["kind"], notice["columns"]) for notice in found["notices"]] == [
        ("missing_words", ["size"]),
        ("leak", ["copy"]),
    ]
    assert json.loads(json.dumps(found["notices"])) == found["notices"]


def test_long_clips_are_told(tmp_path: Path) -> None:
    for row in range(4):
        soundfile.write(tmp_path / f"{row}.wav", np.zeros(4000 * (280 + 20 * row)), 4000)
    table = Table({"clip": [f"{row}.wav" for row in range(4)], "label": list("abab")}, folder=tmp_path)
    (notice,) = [notice for notice in inspect_table(table, targets=["label"])["notices"] if notice["kind"] == "cut"]
    assert notice["sentence"] == (
        "'clip': 1 of 4 clips (25%) are longer than 324 s; 32 segments of 10.1 s, spread evenly over the whole, "
        "are used. To change that: --set settings.clip.max_segments=..."
    )


def test_broken_sounds(shared_data: Path) -> None:
    names = ["silent.wav", "stereo_48k.wav", "yesno/00.flac", "gone.wav"]
    found = inspect_table(Table({"sound": names}, folder=shared_data / "fixtures"))
    assert column(found, "sound")["broken_examples"][0]["row"] == 4
    assert column(found, "sound")["broken"] == 1


def test_structured_targets_are_counted() -> None:
    table = Table({"x": [1.5, 2.5] * 10, "y": [*(f"a text about row {row}" for row in range(19)), None]})
    (target,) = inspect_table(table, targets=["y"])["targets"]
    assert (target["kind"], target["different"], target["missing"]) == ("caption", 19, 1)


def test_tabular_cells_targets_and_gaps() -> None:
    table = Table(
        {
            "age": [*(str(age) for age in range(20, 59)), "old"],
            "city": ["北京", "上海", None, "北京"] * 10,
            "id": [f"u{index}" for index in range(40)],
            "label": ["yes", "no", "yes", None] * 10,
            "price": [index * 1.5 for index in range(40)],
            "tags": ["a|b", "b", "a", "c|a"] * 10,
        }
    )
    found = inspect_table(table, targets=["label", "price", "tags"])
    assert found["rows"] == 40
    assert column(found, "age")["broken_examples"] == [{"row": 40, "reason": "'old' is not a number"}]
    assert column(found, "city")["balance"] == [{"value": "北京", "rows": 20}, {"value": "上海", "rows": 10}]
    assert (column(found, "city")["missing"], column(found, "city")["distinct"]) == (10, 2)
    assert (column(found, "id")["role"], column(found, "id")["stream"]) == ("ignored", None)
    assert column(found, "label")["role"] == "target"
    label, price, tags = found["targets"]
    assert label["balance"] == [{"value": "yes", "rows": 20}, {"value": "no", "rows": 10}]
    assert label["missing"] == 10
    assert price["range"] == {"smallest": 0.0, "mean": 29.25, "median": 29.25, "largest": 58.5}
    assert {entry["value"]: entry["rows"] for entry in tags["balance"]} == {"a": 30, "b": 20, "c": 10}
    assert tags["kind"] == "categories"
    json.dumps(found, allow_nan=False)


def test_boxes_are_counted_by_label() -> None:
    boxes = [[{"label": "cat", "box": [0, 0, 5, 5]}] * 2 + [{"label": "owl", "box": [1, 1, 3, 3]}], [], "broken"]
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 3
    (target,) = inspect_table(Table({"photo": pictures, "cells": boxes}), targets=["cells"])["targets"]
    assert (target["kind"], target["boxes"], target["classes"]) == ("boxes", 3, 2)
    assert target["balance"] == [{"value": "cat", "rows": 2}, {"value": "owl", "rows": 1}]


def test_columns_this_version_does_not_learn_from_are_shown(shared_data: Path) -> None:
    boxes = column(inspect_table(read_table(shared_data / "bccd" / "test.csv")), "cells")
    assert (boxes["modality"], boxes["supported"], boxes["broken"]) == ("boxes", False, 0)
    urls = Table({"photo": ["https://example.com/1.png", "https://example.com/2.png"]})
    photo = column(inspect_table(urls), "photo")
    assert (photo["supported"], photo["broken"]) == (False, 0)
    assert "not fetched" in photo["reason"]


def test_cells_in_memory() -> None:
    table = Table(
        {
            "picture": [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(3)],
            "vector": [np.zeros(3), np.ones(3), np.array([0, np.nan, 0])],
            "data": [b"\x89PNG broken", None, b"\x89PNG too"],
        }
    )
    found = inspect_table(table)
    assert [entry["broken"] for entry in found["columns"]] == [0, 1, 2]
    assert column(found, "picture")["examples"][0].startswith("picture 8 x 8")
    json.dumps(found, allow_nan=False)


class Counting:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.total, self.done = 0, 0

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Counting]:
        self.total = total or 0
        yield self

    def advance(self, n: int = 1, note: str = "") -> None:
        self.done += n

    def message(self, text: str) -> None:
        """Not used here."""


def test_progress_counts_distinct_cells(shared_data: Path) -> None:
    images = [str(shared_data / "leaf" / "images" / f"{index:03d}.png") for index in range(5)]
    progress = Counting()
    inspect_table(Table({"image": images * 40}, folder=shared_data), progress=progress)
    assert progress.total == progress.done == 5


def test_settings_are_checked(shared_data: Path) -> None:
    table = Table({"image": ["huge_header.png"], "x": [1]}, folder=shared_data / "fixtures")
    with pytest.raises(ConfigError, match="'image' has no option 'sizes'"):
        inspect_table(table, settings={"image": {"sizes": 3}})
