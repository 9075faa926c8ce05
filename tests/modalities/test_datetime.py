"""Dates as people write them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polymodal.modalities import DateTime, DateTimeSettings
from polymodal.modalities.base import CellReadError
from polymodal.modalities.datetime import parse_datetime

MOMENT = datetime(2024, 5, 31, 14, 30)


@pytest.mark.parametrize(
    "cell",
    [
        MOMENT,
        "2024-05-31T14:30:00",
        "2024-05-31 14:30",
        "2024-05-31T14:30:00Z",
        "2024-05-31T16:30:00+02:00",
        "2024/5/31 14:30",
        "31.5.2024 14:30",
        "5/31/2024 14:30",
        MOMENT.replace(tzinfo=timezone(timedelta(0))),
        np.datetime64("2024-05-31T14:30:00"),
        np.datetime64("2024-05-31T14:30:00", "ns"),
        pd.Timestamp("2024-05-31T14:30:00"),
    ],
)
def test_every_form_of_one_moment(cell: Any) -> None:
    assert parse_datetime(cell) == MOMENT


@pytest.mark.parametrize("cell", ["yesterday", "2024-13-01", "31/31/2024", 5, "12", ["2024"], "0000-00-00"])
def test_what_is_no_date_is_broken(cell: Any) -> None:
    with pytest.raises(CellReadError, match="is not a date; expected ISO 8601"):
        parse_datetime(cell)


@pytest.mark.parametrize("cell", [None, "", pd.NaT, np.datetime64("NaT"), pd.NA])
def test_blanks_are_absent_not_broken(cell: Any) -> None:
    column, broken = DateTime.fit(["2024-01-01"], DateTimeSettings(), None).transform([cell], None)
    assert broken == []
    assert not column.present.any()


def test_the_order_of_day_and_month_comes_from_training() -> None:
    american = DateTime.fit(["1/2/2024", "1/30/2024"], DateTimeSettings(), None)
    european = DateTime.fit(["1/2/2024", "30/1/2024"], DateTimeSettings(), None)
    assert (american.order, european.order) == ("MDY", "DMY")
    first = european.transform(["1/2/2024"], None)[0].values
    np.testing.assert_array_equal(first, european.transform(["2024-02-01"], None)[0].values)


def test_the_eight_values() -> None:
    fitted = DateTime.fit([date(2023, 1, 1), date(2023, 1, 3)], DateTimeSettings(), None)
    column, _ = fitted.transform(["2023-01-02T06:00"], None)  # a Monday
    time, year_sin, year_cos, month, week_sin, week_cos, day_sin, day_cos = column.values[0].tolist()
    assert time == pytest.approx(0.25)
    assert (year_sin, year_cos) == pytest.approx((np.sin(2 * np.pi * 1.25 / 365), np.cos(2 * np.pi * 1.25 / 365)))
    assert month == pytest.approx(2 * 1.25 / 31 - 1)
    assert (week_sin, week_cos) == pytest.approx((np.sin(2 * np.pi * 0.25 / 7), np.cos(2 * np.pi * 0.25 / 7)))
    assert (day_sin, day_cos) == pytest.approx((1, 0), abs=1e-6)


def test_extreme_dates_stay_finite() -> None:
    fitted = DateTime.fit([date(1, 1, 1), date(9999, 12, 31)], DateTimeSettings(), None)
    column, broken = fitted.transform([datetime.min, datetime.max, "9999-12-31T23:59:59-05:00"], None)
    assert np.isfinite(column.values).all()
    assert [cell.row for cell in broken] == [3]
