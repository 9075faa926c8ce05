"""Dates and times as people and cameras write them, brought to ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from polymodal.modalities.base import single_blanks

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
CLOCK = r"(?:(?:\s*,?\s+|T)(?P<clock>\d{1,2}:\d{2}.*|\d{1,2}\s?[AaPp]\.?[Mm]\.?))?"
SEPARATOR = r"(?P<separator>[-/.])"
WEEKDAY = r"(?:[A-Za-z]{3,9},?\s+)?"
FORMS = tuple(
    re.compile(form + CLOCK)
    for form in (
        r"(?P<year>\d{4})(?P<separator>[-/.:])(?P<month>\d{1,2})(?P=separator)(?P<day>\d{1,2})",
        r"(?P<year>\d{4})年(?P<month>\d{1,2})月(?:(?P<day>\d{1,2})[日号])?",
        r"(?P<year>\d{4})[-/](?P<month>\d{1,2})",
        r"(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})",
        WEEKDAY + r"(?P<day>\d{1,2})(?:st|nd|rd|th)?[-\s.]+" + NAME + r"[-\s.,]+(?P<year>\d{4}|\d{2})",
        WEEKDAY + NAME + r"\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<year>\d{4})",
        NAME + r"[-\s]+(?P<year>\d{4})",
        r"(?P<day>\d{1,2})" + NAME + r"(?P<year>\d{4})",
        r"(?P<month>\d{1,2})[/-](?P<year>\d{4})",
        r"Q(?P<quarter>[1-4])[-\s/]?(?P<year>\d{4})",
        r"(?P<year>\d{4})[-\s]?Q(?P<quarter>[1-4])",
    )
)
LAST = rf"(?P<first>\d{{1,2}}){SEPARATOR}(?P<second>\d{{1,2}})(?P=separator)(?P<year>\d{{4}}|\d{{2}})"
YEAR_LAST = re.compile(LAST + CLOCK)
TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[AaPp]\.?[Mm]\.?)?")
HALF_DAY = re.compile(r"(?P<hour>\d{1,2})(?P<rest>(?::\d{2}){0,2}(?:\.\d+)?)\s?(?P<half>[AaPp])\.?[Mm]\.?(?P<zone>.*)")
ZONE = re.compile(r"\s*(?:UTC|GMT|Z)$")
OFFSET = re.compile(r"\s*([-+]\d{2}):?(\d{2})$")
CENTURY = 69
"""Two digits from here on are a year of the twentieth century, as in POSIX."""
RFC_2822 = re.compile(r"[A-Za-z]{3},\s\d{1,2}\s[A-Za-z]{3}\s\d{4}\s[\d:]+\s\S+")
CTIME = re.compile(rf"[A-Za-z]{{3}}\s+{NAME}\s+(?P<day>\d{{1,2}})\s+(?P<clock>[\d:]+)\s+(?P<year>\d{{4}})")
"""As C's ``ctime`` and many logs write it: ``Fri Jan  5 10:00:00 2024``."""
EPOCH_DAY = "1970-01-01"
EPOCH = datetime(1970, 1, 1)
EPOCH_SECONDS, EPOCH_MILLISECONDS = (3e8, 4.2e9), (3e11, 4.2e12)
"""Numbers in these ranges are seconds and milliseconds since 1970: from the years 1979 to 2103."""


def read_date(text: str, *, day_first: bool) -> datetime:
    """Read a date, a time of day, or both.

    Args:
        text: ISO 8601, ``31.5.2024``, ``5/31/24 2:30 PM``, ``31-May-2024``, ``May 31, 2024``, ``2024:05:31 14:30:00``
            (EXIF), ``Fri, 31 May 2024 14:30:00 +0000`` (RFC 2822), ``2024-05``, ``20240531``, ``2024年5月31日``,
            ``14:30`` (of the first of January 1970), ``2024-05-31 14:30 UTC``, or a number of ``read_date_number``.
        day_first: Whether ``1/2/2024`` is the first of February.

    Returns:
        The moment, with a time zone where the text has one.

    Raises:
        ValueError: If it is no date.
    """
    text = single_blanks(text)
    if RFC_2822.fullmatch(text):
        return parsedate_to_datetime(text)
    if match := CTIME.fullmatch(text):
        return _moment(match["year"], _month(match["name"]), match["day"], match["clock"])
    if TIME_OF_DAY.fullmatch(text):
        return datetime.fromisoformat(f"{EPOCH_DAY}T{_clock(text)}")
    if match := YEAR_LAST.fullmatch(text):
        first, second = match["first"], match["second"]
        is_day_first = day_first or match["separator"] == "."
        return _moment(match["year"], *((second, first) if is_day_first else (first, second)), match["clock"])
    for form in FORMS:
        if match := form.fullmatch(text):
            found = match.groupdict()
            month = _month(found["name"]) if "name" in found else found.get("month") or _first_month(found["quarter"])
            return _moment(found["year"], month, found.get("day") or "1", found["clock"])
    return read_date_number(float(text)) if text.replace(".", "", 1).isdigit() else datetime.fromisoformat(text)


def read_date_number(number: float) -> datetime:
    """Read a date written as a number.

    Args:
        number: Seconds or milliseconds since 1970, or a whole number such as 20240531.

    Returns:
        The moment.

    Raises:
        ValueError: If it is none.
    """
    if EPOCH_SECONDS[0] <= number <= EPOCH_SECONDS[1]:
        return EPOCH + timedelta(seconds=float(number))
    if EPOCH_MILLISECONDS[0] <= number <= EPOCH_MILLISECONDS[1]:
        return EPOCH + timedelta(milliseconds=float(number))
    if float(number).is_integer() and 1900_01_01 <= number <= 2100_12_31:
        return read_date(str(int(number)), day_first=False)
    raise ValueError(f"{number} is no date")


def tells_order(text: str) -> bool | None:
    """Tell by a date such as ``31/5/2024`` whether days are written before months.

    Args:
        text: A cell.

    Returns:
        True or False; None where it does not tell, or is written in a form that needs no order.
    """
    match = YEAR_LAST.fullmatch(single_blanks(text))
    if match is None or match["separator"] == ".":
        return None
    first, second = int(match["first"]), int(match["second"])
    return None if (first > 12) == (second > 12) else first > 12


def has_order(text: str) -> bool:
    """Tell whether a date is written in a form in which day and month could be exchanged."""
    match = YEAR_LAST.fullmatch(single_blanks(text))
    return match is not None and match["separator"] != "."


def _moment(year: str, month: str, day: str, clock: str | None) -> datetime:
    if len(year) == 2:
        year = f"{19 if int(year) >= CENTURY else 20}{year}"
    time = f"T{_clock(clock)}" if clock else ""
    return datetime.fromisoformat(f"{year}-{int(month):02d}-{int(day):02d}{time}")


def _first_month(quarter: str) -> str:
    return str(3 * int(quarter) - 2)


def _month(name: str) -> str:
    number = MONTHS.index(name[:3].lower()) + 1 if name[:3].lower() in MONTHS else 0
    if not number:
        raise ValueError(f"{name} is no month")
    return str(number)


def _clock(text: str) -> str:
    """Bring a time of day to ISO 8601."""
    text = OFFSET.sub(r"\1:\2", ZONE.sub("+00:00", text.strip()))
    if match := HALF_DAY.fullmatch(text):
        hour = int(match["hour"])
        if not 1 <= hour <= 12:
            raise ValueError(f"{text} is no time of day")
        hour = hour % 12 + 12 * (match["half"] in "Pp")
        return f"{hour:02d}{match['rest'] or ':00'}{match['zone']}"
    hour_text, _, rest = text.partition(":")
    return f"{int(hour_text):02d}:{rest}"
