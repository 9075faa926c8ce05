"""Dates and times, encoded as time and as position in the year, month, week and day."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from polymodal.arrays import BrokenCell, Cell, Column
from polymodal.modalities.base import (
    MAX_ABS_VALUE,
    CellReadError,
    Modality,
    Settings,
    fit_mean_std,
    quantile_edges,
    quote,
    read_cells,
    standardise,
)
from polymodal.modalities.date_text import (
    EPOCH,
    DateOrder,
    find_order,
    has_order,
    is_zero_date,
    read_date,
    read_date_number,
)
from polymodal.modalities.number_words import MISSING_WORDS

DAY_S = 86_400.0
COMPONENTS = ("time", "year_sin", "year_cos", "month", "week_sin", "week_cos", "day_sin", "day_cos")
"""What the eight values stand for."""
FIRST_DAY, LAST_DAY = (
    (moment - EPOCH).total_seconds() / DAY_S for moment in (datetime(1, 1, 1), datetime(9999, 12, 31))
)
SHORT_SPREAD_DAYS = 2.0
"""A moment of a column of a smaller standard deviation is written with its minute."""
EVEN_EDGES = [-1.0, -0.5, 0.0, 0.5, 1.0]


class DateTimeSettings(Settings):
    """Dates have no options."""


def parse_datetime(cell: Cell, *, order: DateOrder = "MDY") -> datetime:
    """Parse a cell as a datetime.

    Args:
        cell: A date, datetime, time of day, numpy or pandas timestamp, text as of ``date_text.read_date``, or a number
            as of ``date_text.read_date_number``.
        order: In which order day, month and year of ``1/2/24`` stand.

    Returns:
        The moment without a time zone; one with a zone is brought to UTC.

    Raises:
        CellReadError: If the cell is no date.
    """
    moment = cell.astype("datetime64[us]").item() if isinstance(cell, np.datetime64) else cell
    try:
        if isinstance(cell, str):
            moment = read_date(cell, order=order)
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            moment = read_date_number(cell)
        if isinstance(cell, time):
            moment = datetime.combine(EPOCH, cell)
        if isinstance(moment, datetime):
            return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
        if isinstance(moment, date):
            return datetime(moment.year, moment.month, moment.day)
    except (ValueError, OverflowError):  # no date, or a time zone that leads out of the years 1 to 9999
        pass
    raise CellReadError(f"{quote(cell)} is not a date; expected ISO 8601 such as 2024-05-31 or 2024-05-31T14:30")


@dataclass(frozen=True, kw_only=True)
class DateTime(Modality):
    """Datetimes as eight values.

    ``time``: days since 1970, standardised and limited to -10..10. ``year_*``, ``week_*``,
    ``day_*``: sine and cosine of the place in the year, in the week from Monday on, and in the day.
    ``month``: the place in the month, -1 at its start and 1 at its end. A date without a time is
    midnight.

    Attributes:
        mean: Mean of the training cells, in days since 1970.
        std: Their standard deviation in days; 1 where they are all equal.
        quantiles: Edges of ``time`` in standardised units, as in ``Number``.
        order: In which order day, month and year of ``1/2/24`` stand, as of ``date_text.find_order``.
    """

    mean: float
    std: float
    quantiles: list[float]
    order: DateOrder

    name: ClassVar[str] = "datetime"
    summary: ClassVar[str] = "dates and times: place in time, year, month, week and day"
    paper: ClassVar[str] = "cyclic encoding by sine and cosine; ISO 8601"
    is_stream: ClassVar[bool] = False
    Settings: ClassVar[type[BaseModel]] = DateTimeSettings

    @classmethod
    def fit(
        cls,
        cells: Sequence[Cell],
        settings: DateTimeSettings,  # noqa: ARG003  (all modalities are called alike)
        folder: Path | None,  # noqa: ARG003
        *,
        num_threads: int | None = None,  # noqa: ARG003
    ) -> DateTime:
        """Fit mean and standard deviation, and detect the order of day and month.

        Args:
            cells: Training cells.
            settings: No options.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            The fitted modality.
        """
        order = order_of(cells)
        moments, _ = read_cells(cells, partial(_read, order=order))
        days = np.array([_days(moment) for moment in moments if moment is not None], np.float64)
        mean, std = fit_mean_std(days)
        quantiles = quantile_edges(standardise(days, mean, std))
        return cls(mean=float(mean), std=float(std), quantiles=quantiles, order=order)

    def transform(
        self,
        cells: Sequence[Cell],
        folder: Path | None,  # noqa: ARG002
        *,
        num_threads: int | None = None,  # noqa: ARG002
    ) -> tuple[Column, list[BrokenCell]]:
        """Transform datetimes.

        Args:
            cells: Dates, datetimes or text.
            folder: Not needed.
            num_threads: Not needed.

        Returns:
            float32 ``[rows, 8]`` in the order of ``COMPONENTS``; and the broken cells.
        """
        moments, broken = read_cells(cells, partial(_read, order=self.order))
        values = np.zeros((len(cells), len(COMPONENTS)), np.float32)
        for row, moment in enumerate(moments):
            if moment is not None:
                values[row] = _components(moment)
        days = np.array([self.mean if moment is None else _days(moment) for moment in moments], np.float64)
        values[:, 0] = standardise(days, self.mean, self.std)
        return Column(values, np.array([moment is not None for moment in moments], bool)), broken

    def days_of(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo the standardisation of ``time``.

        Args:
            times: Standardised ``[...]``.

        Returns:
            Days since 1970, float64 of the same shape, within the years 1 to 9999.
        """
        own = np.clip(times, -MAX_ABS_VALUE, MAX_ABS_VALUE) * self.std + self.mean
        return np.asarray(np.clip(own, FIRST_DAY, LAST_DAY), np.float64)

    def spell(self, days: float) -> str:
        """Write a moment as ISO 8601: a date, or with the minute where the training cells lie within some days.

        Args:
            days: Days since 1970.

        Returns:
            Such as ``2024-05-31``.
        """
        moment = EPOCH + timedelta(days=days)
        return moment.isoformat(timespec="minutes") if self.std < SHORT_SPREAD_DAYS else moment.date().isoformat()

    def state(self) -> dict[str, Any]:
        """Return the fitted state, in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> DateTime:
        """Restore the modality from its state.

        Args:
            state: What ``state`` returned; of earlier versions with ``day_first``.

        Returns:
            The same modality.
        """
        state = dict(state)
        if "day_first" in state:
            state["order"] = "DMY" if state.pop("day_first") else "MDY"
        return cls(**state)


def _read(cell: Cell, *, order: DateOrder) -> datetime | None:
    """Parse a cell; None for text that stands for an absent date."""
    if isinstance(cell, str) and (cell.strip().lower() in MISSING_WORDS or is_zero_date(cell)):
        return None
    return parse_datetime(cell, order=order)


def order_of(cells: Iterable[Cell]) -> DateOrder:
    """Decide in which order day, month and year of ``1/2/24`` stand.

    Args:
        cells: Cells of a column.

    Returns:
        What ``find_order`` finds in its texts; the month first where none tells.
    """
    return find_order(cell for cell in cells if isinstance(cell, str)) or "MDY"


def order_note(cells: Iterable[str]) -> str:
    """Say in which order day, month and year were read.

    Args:
        cells: Texts of dates.

    Returns:
        One clause; empty where they are written in a form that needs no order.
    """
    cells = list(cells)
    order = find_order(cells)
    if order == "YMD":
        return "year before month before day"
    if not any(map(has_order, cells)):
        return ""
    return {"DMY": "day before month", "MDY": "month before day"}.get(
        order or "", "month before day, which no cell tells"
    )


def _days(moment: datetime) -> float:
    return (moment - EPOCH).total_seconds() / DAY_S


def _components(moment: datetime) -> list[float]:
    """Return the eight values with 0 for the first."""
    day = (moment - datetime(moment.year, moment.month, moment.day)).total_seconds() / DAY_S
    year_days = 366 if calendar.isleap(moment.year) else 365
    month_days = calendar.monthrange(moment.year, moment.month)[1]
    phases = np.array(
        [
            (moment.timetuple().tm_yday - 1 + day) / year_days,
            (moment.weekday() + day) / 7,
            day,
        ]
    )
    sines, cosines = np.sin(2 * np.pi * phases), np.cos(2 * np.pi * phases)
    month = 2 * (moment.day - 1 + day) / month_days - 1
    return [0.0, sines[0], cosines[0], month, sines[1], cosines[1], sines[2], cosines[2]]
