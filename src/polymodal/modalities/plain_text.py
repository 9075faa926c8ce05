"""Signs of numbers and dates brought to those of ASCII: digits of every script, dashes, invisible marks."""

from __future__ import annotations

import re
import unicodedata

DASHES = re.compile("[\u2010-\u2015\u2212\u2043]")
INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""Marks of width zero and of direction, which spreadsheets and web pages leave in copied cells."""


def plain_signs(text: str) -> str:
    """Write a number or a date with the signs of ASCII, as far as they have one.

    Args:
        text: A cell.

    Returns:
        The text in normal form KC, with digits of every script as 0 to 9, dashes and the minus sign as ``-``, and
        without invisible marks; blanks at its ends are cut off.
    """
    if text.isascii():
        return text.strip()
    text = DASHES.sub("-", unicodedata.normalize("NFKC", INVISIBLE.sub("", text)))
    digits = (str(unicodedata.digit(sign)) if sign.isdecimal() else sign for sign in text)
    return "".join(digits).replace("\u066b", ".").replace("\u066c", ",").strip()
