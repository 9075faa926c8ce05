"""Scripts: which characters are written without blanks between words, and what a word is elsewhere."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HIRAGANA = r"\u3041-\u3096\u3099-\u309f"
KATAKANA = r"\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
SYLLABLES = r"\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
UNSPACED = re.compile(f"[{HAN}{HIRAGANA}{KATAKANA}]")
"""Chinese and Japanese characters: written without blanks, about two to a word."""
UNSPACED_SYLLABLES = re.compile(f"[{SYLLABLES}]")
"""Thai, Lao, Burmese and Khmer: written without blanks, about five signs to a word."""

MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0900-\u0963\u0971-\u0df3\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b6-\u17d3\u3099\u309a"
)
"""Combining marks, such as the vowel signs of Hindi and Thai, which Python's ``\\w`` leaves out."""
WORD_CHARACTERS = rf"[\w{MARKS}]+"
WORD = re.compile(rf"{WORD_CHARACTERS}(?:['’]{WORD_CHARACTERS})*")
"""A word: letters with their marks, digits and underscores, with apostrophes inside it (``don't``)."""


@lru_cache(maxsize=65_536)
def script_of(letter: str) -> str:
    """Return the script of a letter.

    Args:
        letter: A character.

    Returns:
        The first word of its name in Unicode, such as ``LATIN`` or ``CJK``; empty where it is no letter.
    """
    return unicodedata.name(letter, "").partition(" ")[0].partition("-")[0] if letter.isalpha() else ""
