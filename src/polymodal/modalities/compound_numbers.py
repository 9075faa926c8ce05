"""Numbers of several parts, rewritten as one number with a unit: durations, feet and inches, ratings, ordinals."""

from __future__ import annotations

import re
import unicodedata

from polymodal.modalities.plain_text import plain_signs

SECONDS = {"d": 86400, "day": 86400, "h": 3600, "hr": 3600, "hour": 3600, "m": 60, "min": 60, "minute": 60}
SECONDS |= {"s": 1, "sec": 1, "second": 1, "小时": 3600, "时": 3600, "分钟": 60, "分": 60, "秒": 1, "天": 86400}
PART = r"(\d+(?:\.\d+)?)\s?(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|天|小时|时|分钟|分|秒)\.?"
DURATION = re.compile(rf"{PART}(?:,?\s*{PART})+", re.IGNORECASE)
CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):([0-5]\d(?:\.\d+)?)")
DAYS_CLOCK = re.compile(r"(-?\d+) days?,? (?:\+)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)")
"""As Python, pandas and SQL write a duration."""
ISO_DURATION = re.compile(r"(-)?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
FEET = re.compile("(\\d{1,2})\\s?(?:'|ft\\.?|\u2032)\\s?(\\d{1,2}(?:\\.\\d+)?)\\s?(?:\"|''|in\\.?|\u2033)?")
RATING = re.compile(r"([-+]?\d+(?:[.,]\d+)?)\s?(?:/|out of|of)\s?(\d{1,3})(?:\s?(?:stars?|points?|%))?", re.IGNORECASE)
MIXED = re.compile(r"([-+]?\d+)[\s-](\d{1,2})/(2|3|4|5|8|16|32|64)(?=\D|$)")
VULGAR = re.compile("(\\d*)\\s?([\u00bc-\u00be\u2150-\u215e])")
POWER_OF_TEN = re.compile(
    "(?<=\\d)\\s?[x\u00d7*\u00b7]\\s?10(?:\\^|(?=[\u2070-\u207e\u00b9\u00b2\u00b3]))([-+\u2212\u207b\u207a\\d\u2070-\u2079\u00b9\u00b2\u00b3]+)"
)
FOOTNOTE = re.compile(
    "(?<=\\d)(?:[\u00b9\u00b2\u00b3\u2070-\u2079]+|\\s?[*\u2020\u2021\u00a7]{1,3}|\\s?\\[\\w{1,3}\\])$"
)
DEVIATION = re.compile("(?<=\\d)\\s?(?:\u00b1|\\+/-|\\+-)\\s?[\\d.,]+")
WHOLE_PRICE = re.compile(r"(?<=\d)[.,]-{1,2}(?!\d)")
DOTS = re.compile(r"(?<=\d)\s?\.{2,3}\s?(?=\d)")
MARKED_AS_TEXT = re.compile(r"=?\"(.*)\"|'([-+]?[\d.,]+)'?")
"""As spreadsheets mark what is to stay text."""
ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)", re.IGNORECASE)


def to_one_number(text: str) -> str:
    """Rewrite a number of several parts.

    Args:
        text: Such as ``1h 30m``, ``75:10``, ``5'11"``, ``4.5 out of 5``, ``3rd``; blanks around it do not count.

    Returns:
        One number with a unit: seconds, inches or ``/ 5``; other texts with digits of every script as 0 to 9.
    """
    text = _plain_number(text)
    if match := DAYS_CLOCK.fullmatch(text):
        days, hours, minutes, seconds = match.groups()
        return f"{_short(int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds))} s"
    if (match := ISO_DURATION.fullmatch(text)) and any(match.groups()[1:]):
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups()[1:])
        return f"{match[1] or ''}{_short(days * 86400 + hours * 3600 + minutes * 60 + seconds)} s"
    if match := CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups()
        return f"{_short(int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds))} s"
    if DURATION.fullmatch(text):
        parts = re.findall(PART, text, re.IGNORECASE)
        return f"{_short(sum(float(number) * _seconds_of(unit) for number, unit in parts))} s"
    if match := FEET.fullmatch(text):
        return f'{_short(int(match[1]) * 12 + float(match[2]))} "'
    if match := RATING.fullmatch(text):
        return f"{match[1]} /{match[2]}"
    match = ORDINAL.fullmatch(text)
    return match[1] if match else text


def is_clock(text: str) -> bool:
    """Tell whether text is a duration such as ``75:10``, which may be a time of day as well."""
    return CLOCK.fullmatch(plain_signs(text)) is not None


def _seconds_of(unit: str) -> float:
    unit = unit.lower()
    return SECONDS.get(unit) or SECONDS[unit.removesuffix("s")]


def _short(number: float) -> str:
    return f"{number:.10g}"


def _plain_number(text: str) -> str:
    """Write a number with signs of ASCII, powers of ten and fractions as decimals, without footnotes and deviations."""
    text = POWER_OF_TEN.sub(lambda found: f"e{unicodedata.normalize('NFKC', found[1])}", text.strip())
    text = VULGAR.sub(lambda found: _short(int(found[1] or 0) + unicodedata.numeric(found[2])), text)
    text = plain_signs(DEVIATION.sub("", FOOTNOTE.sub("", text)))
    if match := MARKED_AS_TEXT.fullmatch(text):
        text = match[1] or match[2] or ""
    text = MIXED.sub(lambda found: _mixed(*map(int, found.groups())), text)
    return DOTS.sub(" - ", WHOLE_PRICE.sub("", text))


def _mixed(whole: int, part: int, total: int) -> str:
    return _short(whole + (part / total if whole >= 0 else -part / total))
