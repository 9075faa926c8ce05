"""Every kind of noise: what it keeps, that it repeats, that more severity is more noise, and what is left alone."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from rapidfuzz.distance import Levenshtein

import films
from modality_examples import MODALITY_EXAMPLES, as_given, fit_example
from polymodal.corruptions import CORRUPTIONS, CorruptionContext, corrupt_cell, corrupt_cells, find_kinds, kinds_of
from polymodal.errors import ConfigError
from polymodal.modalities import MODALITIES, Modality, Series, SeriesSettings

RANDOM = np.random.default_rng(3)
PARAGRAPH = "the quick brown fox jumps over the lazy dog while seven wizards watch from the small hill"


def _wave(frequency: float) -> np.ndarray:
    time_s = np.arange(4000) / 8000
    return (0.5 * np.sin(2 * np.pi * frequency * time_s) + RANDOM.normal(0, 0.01, 4000)).astype(np.float32)


def _picture(number: int) -> np.ndarray:
    return np.array(Image.fromarray(RANDOM.integers(0, 256, (4, 4, 3), np.uint8)).resize((40, 40)))


CELLS: dict[str, list[Any]] = {
    "image": [_picture(number) for number in range(6)],
    "audio": [(_wave(300 * number + 200), 8000) for number in range(6)],
    "text": [f"{PARAGRAPH} {number}" for number in range(6)],
    "number": [float(number) for number in range(1, 41)],
    "category": [f"level {number % 5}" for number in range(40)],
    "datetime": [f"20{10 + number}-05-17" for number in range(10)],
    "geo": [(40.0 + number, 10.0 - number) for number in range(10)],
    "series": [np.cumsum(RANDOM.normal(size=(60, 4)), axis=0) for _ in range(6)],
    "points": [RANDOM.normal(size=(200, 4)) for _ in range(6)],
    "video": [np.stack([_picture(number) for number in range(8)]) for _ in range(4)],
    "vector": [RANDOM.normal(size=12) for _ in range(6)],
}
"""Cells that are large enough for every severity to show."""


def _context(modality: str) -> CorruptionContext:
    cells = CELLS[modality]
    return CorruptionContext(modality=fit_example(modality, cells=cells), others=cells)


def _corrupted(kind: str, severity: int, seed: int = 0) -> list[Any]:
    modality = CORRUPTIONS[kind].modality
    return corrupt_cells(kind, CELLS[modality], severity, context=_context(modality), seed=seed, column="c")


def _arrays(modality: str, cells: list[Any], fitted: Modality | None = None) -> np.ndarray:
    """Return what the modality reads of cells, of one length."""
    column, broken = (fitted or fit_example(modality, cells=CELLS[modality])).transform(as_given(modality, cells), None)
    assert not broken
    assert column.row_present.all()
    return column.values.astype(np.float64)


def _distance(kind: str, severity: int) -> float:
    """Return how far corrupted cells lie from clean ones: of text by characters, else by the arrays that are read."""
    modality = CORRUPTIONS[kind].modality
    corrupted = _corrupted(kind, severity)
    if modality == "text":
        return float(np.mean([Levenshtein.distance(a, b) for a, b in zip(CELLS[modality], corrupted, strict=True)]))
    if kind == "audio_speed":
        return float(np.mean([abs(np.log(len(cell) / 4000)) for cell, _ in corrupted]))
    if kind == "points_dropout":
        return float(np.mean([200 - len(cloud) for cloud in corrupted]))
    clean, noisy = _arrays(modality, CELLS[modality]), _arrays(modality, corrupted)
    if modality == "category":
        return float((clean != noisy).mean())
    return float(np.sqrt(np.mean((clean - noisy) ** 2)))


def test_every_modality_of_columns_has_noise() -> None:
    of_kinds = {corruption.modality for corruption in CORRUPTIONS.values()}
    assert of_kinds == set(MODALITY_EXAMPLES)
    assert of_kinds <= set(MODALITIES)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_kind_is_called_after_its_modality_and_has_five_levels_one_after_the_other(kind: str) -> None:
    corruption = CORRUPTIONS[kind]
    assert kind.startswith(f"{corruption.modality}_")
    steps = np.diff(corruption.levels)
    assert (steps > 0).all() or (steps < 0).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_more_severity_is_more_noise(kind: str) -> None:
    distances = [_distance(kind, severity) for severity in (1, 2, 3, 4, 5)]
    assert distances[0] > 0 or CORRUPTIONS[kind].unit.startswith("share of the cells")
    assert distances[4] > 1.2 * distances[0]
    assert all(later > 0.8 * earlier for earlier, later in itertools.pairwise(distances))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_seed_row_and_column_give_the_same_cell(kind: str) -> None:
    modality = CORRUPTIONS[kind].modality
    context, cells = _context(modality), CELLS[modality]
    whole = corrupt_cells(kind, cells, 3, context=context, seed=1, column="c")
    some = corrupt_cells(kind, cells[2:], 3, context=context, seed=1, column="c", rows=range(2, len(cells)))
    assert _same(whole[2:], some)
    if kind not in ("image_blur", "image_jpeg", "image_brightness", "audio_clipping", "video_blur"):
        others = [
            corrupt_cells(kind, cells, 3, context=context, seed=seed, column=column)
            for seed, column in ((2, "c"), (1, "d"))
        ]
        assert not any(_same(whole, other) for other in others)


def _same(first: list[Any], second: list[Any]) -> bool:
    pairs = [(a[0], b[0]) if isinstance(a, tuple) else (a, b) for a, b in zip(first, second, strict=True)]
    return all(_is_same(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _is_same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == second.dtype.kind == "f")


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corrupted_cell_is_read_like_a_clean_one_and_the_clean_one_is_not_changed(kind: str) -> None:
    modality = CORRUPTIONS[kind].modality
    before = [np.array(cell[0] if isinstance(cell, tuple) else cell, copy=True) for cell in CELLS[modality]]
    corrupted = _corrupted(kind, 5)
    assert _arrays(modality, corrupted).shape[0] == len(CELLS[modality])
    assert _same(before, [cell[0] if isinstance(cell, tuple) else cell for cell in CELLS[modality]])
    for cell, noisy in zip(CELLS[modality], corrupted, strict=True):
        if modality in ("image", "video", "series", "vector"):
            assert noisy.shape == cell.shape
        if modality in ("image", "video"):
            assert noisy.dtype == np.uint8


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("severity", [1, 5])
def test_example_cells_in_every_form_stay_readable(kind: str, severity: int) -> None:
    modality = CORRUPTIONS[kind].modality
    example = MODALITY_EXAMPLES[modality]
    fitted = fit_example(modality)
    for context in (CorruptionContext(modality=fitted, others=example.cells), CorruptionContext()):
        corrupted = corrupt_cells(kind, example.cells, severity, context=context)
        _arrays(modality, corrupted, fitted)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_absent_and_broken_cells_stay_as_they_are(kind: str) -> None:
    broken = MODALITY_EXAMPLES[CORRUPTIONS[kind].modality].broken
    context = _context(CORRUPTIONS[kind].modality)
    for cell in (None, "", float("nan"), broken):
        assert corrupt_cell(kind, cell, 5, context=context) is cell


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_cell_does_not_become_that_of_another_row(kind: str) -> None:
    modality = CORRUPTIONS[kind].modality
    if modality in ("number", "category", "datetime"):
        return  # two rows may have the same label or date
    corrupted = [cell[0] if modality == "audio" else cell for cell in _corrupted(kind, 2)]
    clean = [cell[0] if modality == "audio" else cell for cell in CELLS[modality]]
    for row, noisy in enumerate(corrupted):
        assert not any(_same([noisy], [other]) for number, other in enumerate(clean) if number != row)


def _series_file(path: Path, names: list[str], values: np.ndarray) -> str:
    path.write_text("\n".join([",".join(names), *(",".join(map(repr, row)) for row in values.tolist())]) + "\n")
    return path.name


@pytest.mark.parametrize("kind", kinds_of("series"))
def test_series_with_columns_in_another_order_get_the_noise_of_the_same_channels(kind: str, tmp_path: Path) -> None:
    values = [np.cumsum(RANDOM.normal(size=(40, 3)), axis=0) * (1, 10, 100) for _ in range(4)]
    cells = [_series_file(tmp_path / f"{row}.csv", ["x", "y", "z"], steps) for row, steps in enumerate(values)]
    turned = _series_file(tmp_path / "turned.csv", ["z", "x", "y"], values[0][:, [2, 0, 1]])
    context = CorruptionContext(folder=tmp_path, modality=Series.fit(cells, SeriesSettings(), tmp_path))
    noisy = [corrupt_cell(kind, cell, 4, context=context) for cell in (cells[0], turned)]
    np.testing.assert_array_equal(*noisy)


def test_files_keep_size_rate_and_channels(tmp_path: Path) -> None:
    Image.fromarray(_picture(0)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.flac", np.stack([_wave(300), _wave(500)], axis=1), 8000)
    context = CorruptionContext(folder=tmp_path, others=["a.flac"])
    for kind in kinds_of("image"):
        assert corrupt_cell(kind, "a.png", 3, context=context).shape == (40, 40, 3)
    for kind in kinds_of("audio"):
        cell = corrupt_cell(kind, "a.flac", 3, context=context)
        if kind == "audio_babble":
            assert cell == "a.flac"  # there is no other row
        else:
            samples, rate = soundfile.read(io.BytesIO(cell))
            assert rate == 8000
            assert samples.shape[1] == 2
            assert samples.shape[0] == 4000 or kind == "audio_speed"


def test_a_video_read_at_a_fixed_rate_keeps_its_frames(tmp_path: Path) -> None:
    path = films.write(tmp_path, "a.mp4", np.stack([_picture(number) for number in range(8)]))
    context = CorruptionContext(folder=tmp_path, modality=fit_example("video", {"rate_hz": 5.0, "frames": 8}))
    for kind in kinds_of("video"):
        cell = corrupt_cell(kind, str(path), 1, context=context)
        fitted = fit_example("video", {"rate_hz": 5.0, "frames": 8})
        (clean, _), (noisy, broken) = (fitted.transform([one], tmp_path) for one in (str(path), cell))
        assert not broken
        assert noisy.lengths.tolist() == clean.lengths.tolist()
        assert abs(noisy.values.astype(int) - clean.values).mean() < 40


def test_scripts_without_spaces_lose_characters() -> None:
    text = "一个红色的圆在白色的墙上。" * 4
    for kind in kinds_of("text"):
        corrupted = corrupt_cell(kind, text, 5)
        assert corrupted
        assert corrupted != text


def test_babble_is_other_rows() -> None:
    quiet, loud = _wave(200), _wave(900)
    mixed, _ = corrupt_cell("audio_babble", (quiet, 8000), 5, context=CorruptionContext(others=[(loud, 8000)]))
    spectrum = np.abs(np.fft.rfft(mixed))
    assert spectrum[450] > 0.5 * spectrum[100]  # 900 Hz beside 200 Hz, half a second


def test_a_swapped_level_is_one_of_the_training_cells() -> None:
    swapped = _corrupted("category_swaps", 5)
    assert set(swapped) <= set(CELLS["category"])
    assert 0.2 < np.mean([a != b for a, b in zip(swapped, CELLS["category"], strict=True)]) < 0.8


def test_kinds_are_found_by_name_glob_and_modality() -> None:
    assert find_kinds(["image_blur"]) == ("image_blur",)
    assert find_kinds(["text"]) == kinds_of("text")
    assert set(find_kinds(["*_noise", "geo"])) >= {"image_noise", "audio_noise", "geo_jitter"}
    with pytest.raises(ConfigError, match=r"no kind of noise 'image_bluer'. Did you mean 'image_blur'\?"):
        find_kinds(["image_bluer"])


def test_a_severity_beyond_five_is_refused() -> None:
    with pytest.raises(ConfigError, match="'severity' parameter of corrupt_cell must be a whole number from 1 to 5"):
        corrupt_cell("text_typos", "a", 6)
