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
from polymodal.modalities.datetime import order_of, parse_datetime

FORMS = (
    "%d-%m-%Y", "%d/%m/%y", "%b %d, %Y", "%d %B %Y", "%d-%b-%Y", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %H:%M:%S UTC",
    "%a, %d %b %Y %H:%M:%S +0000", "%Y:%m:%d %H:%M:%S", "%Y-%m", "%Y%m%d", "%H:%M:%S", "%I:%M %p", "%Y年%m月%d日",
    "%B %Y", "%A, %B %d, %Y", "%d.%m.%y %H:%M", "%Y/%m/%d", "%Y-%m-%dT%H:%M:%S.000Z",
    "%d%b%Y", "%m/%Y", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S UTC %Y", "%a, %d %b %Y %I:%M %p", "%y-%m-%d",
    "%y/%m/%d %H:%M", "%Y-%m-%d %H.%M", "%Y. %m. %d.", "%d. %m. %Y %H:%M", "%d %m %Y", "%Y_%m_%d",
    "%d/%b/%Y:%H:%M:%S +0000",
    "%Y-%b-%d", "%d%b%y", "%b-%d-%Y", "%d of %B %Y", "%b-%y", "%Y-%m-%d_%H-%M-%S", "%Y%m%d_%H%M%S", "%Y%m%dT%H%M%SZ",
    "%d.%m.%Y um %H:%M Uhr", "%b %d, %Y at %I:%M %p", "%d-%b-%y %I.%M.%S.000000 %p", "%Y-%m-%d %H:%M:%S,%f",
    "\u200e%m/\u200e%d/\u200e%Y", "%Y\u2010%m\u2010%d", "%Y／%m／%d", "%Y年%m月%d日(土) %H時%M分", "%Y년 %m월 %d일",
    "%Hh%M",
    "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)", "%Y-%m-%d %H:%M:%S GMT", "%H:%M:%SZ",
)  # fmt: skip
MOMENTS = [datetime(2020, 1, 1) + timedelta(hours=97 * step) for step in range(200)]


@pytest.mark.parametrize("form", FORMS)
def test_common_forms_are_dates_and_read_back(form: str) -> None:
    cells = [moment.strftime(form) for moment in MOMENTS]
    modality, _ = detect_modality("v", cells, None)
    assert modality == "datetime"
    assert identifier_reason("v", modality, cells) is None
    order = order_of(cells)
    assert [parse_datetime(cell, order=order).strftime(form) for cell in cells] == cells


@pytest.mark.parametrize(
    "text",
    [
        "5. März 2024", "5 mars 2024", "5 de marzo de 2024", "5 marzo 2024", "5 de março de 2024", "5 maart 2024",
        "5. marts 2024", "5 marca 2024", "5 марта 2024 г.", "5. března 2024", "5 Mart 2024", "5 maaliskuuta 2024",
        "2024. március 5.", "5 Μαρτίου 2024", "5 martie 2024", "5 مارس 2024", "Dienstag, 5. Mär 2024", "٢٠٢٤/٠٣/٠٥",
        "mardi 5 mars 2024", "[5/Mar/2024]", '"2024-03-05"', "2024-03-05T02:00+02:00", "2024-03-04 19:00 EST",
        "2024-03-05 01:00:00 GMT+1", "1709596800000000", "1709596800000000000", "20240305000000",
        "2024年3月5日 上午 12:00",
    ],
)  # fmt: skip
def test_dates_of_other_languages_zones_and_units_are_the_same_day(text: str) -> None:
    assert parse_datetime(text) == datetime(2024, 3, 5)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("created_at", [1.7e9 + 1000 * row for row in range(40)]),
        ("timestamp", [str(1_700_000_000_000 + row) for row in range(40)]),
        ("day", [20220101 + row for row in range(28)]),
        ("created", [1_700_000_000_000_000_000 + row for row in range(40)]),
        ("day", [20220101.0 + row for row in range(28)]),
        ("month", [202201 + row for row in range(12)]),
        ("stamp", [f"202201{row + 1:02}123000" for row in range(28)]),
        ("d", ["0000-00-00" if row % 5 == 0 else f"2020-01-{row + 1:02}" for row in range(28)]),
        ("d", ["never" if row % 5 == 0 else f"2020-01-{row + 1:02}" for row in range(28)]),
        ("d", ["unknown" if row % 5 == 0 else f"2020-01-{row + 1:02}" for row in range(28)]),
    ],
)
def test_numbers_and_columns_with_gaps_are_dates(name: str, cells: list[object]) -> None:
    assert detect_modality(name, cells, None)[0] == "datetime"
    column, broken = DateTime.fit(cells, DateTimeSettings(), None).transform(cells, None)
    assert {cells[cell.row - 1] for cell in broken} <= {"never"}
    assert column.present.tolist() == [cell not in ("unknown", "never", "0000-00-00") for cell in cells]


@pytest.mark.parametrize("cells", [[1.7e9 + row for row in range(40)], [5000 + row for row in range(40)]], ids=str)
def test_other_numbers_are_no_dates(cells: list[float]) -> None:
    assert detect_modality("size", cells, None)[0] == "number"


def test_the_order_of_day_and_month_is_told() -> None:
    assert detect_modality("d", ["31/12/2024", "01/02/2024"], None)[1].endswith("day before month")
    assert detect_modality("d", ["12/31/2024", "01/02/2024"], None)[1].endswith("month before day")
    assert detect_modality("d", ["01/02/2024", "02/03/2024"], None)[1].endswith("which no cell tells")
    assert detect_modality("d", ["21-02-01", "21-02-02", "22-03-03"], None)[1].endswith("year before month before day")


def test_the_order_of_earlier_versions_is_read() -> None:
    assert DateTime.from_state({**_STATE, "day_first": True}).order == "DMY"


_STATE = {"mean": 0.0, "std": 1.0, "quantiles": []}


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
