"""Cells of every modality, for the checks that run over all of them: a modality that is listed adds its own here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from polymodal.arrays import Cell, Column
from polymodal.modalities import MODALITIES, Modality, build_settings

GENERATOR = np.random.default_rng(0)
MEMBER = "size"
"""Name of the one column, of numbers, of which a stream of several columns is made."""


class ModalityExample(NamedTuple):
    """Cells of one modality.

    Attributes:
        cells: Four different cells, in as many forms as there are, that can be told from those of other modalities.
        broken: A cell that is there and cannot be read.
    """

    cells: list[Cell]
    broken: Cell


MODALITY_EXAMPLES: dict[str, ModalityExample] = {
    "number": ModalityExample([1, 2.5, "3", "-4e2"], "twelve"),
    "category": ModalityExample(["a", "b", 7, True], ["a", "list"]),
    "datetime": ModalityExample(["2024-01-31", date(2020, 2, 29), "2021-06-01T12:30:00Z", "2019/3/4"], "yesterday"),
    "text": ModalityExample(
        ["a red shape on a wall", "一个红色的圆", "red, red, and red again!", "is it the same as before?"],
        b"\xff\xfe\x00",
    ),
    "image": ModalityExample(list(GENERATOR.integers(0, 256, (4, 12, 8, 3), np.uint8)), b"not a picture"),
    "audio": ModalityExample(
        [(GENERATOR.normal(size=size).astype(np.float32), 8000) for size in (900, 4000, 2000, 10)], b"not a sound"
    ),
    "video": ModalityExample(
        [GENERATOR.integers(0, 256, (num, 12, 8, 3), np.uint8) for num in (3, 5, 1, 9)], b"not a video"
    ),
    "vector": ModalityExample([[1, 2, 3], np.array([4.0, 5.0, 6.0]), [7, 8, 9.5], "[1, 0, 1]"], ["one", "two"]),
    "series": ModalityExample(
        [GENERATOR.normal(size=(9, 2)), [[1, 2], [3, None], [5, 6.5]], "[[0, 1], [null, 2]]", [[7, 8]]], [[1, 2], [3]]
    ),
    "points": ModalityExample(
        [GENERATOR.normal(size=(9, 4)), [[1, 2, 3, 4]], "[[0, 0, 1, 2], [NaN, 2, 3, 4]]", np.ones((3, 5, 4))],
        [[np.nan] * 4] * 3,
    ),
    "geo": ModalityExample(
        ["48.1, 11.5", "-17.8 178.1", "POINT (-0.1 51.5)", '{"lat": 35.7, "lon": 139.7}'], "95, 11.5"
    ),
}


def example_of(modality: str) -> ModalityExample:
    """Return a modality's example; of several columns together that of their one member."""
    return MODALITY_EXAMPLES[modality if MODALITIES[modality].is_column else "number"]


def as_given(modality: str, cells: Sequence[Cell]) -> Any:
    """Return cells in the form that the modality takes: several columns together are a mapping."""
    return list(cells) if MODALITIES[modality].is_column else {MEMBER: list(cells)}


def fit_example(
    modality: str, options: Mapping[str, Any] | None = None, cells: Sequence[Cell] | None = None
) -> Modality:
    """Fit a modality on its example cells, or on others."""
    options = dict(options or {}) if MODALITIES[modality].is_column else {"kinds": {MEMBER: "number"}}
    given = as_given(modality, example_of(modality).cells if cells is None else cells)
    return MODALITIES[modality].fit(given, build_settings(modality, options), None)


def example_column(modality: str, rows: int, fitted: Modality | None = None) -> Column:
    """Return arrays of so many rows, the example cells in turn."""
    cells = example_of(modality).cells
    given = as_given(modality, [cells[row % len(cells)] for row in range(rows)])
    return (fitted or fit_example(modality)).transform(given, None)[0]
