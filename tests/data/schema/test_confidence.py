"""How sure `inspect` is of each column, its second guess, and the option that overrules it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.arrays import Cell
from polymodal.cli.options import parse_pairs
from polymodal.data.inspection import inspect_table
from polymodal.data.tables.table import Table

ROWS = 60


def inspected(cells: Sequence[Cell], name: str = "x", **options: Any) -> dict[str, Any]:
    table = Table({name: list(cells), "other": [row % 2 + 0.5 for row in range(len(cells))]})
    return next(entry for entry in inspect_table(table, **options)["columns"] if entry["name"] == name)


@pytest.mark.parametrize(
    ("cells", "certainty", "second"),
    [
        ([row * 0.37 for row in range(ROWS)], "sure", "category"),
        ([f"${row * 0.37:.2f}" for row in range(ROWS)], "sure", "category"),
        ([row % 5 for row in range(ROWS)], "guess", "category"),
        (["red", "green"] * 30, "sure", "text"),
        ([f"the quick brown fox jumps over {row} lazy dogs" for row in range(ROWS)], "sure", "category"),
        ([f"2024-05-{1 + row % 28:02d}" for row in range(ROWS)], "sure", "category"),
        ([dt.date(2024, 5, 1 + row % 28) for row in range(ROWS)], "sure", "category"),
        ([f"{row}.png" for row in range(ROWS)], "sure", None),
        ([True, False] * 30, "sure", "text"),
        ([0.5, 1.25, 2.5], "likely", "category"),
    ],
)
def test_the_certainty_comes_from_the_cells(cells: list[Cell], certainty: str, second: str | None) -> None:
    found = inspected(cells)
    assert (found["certainty"], found["second_guess"]) == (certainty, second)


@settings(max_examples=30, deadline=None)
@given(num_words=st.integers(0, 10), seed=st.integers(0, 99))
def test_cells_that_do_not_fit_make_it_less_sure(num_words: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=100)
    cells = [f"{value:.6f}" for value in values]
    clean = inspected(cells)["confidence"]
    mixed = inspected([*cells[num_words:], *["see above"] * num_words])
    assert 0 <= mixed["confidence"] <= clean <= 1
    assert mixed["modality"] == "number"


def test_the_option_that_is_shown_overrules() -> None:
    cells = [row % 5 for row in range(ROWS)]
    found = inspected(cells, "my rating")
    option, value = found["overrule"].split(" ", 1)
    assert (option, value) == ("--modality", "'my rating=category'")
    overruled = inspected(cells, "my rating", modality=parse_pairs("--modality", [value.strip("'")], last=True))
    assert (overruled["modality"], overruled["certainty"]) == ("category", "sure")
    assert overruled["second_guess"] == "number"


def test_a_column_that_is_left_out_can_be_taken_in() -> None:
    found = inspected([f"0{row + 1000}" for row in range(ROWS)], "code")
    assert (found["role"], found["overrule"]) == ("ignored", "--modality code=category")
    assert inspected([f"0{row + 1000}" for row in range(ROWS)], "code", drop=["code"])["overrule"] is None


@pytest.mark.parametrize("name", ["signal", "x"])
def test_the_name_of_a_series_counts(name: str) -> None:
    rng = np.random.default_rng(0)
    found = inspected([rng.normal(size=(32, 3)).cumsum(0) for _ in range(20)], name)
    assert (found["modality"], found["certainty"]) == ("series", "sure" if name == "signal" else found["certainty"])
    assert found["confidence"] >= 0.5


def test_lists_that_are_smooth_may_be_series() -> None:
    steps, rng = np.linspace(0, 6, 64), np.random.default_rng(0)
    smooth = inspected([np.sin(steps + rng.uniform(0, 6)).tolist() for _ in range(20)])
    noisy = inspected([rng.normal(size=64).tolist() for _ in range(20)])
    assert smooth["modality"] == noisy["modality"] == "vector"
    assert (smooth["certainty"], smooth["second_guess"]) == ("guess", "series")
    assert noisy["confidence"] > smooth["confidence"]
