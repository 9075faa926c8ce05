"""Dates in the forms of people, mail and cameras."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymodal.data.schema.detect_modality import detect_modality, identifier_reason
from polymodal.modalities import DateTime, DateTimeSettings
from polymodal.modalities.base import CellReadError
from polymodal.modalities.datetime import is_day_first, parse_datetime

FORMS = (
    "%d-%m-%Y", "%d/%m/%y", "%b %d, %Y", "%d %B %Y", "%d-%b-%Y", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %H:%M:%S UTC",
    "%a, %d %b %Y %H:%M:%S +0000", "%Y:%m:%d %H:%M:%S", "%Y-%m", "%Y%m%d", "%H:%M:%S", "%I:%M %p", "%Y年%m月%d日",
    "%B %Y", "%A, %B %d, %Y", "%d.%m.%y %H:%M", "%Y/%m/%d", "%Y-%m-%dT%H:%M:%S.000Z",
    "%d%b%Y", "%m/%Y", "%a %b %d %H:%M:%S %Y",
)  # fmt: skip
MOMENTS = [datetime(2020, 1, 1) + timedelta(hours=97 * step) for step in range(200)]


@pytest.mark.parametrize("form", FORMS)
def test_common_forms_are_dates_and_read_back(form: str) -> None:
    cells = [moment.strftime(form) for moment in MOMENTS]
    modality, _ = detect_modality("v", cells, None)
    assert modality == "datetime"
    assert identifier_reason("v", modality, cells) is None
    first = is_day_first(cells)
    assert [parse_datetime(cell, day_first=first).strftime(form) for cell in cells] == cells


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("created_at", [1.7e9 + 1000 * row for row in range(40)]),
        ("timestamp", [str(1_700_000_000_000 + row) for row in range(40)]),
        ("day", [20220101 + row for row in range(28)]),
        ("d", ["unknown" if row % 5 == 0 else f"2020-01-{row + 1:02}" for row in range(28)]),
    ],
)
def test_numbers_and_columns_with_gaps_are_dates(name: str, cells: list[object]) -> None:
    assert detect_modality(name, cells, None)[0] == "datetime"
    column, broken = DateTime.fit(cells, DateTimeSettings(), None).transform(cells, None)
    assert broken == []
    assert column.present.tolist() == [cell != "unknown" for cell in cells]


@pytest.mark.parametrize("cells", [[1.7e9 + row for row in range(40)], [5000 + row for row in range(40)]], ids=str)
def test_other_numbers_are_no_dates(cells: list[float]) -> None:
    assert detect_modality("size", cells, None)[0] == "number"


def test_the_order_of_day_and_month_is_told() -> None:
    assert detect_modality("d", ["31/12/2024", "01/02/2024"], None)[1].endswith("day before month")
    assert detect_modality("d", ["12/31/2024", "01/02/2024"], None)[1].endswith("month before day")
    assert detect_modality("d", ["01/02/2024", "02/03/2024"], None)[1].endswith("which no cell tells")


@given(st.text(max_size=60) | st.from_regex(r"\d{1,4}[-/.: ]\d{1,2}[-/.: ]\d{1,4}( \d{1,2}:\d{2})?", fullmatch=True))
def test_any_text_is_a_date_or_broken(text: str) -> None:
    with suppress(CellReadError):
        assert isinstance(parse_datetime(text), datetime)


@pytest.mark.parametrize(
    "text", ["2024-01-01" + " " * 50_000 + "x", "Jan" + " " * 50_000 + "5", "1/2/24" + " " * 50_000 + "@"]
)
def test_long_runs_of_blanks_end_in_one_sentence(text: str) -> None:
    with pytest.raises(CellReadError):
        parse_datetime(text)
