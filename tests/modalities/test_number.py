"""Numbers as people write them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from polymodal.modalities import Number, NumberSettings

PLAIN = Number(mean=0.0, std=1.0, quantiles=[])


def fit(cells: list[Any]) -> Number:
    return Number.fit(cells, NumberSettings(), None)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (3, 3.0),
        ("  -1.5 ", -1.5),
        ("+2e-1", 0.2),
        (True, 1.0),
        ("False", 0.0),
        (Decimal("2.5"), 2.5),
        (np.float32(1.5), 1.5),
        (np.int8(-3), -3.0),
        ("007", 7.0),
    ],
)
def test_numbers_are_read(cell: Any, expected: float) -> None:
    column, broken = PLAIN.transform([cell], None)
    assert broken == []
    assert column.values.tolist() == [pytest.approx(expected)]


@pytest.mark.parametrize(
    "cell", [None, "", " ", "nan", "NaN", "N/A", "null", "None", "?", float("nan"), np.float32("nan")]
)
def test_blanks_are_absent_not_broken(cell: Any) -> None:
    column, broken = PLAIN.transform([cell], None)
    assert broken == []
    assert not column.present.any()


@pytest.mark.parametrize(
    "cell", ["twelve", "1,5", "1_000", "inf", "-Infinity", float("inf"), 10**400, [1], b"\xff", "1e999"]
)
def test_what_is_no_finite_number_is_broken(cell: Any) -> None:
    column, broken = PLAIN.transform([1, cell], None)
    assert column.present.tolist() == [True, False]
    assert broken[0].row == 2
    assert "is not a number" in broken[0].reason or "infinite or too large" in broken[0].reason


def test_values_are_standardised_by_training_alone() -> None:
    fitted = fit([1, 3, None])
    column, _ = fitted.transform([1, 2, 3, 1e9, -1e308], None)
    assert column.values.tolist() == [-1, 0, 1, 10, -10]
    assert column.values.dtype == np.float32


@pytest.mark.parametrize("cells", [[5, 5, 5], [0], [1e308, -1e308, 1e308], [1e-320, 0], [0.1] * 7])
def test_extreme_training_values_give_finite_results(cells: list[float]) -> None:
    fitted = fit(cells)
    column, _ = fitted.transform([*cells, 0, 1e308], None)
    assert np.isfinite(column.values).all()
    assert np.isfinite([fitted.mean, fitted.std]).all()


def test_constant_training_values_become_zero() -> None:
    assert fit([0.1] * 7).transform([0.1], None)[0].values.tolist() == [0.0]


def test_quantiles_rise_and_are_at_most_33() -> None:
    edges = fit(list(np.random.default_rng(0).normal(size=1000))).quantiles
    assert len(edges) == 33
    assert edges == sorted(set(edges))
    assert len(fit([0, 0, 0, 1]).quantiles) == 2
    assert fit([]).quantiles == []


@pytest.mark.parametrize("many", [0.0, -999.0, 0.5])
def test_a_value_of_most_cells_does_not_hide_the_others(many: float) -> None:
    others = np.linspace(1, 10, 40)
    for num_same in (50, 400):
        cells = [*others, *[many] * num_same, 1e6]
        values = fit(cells).transform(others.tolist(), None)[0].values
        assert np.ptp(values) > 1
