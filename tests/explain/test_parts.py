"""Cells cut into parts: taking parts away changes that part and nothing else, and all parts together are the cell."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from polymodal.data.tables.table import Table
from polymodal.explain.parts import DIVISIONS, CellSource, DividedCell, IndivisibleCellError, divide_cell
from polymodal.explain.parts.words import word_spans
from polymodal.explain.searches import even_boxes
from polymodal.modalities import MODALITIES, build_settings

RATE_HZ = 4000


def divide(modality: str, cell: Any, settings: dict[str, Any] | None = None, folder: Path | None = None) -> DividedCell:
    """Fit a modality on one cell and divide it."""
    fitted = MODALITIES[modality].fit([cell], build_settings(modality, settings), folder)
    return divide_cell(CellSource(fitted, {"cell": cell}, folder))


def without(divided: DividedCell, *places: int) -> Any:
    """Return the cell without the atoms at some places of the first axis."""
    removed = np.zeros(divided.shape, bool)
    removed[list(places)] = True
    return divided.without(removed)["cell"]


def picture(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """Return a picture of noise."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


CELLS: dict[str, Any] = {
    "text": "A small, very small house.",
    "image": picture(),
    "video": np.random.default_rng(1).integers(0, 256, (6, 20, 30, 3)).astype(np.uint8),
    "audio": (np.random.default_rng(2).normal(size=RATE_HZ).astype(np.float32), RATE_HZ),
    "series": np.random.default_rng(3).normal(size=(50, 3)),
    "points": np.random.default_rng(4).normal(size=(200, 3)),
    "vector": np.arange(10.0),
}


@pytest.mark.parametrize("modality", CELLS)
def test_parts_of_any_size_cover_the_cell_once(modality: str) -> None:
    divided = divide(modality, CELLS[modality])
    for most in (1, 5, 23, 10_000):
        boxes = even_boxes(divided, most)
        assert len(boxes) <= most
        assert (np.sum([divided.mask(box) for box in boxes], axis=0) == 1).all()
    assert all(divided.halves(box) is None for box in even_boxes(divided, 10_000))


@pytest.mark.parametrize("modality", CELLS)
def test_a_cell_of_which_no_part_is_left_is_absent(modality: str) -> None:
    divided = divide(modality, CELLS[modality])
    assert divided.without(np.ones(divided.shape, bool)) == {"cell": None}


@pytest.mark.parametrize("modality", CELLS)
def test_a_cell_without_nothing_is_read_like_the_cell(modality: str) -> None:
    cell = CELLS[modality]
    fitted = MODALITIES[modality].fit([cell], build_settings(modality), None)
    divided = divide_cell(CellSource(fitted, {"cell": cell}, None))
    rebuilt = divided.without(np.zeros(divided.shape, bool))["cell"]
    column, broken = fitted.transform([cell, rebuilt], None)
    assert not broken
    np.testing.assert_allclose(column.values[0].astype(float), column.values[1].astype(float), atol=1e-2)


@pytest.mark.parametrize("modality", CELLS)
def test_each_part_has_a_label_and_a_place_of_its_own(modality: str) -> None:
    divided = divide(modality, CELLS[modality])
    described = [divided.describe(box) for box in even_boxes(divided, 12)]
    assert all(label for label, _ in described)
    assert len({str(place) for _, place in described}) == len(described)


def test_a_word_goes_with_the_marks_behind_it() -> None:
    divided = divide("text", CELLS["text"])
    assert [divided.describe(((place, place + 1),))[0] for place in range(5)] == [
        "A",
        "small",
        "very",
        "small",
        "house",
    ]
    assert without(divided, 1) == "A very small house."
    assert divided.describe(((1, 3),)) == ("small, very", {"start": 2, "end": 13})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop-over it’s", ["don't", "stop-over", "it’s"]),
        ("很好吃 ok", ["很", "好", "吃", "ok"]),
        ("カレー", ["カ", "レ", "ー"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("café", ["café"]),
        ("great 👍👍", ["great", "👍", "👍"]),
        ("... !!", ["...", "!!"]),
        ("3.5 kg", ["3", "5", "kg"]),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


def test_a_region_is_blurred_and_the_rest_stays() -> None:
    divided = divide("image", picture())
    removed = np.zeros(divided.shape, bool)
    removed[:8, :8] = True
    changed = divided.without(removed)["cell"]
    assert np.array_equal(changed[20:], picture()[20:])
    assert np.array_equal(changed[:20, 30:], picture()[:20, 30:])
    assert changed[:20, :30].std() < 0.2 * picture()[:20, :30].std()
    assert divided.describe(((0, 8), (0, 8)))[1] == {"box": [0.0, 0.0, 0.5, 0.5]}


def test_a_large_picture_is_read_small(tmp_path: Path) -> None:
    Image.fromarray(picture(900, 1200)).save(tmp_path / "large.png")
    divided = divide("image", "large.png", {"size": 32}, tmp_path)
    assert without(divided, 0).shape == (48, 64, 3)


def test_a_video_region_loses_its_picture_and_its_motion() -> None:
    divided = divide("video", CELLS["video"])
    changed = without(divided, 2)
    assert np.array_equal(changed[[0, 1, 3, 4, 5]], CELLS["video"][[0, 1, 3, 4, 5]])
    assert changed[2].std() < 0.3 * CELLS["video"][2].std()
    assert divided.describe(((1, 3), (0, 8), (0, 4)))[1] == {"box": [0.0, 0.0, 0.5, 1.0], "seconds": [1.0, 3.0]}


def test_videos_at_a_rate_of_their_own_are_not_cut() -> None:
    with pytest.raises(IndivisibleCellError, match="fixed rate"):
        divide("video", CELLS["video"], {"rate_hz": 2})


def test_a_band_is_filtered_out_for_its_time() -> None:
    times = np.arange(2 * RATE_HZ) / RATE_HZ
    noise = 0.01 * np.random.default_rng(0).normal(size=len(times))
    clip = (np.sin(2 * np.pi * 300 * times) + np.sin(2 * np.pi * 1500 * times) + noise).astype(np.float32)
    divided = divide("audio", (clip, RATE_HZ))
    high = [
        place
        for place in range(divided.shape[1])
        if divided.describe(((0, 1), (place, place + 1)))[1]["hertz"][0] > 800
    ]
    removed = np.zeros(divided.shape, bool)
    removed[: divided.shape[0] // 2, high] = True
    changed, rate = soundfile.read(io.BytesIO(divided.without(removed)["cell"]))
    first, second = (np.abs(np.fft.rfft(part))[[300, 1500]] for part in (changed[:RATE_HZ], changed[RATE_HZ:]))
    assert rate == RATE_HZ
    assert first[1] < 0.05 * first[0]
    assert second[1] > 0.8 * second[0]


def test_silence_at_the_ends_that_is_cut_off_has_no_parts() -> None:
    clip = np.zeros(4 * RATE_HZ, np.float32)
    clip[RATE_HZ : 2 * RATE_HZ] = np.random.default_rng(0).normal(size=RATE_HZ)
    divided = divide("audio", (clip, RATE_HZ), {"trim_db": 50})
    start, end = divided.describe(divided.whole)[1]["seconds"]
    assert start == pytest.approx(1, abs=0.05)
    assert end == pytest.approx(2, abs=0.05)


def test_a_stretch_of_a_channel_becomes_the_mean_of_training() -> None:
    divided = divide("series", CELLS["series"])
    removed = np.zeros(divided.shape, bool)
    removed[0, 1] = True
    changed, cell = divided.without(removed)["cell"], CELLS["series"]
    start, end = divided.describe(((0, 1), (1, 2)))[1]["steps"]
    assert len(np.unique(changed[start:end, 1])) == 1
    changed[start:end, 1] = cell[start:end, 1]
    assert np.array_equal(changed, cell)


def test_channels_first_stay_first() -> None:
    cells = [np.random.default_rng(row).normal(size=(3, 40 + row)) for row in range(5)]
    fitted = MODALITIES["series"].fit(cells, build_settings("series"), None)
    divided = divide_cell(CellSource(fitted, {"cell": cells[0]}, None))
    assert divided.without(np.zeros(divided.shape, bool))["cell"].shape == (3, 40)


def test_points_are_left_out_in_boxes() -> None:
    divided = divide("points", CELLS["points"])
    box = divided.describe(((0, 8),))[1]["box"]
    changed = without(divided, *range(8))[0]
    inside = ((CELLS["points"] >= np.array(box[0]) - 1e-3) & (CELLS["points"] <= np.array(box[1]) + 1e-3)).all(axis=1)
    assert len(changed) < 200
    assert 200 - len(changed) == pytest.approx(inside.sum(), abs=2)


def test_columns_that_are_absent_are_no_parts() -> None:
    table = Table({"size": [1.0, 2.0], "colour": ["red", "blue"], "age": [None, 3]})
    kinds = {"size": "number", "colour": "category", "age": "number"}
    fitted = MODALITIES["tabular"].fit(table.columns, build_settings("tabular", {"kinds": kinds}), None)
    divided = divide_cell(CellSource(fitted, {name: cells[0] for name, cells in table.columns.items()}, None))
    assert divided.columns == ("size", "colour")
    assert divided.without(np.array([True, False])) == {"size": None, "colour": "red"}
    with pytest.raises(IndivisibleCellError, match="absent"):
        divide_cell(CellSource(fitted, dict.fromkeys(table.columns), None))


def test_every_modality_of_streams_has_parts_or_says_that_it_has_none() -> None:
    streams = {name for name, modality in MODALITIES.items() if modality.is_stream}
    without_parts = streams - set(DIVISIONS) - {"number", "category", "datetime"}
    assert without_parts == {"geo"}
    with pytest.raises(IndivisibleCellError, match="'geo' has no parts"):
        divide("geo", "48.1, 11.5")


def test_cells_that_cannot_be_read_have_no_parts() -> None:
    fitted = MODALITIES["image"].fit([picture()], build_settings("image"), None)
    with pytest.raises(IndivisibleCellError, match="cannot be read"):
        divide_cell(CellSource(fitted, {"cell": b"no picture"}, None))


@pytest.mark.parametrize("modality", ["image", "video", "series", "vector", "audio"])
def test_values_of_arrays_keep_their_sum_as_parts(modality: str) -> None:
    cell = CELLS[modality]
    fitted = MODALITIES[modality].fit([cell], build_settings(modality), None)
    divided = divide_cell(CellSource(fitted, {"cell": cell}, None))
    array = fitted.transform([cell], None)[0].values[0].astype(np.float64)
    values = np.random.default_rng(0).normal(size=array.shape)
    pooled = divided.pool(values, array, fitted)
    assert pooled.shape == divided.shape
    assert pooled.sum() == pytest.approx(values.sum())


def test_values_of_pixels_go_to_their_region() -> None:
    cell = np.zeros((60, 30, 3), np.uint8)
    fitted = MODALITIES["image"].fit([cell], build_settings("image", {"size": 40}), None)
    divided = divide_cell(CellSource(fitted, {"cell": cell}, None))
    values = np.zeros((40, 40, 3))
    values[30:, 20:30] = 1  # the picture lies in columns 10 to 30: the lower right quarter of its lower half
    pooled = divided.pool(values, values, fitted)
    assert pooled[12:, 8:].sum() == pytest.approx(values.sum())


def test_values_of_points_go_to_the_nearest_group() -> None:
    cloud = CELLS["points"]
    fitted = MODALITIES["points"].fit([cloud], build_settings("points"), None)
    divided = divide_cell(CellSource(fitted, {"cell": cloud}, None))
    array = fitted.transform([cloud], None)[0].values[0].astype(np.float64)
    assert divided.pool(np.ones_like(array), array, fitted).sum() == pytest.approx(
        array[..., -1].sum() * array.shape[-1]
    )
