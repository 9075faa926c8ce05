"""Dates and times as people, programs and cameras write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, timezone
from itertools import product
from typing import Literal

from polymodal.modalities.base import single_blanks
from polymodal.modalities.month_names import month_of
from polymodal.modalities.plain_text import plain_signs

DateOrder = Literal["MDY", "DMY", "YMD"]
"""In which order month, day and year stand in a date such as ``1/2/24``."""
ORDERS: tuple[DateOrder, ...] = ("MDY", "DMY", "YMD")
LONGEST_DATE = 80
MOST_BLANKS = 9
"""No date has more characters or words than those of JavaScript, with the name of their zone."""
ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[-+]\d{2}:?\d{2})?)?")
MARK = r"(?P<mark>\s?[-/._]\s?|\s)"
YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})(?:{MARK}|(?P<colon>:))(?P<month>\d{{1,2}})(?(colon):|(?P=mark))(?P<day>\d{{1,2}})\.?"
)
IN_ORDER = re.compile(rf"(?P<first>\d{{1,2}}){MARK}(?P<second>\d{{1,2}})(?P=mark)(?P<third>\d{{4}}|\d{{2}})\.?")
ORDERED = re.compile(rf"{IN_ORDER.pattern}(?![\d/-])")
YEAR_MONTH = re.compile(r"(?P<year>\d{4})[-/M]M?(?P<month>\d{1,2})-?|(?P<month2>\d{1,2})[-/](?P<year2>\d{4})")
COMPACT = re.compile(r"(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})")
QUARTER = re.compile(
    r"(?P<year>\d{4})[-\s]?[QT](?P<quarter>[1-4])|(?:[QT](?P<q2>[1-4])|(?P<q3>[1-4])Q)[-\s/]?(?P<y2>\d{4})"
)
NAME, DAY, BETWEEN = r"(?P<name>[^\W\d_]{3,13})", r"(?P<day>\d{1,2})(?:st|nd|rd|th|er)?", r"[-\s./,_]*"
NAMED = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{DAY}{BETWEEN}{NAME}{BETWEEN}(?P<year>\d{{4}}|\d{{2}})",
        rf"{NAME}{BETWEEN}{DAY}(?:[-./,_\s]+)(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}}){BETWEEN}{NAME}{BETWEEN}{DAY}",
        rf"{NAME}{BETWEEN}(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}}){BETWEEN}{NAME}",
        rf"{NAME}\.?[-'](?P<year>\d{{2}})",
    )
)
WEEKDAY = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?|[^\W\d_]{2,13}\.?,)\s+(?=\D*\d+\D+\d)", re.IGNORECASE
)
LEADING_WORD = re.compile(r"[^\W\d_]{2,13}\s+(?=\d|[^\W\d_]{3,})")
FILLERS = re.compile(
    r"(?<![^\W\d_])(?:of|de|del|di|the|den|года|году|г|року|р)(?![^\W\d_])\.?",  # noqa: RUF001  (Cyrillic)
    re.IGNORECASE,
)
CJK_MARKS = str.maketrans(dict.fromkeys("年月년월", "-") | dict.fromkeys("日号일", " "))
CJK_CLOCK = str.maketrans(
    {"時": ":", "时": ":", "点": ":", "點": ":", "시": ":", "分": ":", "분": ":", "秒": "", "초": ""}
)
CJK_WEEKDAY = re.compile(
    r"(?<=[日号일])\s*\(?(?:(?:星期|周|週)[一二三四五六日天]|[月火水木金土日](?:曜日)?|[월화수목금토일](?:요일)?)\)?(?=\s|$)"
)
CJK_HALF = re.compile(r"(?P<half>上午|午前|오전|下午|午後|오후)\s*(?P<clock>\d{1,2}:\d{2}(?::\d{2})?)")
MORNINGS = ("上午", "午前", "오전")
SPLIT = re.compile(r"\s?(?:[\s_:,@-]|T(?=\d))(?:\s?(?:at|um|kl\.?|[-@])(?=\s))?\s?")
CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:(?P<mark>[-:.h])(?P<minute>\d{2})(?:(?P=mark)(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?P<end>:|\s?uhr|h)?\s?(?:(?P<half>[ap])\.?\s?m\.?)?\s?(?P<zone>(?:[a-z]{1,4}\s?)?(?:[-+]\d{1,2}(?::?\d{2})?)?)"
    r"(?:\s?[(\[][^)\]]*[)\]])?",
    re.IGNORECASE,
)
COMPACT_CLOCK = re.compile(r"(\d{2})(\d{2})(\d{2})?(?:Z|\+00:?00)?")
YEAR_AT_END = re.compile(
    r"(?P<date>\D.*\D\d{1,2})\s(?P<clock>\d{1,2}:\d{2}\S*)(?P<zone>\s[A-Z]{1,4}|\s[-+]\d{4})?\s(?P<year>\d{4})"
)
"""As C's ``ctime``, ``date`` and many logs write it: ``Fri Jan  5 10:00:00 UTC 2024``."""
ZONE = re.compile(r"(?P<name>[a-z]{1,4})?\s?(?:(?P<sign>[-+])(?P<hours>\d{1,2}):?(?P<minutes>\d{2})?)?", re.IGNORECASE)
ZONE_HOURS = {"z": 0, "ut": 0, "utc": 0, "gmt": 0, "wet": 0, "bst": 1, "west": 1, "cet": 1, "cest": 2, "eet": 2}
ZONE_HOURS |= {"eest": 3, "msk": 3, "jst": 9, "kst": 9, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7}
ZONE_HOURS |= {"mdt": -6, "pst": -8, "pdt": -7}
"""Names of zones that stand for one offset (RFC 2822, section 4.3, and those of Europe, Japan and Korea)."""
QUOTED = re.compile(r"[\"'\[](.*)[\"'\]]")
ONE_DIGIT = re.compile(r":(?=\d(?:[:\s]|$))")
CENTURY = 69
"""Two digits from here on are a year of the twentieth century, as in POSIX."""
EPOCH = datetime(1970, 1, 1)
EPOCH_RANGE = (3e8, 4.2e9)
"""Numbers in this range are seconds since 1970: from the years 1979 to 2103."""
EPOCH_TICKS = (1, 10**3, 10**6, 10**9)
"""Numbers may count seconds, milliseconds, microseconds or nanoseconds: the ranges are far apart."""
ZERO_DATE = re.compile(r"(?:00(?:00)?([-/.])00\1(?:00)?00|(?:1900|0)[-/]0?1?[-/]0?0)(?:[T ][0:.]+)?")
CALENDAR_DIGITS = {6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Number of digits to the form of a date written as a whole number."""


def read_date(text: str, *, order: DateOrder) -> datetime:
    """Read a date, a time of day, or both.

    Args:
        text: ISO 8601, ``31.5.2024``, ``5/31/24 2:30 PM``, ``31-May-2024``, ``31 mai 2024``, ``2024:05:31 14:30:00``
            (EXIF), ``Fri, 31 May 2024 14:30:00 +0000`` (RFC 2822), ``31/May/2024:14:30:00 +0000`` (Apache),
            ``2024-05``, ``20240531``, ``2024年5月31日``, ``Q2 2024``, ``14:30`` (of the first of January 1970),
            ``2024-05-31 14:30 UTC``, or a number of ``read_date_number``.
        order: In which order the parts of ``1/2/24`` stand; ``31.5.2024`` has the day first in any case.

    Returns:
        The moment, with a time zone where the text has one.

    Raises:
        ValueError: If it is no date.
    """
    text = _plain(text)
    if ISO.fullmatch(text):
        return datetime.fromisoformat(text)
    if text.replace(".", "", 1).isdigit():
        return read_date_number(float(text))
    if match := YEAR_AT_END.fullmatch(text):
        text = f"{match['date']} {match['year']} {match['clock']}{match['zone'] or ''}"
    try:
        return _read_day(text, order)
    except ValueError:
        return _read_parts(text, order)


def _read_parts(text: str, order: DateOrder) -> datetime:
    """Read a time of day, or a date before one: the first place at which both halves can be read decides."""
    if ":" in text or text[-1:] in "mM.hHrR" or "h" in text:
        try:
            return datetime.combine(EPOCH, _read_clock(text))
        except ValueError:
            pass
    for place in SPLIT.finditer(text):
        if not text[place.end() : place.end() + 1].isdigit():
            continue
        try:
            clock = _read_clock(text[place.end() :], has_date=True)
            return datetime.combine(_read_day(text[: place.start()], order), clock)
        except ValueError:
            continue
    return datetime.fromisoformat(text)  # weeks of ISO 8601


def read_date_number(number: float) -> datetime:
    """Read a date written as a number.

    Args:
        number: Seconds, milliseconds, microseconds or nanoseconds since 1970; or a whole number such as 20240531,
            202405311430 and 20240531143000.

    Returns:
        The moment.

    Raises:
        ValueError: If it is none.
    """
    for ticks in EPOCH_TICKS:
        if EPOCH_RANGE[0] * ticks <= number <= EPOCH_RANGE[1] * ticks:
            return EPOCH + timedelta(seconds=number // ticks, microseconds=number % ticks * 10**6 // ticks)
    digits = str(int(number)) if float(number).is_integer() else ""
    if digits[:2] in ("19", "20", "21") and len(digits) in CALENDAR_DIGITS:
        return datetime.strptime(digits, CALENDAR_DIGITS[len(digits)])
    raise ValueError(f"{number} is no date")


def is_epoch(number: float) -> bool:
    """Tell whether a number may count seconds, milliseconds, microseconds or nanoseconds since 1970."""
    return any(EPOCH_RANGE[0] * ticks <= number <= EPOCH_RANGE[1] * ticks for ticks in EPOCH_TICKS)


def is_zero_date(text: str) -> bool:
    """Tell whether text is what databases and spreadsheets write for no date: ``0000-00-00``, ``1900-01-00``."""
    return ZERO_DATE.fullmatch(text.strip()) is not None


def find_order(texts: Iterable[str]) -> DateOrder | None:
    """Find the order of day, month and year in dates such as ``1/2/24`` by those that tell it.

    Args:
        texts: Cells of a column.

    Returns:
        ``DMY`` where more cells have a first number above 12 than a second one, ``MDY`` where fewer have. ``YMD`` for
        years of two digits where each cell can be read so and the first number has fewer values than the last one:
        a column has fewer years than days. None where no cell tells.
    """
    parts = [found for text in texts if (found := _ordered_parts(text)) is not None]
    if parts and all(
        len(third) == 2 and 1 <= int(second) <= 12 and 1 <= int(third) <= 31 for _, second, third in parts
    ):
        firsts, thirds = {first for first, _, _ in parts}, {third for _, _, third in parts}
        if len(firsts) < len(thirds):
            return "YMD"
    days = sum(int(first) > 12 >= int(second) for first, second, _ in parts)
    months = sum(int(second) > 12 >= int(first) for first, second, _ in parts)
    return None if not days and not months else "DMY" if days > months else "MDY"


def has_order(text: str) -> bool:
    """Tell whether a date is written in a form in which day and month could be exchanged."""
    return _ordered_parts(text) is not None


def _ordered_parts(text: str) -> tuple[str, str, str] | None:
    """Return the three numbers of a date such as ``1/2/24``; None of others, and of those with points."""
    if ISO.fullmatch(text):
        return None
    match = ORDERED.match(WEEKDAY.sub("", _plain(text), count=1))
    if match is None or (match["mark"].strip() == "." and len(match["third"]) == 4):
        return None
    return match["first"], match["second"], match["third"]


def _plain(text: str) -> str:
    """Write a date with signs of ASCII and single blanks; nothing is left of a text that is longer than a date."""
    text = single_blanks(plain_signs(text)) if len(text) <= 2 * LONGEST_DATE else ""
    if len(text) > LONGEST_DATE or text.count(" ") > MOST_BLANKS:
        return ""
    if text.isascii():
        return match[1] if (match := QUOTED.fullmatch(text)) else text
    text = CJK_WEEKDAY.sub("", text).translate(CJK_CLOCK)
    text = ONE_DIGIT.sub(":0", text)
    text = CJK_HALF.sub(lambda found: f"{found['clock']} {'AM' if found['half'] in MORNINGS else 'PM'}", text)
    return single_blanks(text.translate(CJK_MARKS))


def _read_day(text: str, order: DateOrder) -> datetime:
    """Read a date without a time of day."""
    text = WEEKDAY.sub("", text.strip(), count=1) if text[:1].isalpha() else text.strip()
    if match := YEAR_FIRST.fullmatch(text) or COMPACT.fullmatch(text):
        return datetime(int(match["year"]), int(match["month"]), int(match["day"]))
    if match := IN_ORDER.fullmatch(text):
        return _in_order(match, order)
    if match := YEAR_MONTH.fullmatch(text):
        return datetime(int(match["year"] or match["year2"]), int(match["month"] or match["month2"]), 1)
    if match := QUARTER.fullmatch(text.upper()):
        quarter = int(match["quarter"] or match["q2"] or match["q3"])
        return datetime(int(match["year"] or match["y2"]), 3 * quarter - 2, 1)
    return _read_named(single_blanks(FILLERS.sub(" ", text)))


def _read_named(text: str) -> datetime:
    """Read a date with the name of its month."""
    text = text.rstrip(".,")
    without_day = LEADING_WORD.sub("", text, count=1) if text[:1].isalpha() else text
    for form, part in product(NAMED, dict.fromkeys((text, without_day))):
        if match := form.fullmatch(part):
            found = match.groupdict()
            return datetime(_year(found["year"]), month_of(found["name"]), int(found.get("day") or 1))
    raise ValueError(f"{text} is no date")


def _in_order(match: re.Match[str], order: DateOrder) -> datetime:
    first, second, third = match["first"], match["second"], match["third"]
    if order == "YMD" and len(third) == 2:
        return datetime(_year(first), int(second), int(third))
    is_day_first = order == "DMY" or match["mark"].strip() == "."
    day, month = (first, second) if is_day_first else (second, first)
    return datetime(_year(third), int(month), int(day))


def _year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year >= CENTURY else 2000)


def _read_clock(text: str, *, has_date: bool = False) -> time:
    """Read a time of day; ``10.30`` and ``1030`` are one only behind a date."""
    text = text.strip()
    if has_date and (match := COMPACT_CLOCK.fullmatch(text)):
        zone = UTC if len(text) not in (4, 6) else None
        return time(int(match[1]), int(match[2]), int(match[3] or 0), tzinfo=zone)
    match = CLOCK.fullmatch(text)
    if match is None or not (match["minute"] or match["half"]):
        raise ValueError(f"{text} is no time of day")
    is_vague = match["mark"] == "-" and (not match["second"] or match["zone"])
    if is_vague or (match["mark"] in ("-", ".") and not has_date and not match["end"]):
        raise ValueError(f"{text} is no time of day")
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"{text} is no time of day")
        hour = hour % 12 + 12 * (match["half"] in "pP")
    micros = int(f"{match['fraction'] or '0':0<6}"[:6])
    zone = _read_zone(match["zone"])
    return time(hour, int(match["minute"] or 0), int(match["second"] or 0), micros, tzinfo=zone)


def _read_zone(text: str) -> timezone | None:
    match = ZONE.fullmatch(text.strip())
    if match is None or (match["name"] or "z").lower() not in ZONE_HOURS:
        raise ValueError(f"{text} is no time zone")
    if not text.strip():
        return None
    offset = timedelta(hours=ZONE_HOURS[(match["name"] or "z").lower()])
    if match["sign"]:
        beside = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
        offset += beside if match["sign"] == "+" else -beside
    return timezone(offset)
