"""Explanations by hand over small cells of every kind, for tests of what a person sees of them."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import soundfile

import films
from polymodal.data.tables.table import Table
from polymodal.explain.explanation import CellParts, Change, Explanation, Part, RowExplanation, TargetSummary
from polymodal.report.explained_cells import ExplainedTable

TEXT = "a lovely <b>red</b> dress, not cheap"
NASTY = "<script>alert(1)</script>"


def picture() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)


def sound(seconds: float = 0.5) -> bytes:
    buffer = io.BytesIO()
    time = np.arange(int(8000 * seconds)) / 8000
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * 600 * time), 8000, format="WAV")
    return buffer.getvalue()


def film() -> bytes:
    frames = np.zeros((12, 32, 48, 3), np.uint8)
    frames[:, 8:16, 8:16] = 255
    return films.encode(frames)


def words() -> CellParts:
    found = list(re.finditer(r"\w+", TEXT))
    values = {"lovely": 0.2, "red": 0.05, "not": -0.15}
    parts = [Part(match[0], {"start": match.start(), "end": match.end()}, values.get(match[0], 0.0)) for match in found]
    return CellParts("review", "review", "words", "owen", parts, 9)


def regions(column: str = "photo", seconds: tuple[tuple[float, float], ...] = ()) -> CellParts:
    parts = []
    for time in seconds or (None,):
        for place, value in (([0, 0, 0.5, 1], 0.3), ([0.5, 0, 1, 1], -0.1)):
            more = {} if time is None else {"seconds": list(time)}
            parts.append(Part(f"region {place} {time or ''}", {"box": place, **more}, value))
    return CellParts(column, column, "regions", "owen", parts, 12)


def bands() -> CellParts:
    parts = [
        Part(f"from {start} s, {low} Hz", {"seconds": [start, start + 0.25], "hertz": [low, low * 2]},
             0.1 if low == 500 else -0.04)
        for start in (0.0, 0.25) for low in (500, 1000)
    ]  # fmt: skip
    return CellParts("voice", "voice", "seconds_bands", "occlusion", parts, 5)


def steps() -> CellParts:
    parts = [
        Part(f"from step {start}, {channel}", {"steps": [start, start + 20], "channel": channel}, value)
        for start in (0, 20) for channel, value in ((0, 0.1), ("1-2", -0.05))
    ]  # fmt: skip
    return CellParts("motion", "motion", "time_channels", "occlusion", parts, 5)


def points() -> CellParts:
    parts = [
        Part("20 points around (0, 0, 0)", {"box": [[-9, -9, -9], [0, 9, 9]]}, 0.2),
        Part("20 points around (1, 0, 0)", {"box": [[0, -9, -9], [9, 9, 9]]}, -0.1),
    ]
    return CellParts("cloud", "cloud", "points", "occlusion", parts, 3)


def ranges() -> CellParts:
    parts = [Part("numbers 0-7", {"range": [0, 8]}, 0.1), Part("numbers 8-15", {"range": [8, 16]}, -0.1)]
    return CellParts("vector", "vector", "dimensions", "integrated_gradients", parts, 3)


def columns() -> CellParts:
    parts = [Part("price", {"column": "price"}, 0.02), Part("size, town", {"column": ["size", "town"]}, -0.01)]
    return CellParts("tabular", None, "columns", "shapley", parts, 4)


STREAMS = {
    "review": ["review"], "photo": ["photo"], "film": ["film"], "voice": ["voice"], "motion": ["motion"],
    "cloud": ["cloud"], "vector": ["vector"], "tabular": ["price", "size", "town"],
}  # fmt: skip
MODALITIES = {
    "review": "text", "photo": "image", "film": "video", "voice": "audio", "motion": "series", "cloud": "points",
    "vector": "vector", "price": "number", "size": "number", "town": "category",
}  # fmt: skip


def table(num_rows: int = 1, **cells: Any) -> Table:
    generator = np.random.default_rng(1)
    row = {
        "review": TEXT, "photo": picture(), "film": film(), "voice": sound(), "motion": generator.normal(size=(40, 3)),
        "cloud": generator.normal(size=(40, 3)), "vector": generator.normal(size=16), "price": 9.5, "size": None,
        "town": NASTY, "kind": "dress",
    }  # fmt: skip
    return Table({name: [cell] * num_rows for name, cell in (row | cells).items()}, None, "new.csv")


def cells() -> list[CellParts]:
    film_parts = regions("film", ((0.0, 0.6), (0.6, 1.2)))
    return [words(), regions(), film_parts, bands(), steps(), points(), ranges(), columns()]


def row(number: int = 1, **changes: Any) -> RowExplanation:
    values: dict[str, Any] = {
        "row": number, "target": "kind", "answer": "dress", "explained": "dress", "value": 0.9, "prior": 0.25,
        "truth": "dress", "cells": cells(),
        "streams": {"review": 0.4, "photo": 0.3, "film": 0.05, "voice": 0.0, "motion": 0.0, "cloud": 0.0, "vector": 0.0,
                    "tabular": -0.1},
        "changes": [
            Change("nearest_row", None, 7, "coat", 0.2, {"review": f"warm {NASTY}", "price": 3.0}),
            Change("absent", "review", None, "skirt", 0.3),
        ],
        "neighbours": [3, 9],
    }  # fmt: skip
    return RowExplanation(**(values | changes))


def summary(target: str = "kind") -> TargetSummary:
    bounds = {"mean": 0.4, "low": 0.3, "high": 0.5}
    return TargetSummary(
        target, 5, {"photo": bounds, "review": {"mean": 0.1, "low": 0.05, "high": 0.15}},
        {"photo × review": {"mean": -0.1, "low": -0.2, "high": -0.05}},
        [{"pair": ["photo", "review"], "redundancy": 0.5, "unique": [0.2, 0.1], "synergy": 0.3, "total": 1.1}],
        "Estimated on 5 rows.",
    )  # fmt: skip


def explanation(rows: list[RowExplanation] | None = None, unit: str = "probability", **changes: Any) -> Explanation:
    shown = [row()] if rows is None else rows
    values: dict[str, Any] = {
        "table": "new.csv", "streams": STREAMS, "units": {"kind": unit}, "summaries": [summary()], "rows": shown,
        "notices": ["Only 1 of 9 rows is explained."], "seconds": 3.2,
    }  # fmt: skip
    return Explanation(**(values | changes))


def source(shown: Explanation | None = None, of: Table | None = None) -> ExplainedTable:
    return ExplainedTable(shown or explanation(), table() if of is None else of, MODALITIES)
