"""Numbers of several parts, rewritten as one number with a unit: durations, feet and inches, ratings, ordinals."""

from __future__ import annotations

import re
import unicodedata

SECONDS = {"d": 86400, "day": 86400, "h": 3600, "hr": 3600, "hour": 3600, "m": 60, "min": 60, "minute": 60}
SECONDS |= {"s": 1, "sec": 1, "second": 1, "小时": 3600, "时": 3600, "分钟": 60, "分": 60, "秒": 1, "天": 86400}
PART = r"(\d+(?:\.\d+)?)\s?(d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|天|小时|时|分钟|分|秒)\.?"
DURATION = re.compile(rf"{PART}(?:,?\s*{PART})+", re.IGNORECASE)
CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):([0-5]\d(?:\.\d+)?)")
FEET = re.compile("(\\d{1,2})\\s?(?:'|ft\\.?|\u2032)\\s?(\\d{1,2}(?:\\.\\d+)?)\\s?(?:\"|''|in\\.?|\u2033)?")
RATING = re.compile(r"([-+]?\d+(?:[.,]\d+)?)\s?(?:/|out of|of)\s?(\d{1,3})(?:\s?(?:stars?|points?|%))?", re.IGNORECASE)
ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)", re.IGNORECASE)


def to_one_number(text: str) -> str:
    """Rewrite a number of several parts.

    Args:
        text: Such as ``1h 30m``, ``75:10``, ``5'11"``, ``4.5 out of 5``, ``3rd``; blanks around it do not count.

    Returns:
        One number with a unit: seconds, inches or ``/ 5``; other texts with digits of every script as 0 to 9.
    """
    text = _plain_digits(text)
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
    return CLOCK.fullmatch(_plain_digits(text.strip())) is not None


def _seconds_of(unit: str) -> float:
    unit = unit.lower()
    return SECONDS.get(unit) or SECONDS[unit.removesuffix("s")]


def _short(number: float) -> str:
    return f"{number:.10g}"


def _plain_digits(text: str) -> str:
    if text.isascii():
        return text
    digits = (str(unicodedata.digit(sign)) if sign.isdecimal() else sign for sign in text)
    return "".join(digits).replace("\u066b", ".").replace("\u066c", ",")
