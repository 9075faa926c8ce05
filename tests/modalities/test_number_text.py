"""Numbers as people write them."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymodal.modalities.base import CellReadError
from polymodal.modalities.number_text import NumberForm, find_number_form


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (["$1,234.50", "$900"], [1234.5, 900], "$"),
        (["1.234,50 €", "12,5 €"], [1234.5, 12.5], "€"),
        (["45.1%", "3 %", "0.5%"], [45.1, 3, 0.5], "%"),
        (["5%", "0.07", "20%"], [5, 7, 20], "%"),
        (["12.3 kg", "500 g", "2 kg"], [12.3, 0.5, 2], "kg"),
        (["(1,234)", "5", "−3", "7-"], [-1234, 5, -3, -7], ""),
        ([">100", "20-30", "~7", "≤ 3"], [100, 25, 7, 3], ""),
        (["1,5", "2,25"], [1.5, 2.25], ""),
        (["1,234", "5,678"], [1234, 5678], ""),
        (["1 234", "5\u00a0678,5"], [1234, 5678.5], ""),
        (["1'234.5"], [1234.5], ""),
        (["$1.5M", "$300k", "$20"], [1.5e6, 3e5, 20], "$"),
        (["3 万", "2"], [30000, 2], ""),
        (["１２３", "4"], [123, 4], ""),
        (["₹1,00,000", "₹5,000"], [100000, 5000], "₹"),
        (["CHF 5", "7.5 CHF"], [5, 7.5], "CHF"),
        (["5 km/h", "7 km/h"], [5, 7], "km/h"),
        (["90 min", "1.5 h", "2 h"], [1.5, 1.5, 2], "h"),
        (["75:10", "1:00:00", "0:30"], [4510, 3600, 30], "s"),
        (["1h 30m", "2 hr 5 mins", "45 s"], [5400, 7500, 45], "s"),
        (["5'11\"", "6 ft 2 in", "5'0\""], [71, 74, 60], '"'),
        (["4.5 out of 5", "3/5", "2 of 5 stars"], [4.5, 3, 2], "/5"),
        (["1st", "22nd", "3rd"], [1, 22, 3], ""),
        (["$53 - $58", "60"], [55.5, 60], "$"),
        (["$5/kg", "7 $/kg"], [5, 7], "$ /kg"),
        (["53 m²", "20m2"], [53, 20], "m2"),
        (["1.5 Lakh", "2 Crore"], [150_000, 20_000_000], ""),
        (["٥٢٫٥", "1"], [52.5, 1], ""),
        (["$ (1,234.00)", "$ 5.50", "$ -5"], [-1234, 5.5, -5], "$"),
        (["NZ$ 5", "NZ$1,000"], [5, 1000], "NZ$"),
        (["kr 5,50", "7,25 kr"], [5.5, 7.25], "kr"),
        (["ZAR 5", "6 ZAR"], [5, 6], "ZAR"),
        (["7 USD $", "USD $8"], [7, 8], "USD$"),
        (["5 Mio. €", "3 Mrd. €", "7 €"], [5e6, 3e9, 7], "€"),
        (["$5m", "$7"], [5e6, 7], "$"),
        (["5B", "7"], [5e9, 7], ""),
        (["1.5 тыс.", "2"], [1500, 2], ""),
        (["840.83 CR", "4779.84"], [-840.83, 4779.84], ""),
        (["–5", "—6", "7", "\u200e-8", "\ufeff9"], [-5, -6, 7, -8, 9], ""),
        (["8443.53¹", "5*", "7[2]", "8 ± 0.5"], [8443.53, 5, 7, 8], ""),
        (["8½", "5 1/4", "½"], [8.5, 5.25, 0.5], ""),
        (["1.2 × 10³", "3x10^-2"], [1200, 0.03], ""),
        (["5,-", "1.200,50", "7,50"], [5, 1200.5, 7.5], ""),
        (['="7"', '"8"', "'9"], [7, 8, 9], ""),
        (["3..5", "between 5 and 7", "about 9", "more than 8", "5 or more"], [4, 6, 9, 8, 5], ""),
        (["8/10", "18/20", "5/10"], [8, 9, 5], "/10"),
        (["9.8 m/s^2", "5 m/s^2"], [9.8, 5], "m/s^2"),
        (["8 l/100km", "9 l/100 km"], [8, 9], "l/100km"),
        (["1 days 05:10:00", "0 days 00:00:30.5", "PT1H30M", "P1DT2H"], [105000, 30.5, 5400, 93600], "s"),
    ],
    ids=str,
)
def test_written_numbers_are_read(cells: list[str], values: list[float], unit: str) -> None:
    form = find_number_form(cells)
    assert form is not None
    assert [form.read(cell) for cell in cells] == pytest.approx(values)
    assert form.unit == unit
    assert NumberForm(**form.state()) == form


@pytest.mark.parametrize("cells", [["5 EUR", "3 USD"], ["12 monkeys", "3 men", "101 dogs"], ["a", "b"]], ids=str)
def test_words_and_units_that_cannot_be_converted_are_no_numbers(cells: list[str]) -> None:
    assert find_number_form(cells) is None


@pytest.mark.parametrize("cell", ["5 lb", "twelve", "1.2.3", "12:30", "10-5", "$5", ""])
def test_another_unit_or_form_is_broken(cell: str) -> None:
    with pytest.raises(CellReadError, match=r"is not a number|has another unit; expected numbers in km/h"):
        NumberForm(unit="km/h", factors={"km/h": 1.0, "": 1.0}).read(cell)


@given(st.floats(-1e12, 1e12).map(lambda value: round(value, 3)))
def test_every_style_of_a_number_reads_the_same(value: float) -> None:
    english = f"{value:,.3f}"
    german = english.translate(str.maketrans(",.", ".,"))
    for text, decimal in ((english, "."), (german, ","), (english.replace(",", " "), "."), (f"({abs(value)})", ".")):
        expected = -abs(value) if text.startswith("(") else value
        assert math.isclose(NumberForm(decimal=decimal).read(text), expected, abs_tol=1e-9)  # type: ignore[arg-type]


@given(st.text(max_size=80))
def test_any_text_is_a_finite_number_or_broken(text: str) -> None:
    form = find_number_form([text]) or NumberForm()
    with suppress(CellReadError):
        assert math.isfinite(form.read(text))
