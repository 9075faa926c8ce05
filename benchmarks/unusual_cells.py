"""Cells that are unlike those of training: damaged ones, and those of other datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.data.tables.table import Table, read_table
from polymodal.modalities.audio_files import load_clip, read_header
from polymodal.modalities.image_files import open_image

Change = Callable[[Any, np.random.Generator], Any]
OTHERS = {
    "image": (("avdigits", "image"), ("leaf", "image"), ("bccd", "image")),
    "audio": (("avdigits", "audio"), ("esc10", "audio")),
    "text": (("baby_products", "title"), ("takeaway_zh", "review"), ("clothing", "review_text")),
}
"""Modality to the datasets and columns that foreign cells come from."""


def changed_tables(table: Table, dataset: str, streams: Sequence[Any], data: Path, seed: int) -> dict[str, Table]:
    """Change one column at a time.

    Args:
        table: Ordinary rows.
        dataset: The name of their dataset.
        streams: The streams of the model's schema.
        data: Folder of all datasets.
        seed: Of every draw.

    Returns:
        "column: change" to the table with that column changed in every row that has it.
    """
    found = {}
    for stream in streams:
        changes = dict(CHANGES.get(stream.modality, {}))
        changes |= {
            f"from {other}": _foreign(data, other, column) for other, column in _others(stream.modality, dataset)
        }
        for name, change in changes.items():
            random = np.random.default_rng(seed)
            for column in stream.columns[: 3 if stream.modality == "tabular" else 1]:
                cells = [
                    None if cell is None else change((cell, table.folder), random) for cell in table.columns[column]
                ]
                found[f"{column}: {name}"] = replace(table, columns={**table.columns, column: cells})
    return found


def _others(modality: str, dataset: str) -> list[tuple[str, str]]:
    return [(other, column) for other, column in OTHERS.get(modality, ()) if other != dataset]


def _foreign(data: Path, dataset: str, column: str) -> Change:
    table = read_table(data / dataset / "validation.csv")
    is_text = (dataset, column) in OTHERS["text"]
    cells = [
        cell if is_text else str((table.folder or data) / cell) for cell in table.columns[column] if cell is not None
    ]
    return lambda _, random: cells[random.integers(len(cells))]


def _picture(work: Callable[[NDArray[np.float64], np.random.Generator], NDArray[Any]]) -> Change:
    def change(cell: Any, random: np.random.Generator) -> NDArray[np.uint8]:
        pixels = np.asarray(open_image(cell[0], cell[1], 10**8).convert("RGB"), np.float64)
        return np.clip(work(pixels, random), 0, 255).astype(np.uint8)

    return change


def _blurred(pixels: NDArray[np.float64], _: np.random.Generator) -> NDArray[Any]:
    from PIL import Image, ImageFilter

    picture = Image.fromarray(pixels.astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(pixels.shape[1] / 20)))


def _occluded(pixels: NDArray[np.float64], random: np.random.Generator) -> NDArray[Any]:
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    top, left = random.integers(height + 1), random.integers(width + 1)
    pixels = pixels.copy()
    pixels[top : top + height, left : left + width] = 128
    return pixels


def _sound(work: Callable[[NDArray[np.float64], np.random.Generator], NDArray[Any]]) -> Change:
    def change(cell: Any, random: np.random.Generator) -> tuple[NDArray[np.float32], int]:
        rate = read_header(*cell)[0] or 16_000
        return work(load_clip(*cell, rate).astype(np.float64), random).astype(np.float32), rate

    return change


def _with_gap(samples: NDArray[np.float64], random: np.random.Generator) -> NDArray[Any]:
    start = random.integers(len(samples) // 2 + 1)
    samples = samples.copy()
    samples[start : start + len(samples) // 2] = 0
    return samples


def _typos(cell: Any, random: np.random.Generator) -> str:
    letters = [chr(random.integers(97, 123)) if random.random() < 0.15 else letter for letter in str(cell[0])]
    return "".join(letters)


def _few_words(cell: Any, random: np.random.Generator) -> str:
    words = str(cell[0]).split()
    return " ".join(word for word in words if random.random() < 0.3) or words[0]


def _times_ten(cell: Any, _: np.random.Generator) -> Any:
    try:
        return str(10 * float(cell[0]))
    except ValueError:
        return "never seen"


CHANGES: dict[str, dict[str, Change]] = {
    "image": {
        "black": _picture(lambda pixels, _: 0 * pixels),
        "noise": _picture(lambda pixels, random: pixels + random.normal(0, 50, pixels.shape)),
        "blurred": _picture(_blurred),
        "dark": _picture(lambda pixels, _: 0.3 * pixels),
        "turned": _picture(lambda pixels, _: np.rot90(pixels)),
        "a quarter hidden": _picture(_occluded),
    },
    "audio": {
        "silent": _sound(lambda samples, _: 0 * samples),
        "noise": _sound(lambda samples, random: samples + random.normal(0, samples.std() + 1e-9, len(samples))),
        "clipped": _sound(lambda samples, _: np.clip(samples, -samples.std() / 2, samples.std() / 2)),
        "backwards": _sound(lambda samples, _: samples[::-1]),
        "half gone": _sound(_with_gap),
    },
    "text": {
        "typos": _typos,
        "three words of ten": _few_words,
        "backwards": lambda cell, _: str(cell[0])[::-1],
    },
    "tabular": {"ten times, or never seen": _times_ten},
}
"""Modality to changes of a cell, given with its folder."""
