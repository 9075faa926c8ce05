"""Languages of texts, found by their script and by the frequent words of each language."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from polymodal.errors import MissingPackageError
from polymodal.modalities.scripts import WORD, script_of

ONLY_LANGUAGE = {
    "ARMENIAN": "hy",
    "BENGALI": "bn",
    "CJK": "zh",
    "GREEK": "el",
    "GUJARATI": "gu",
    "HANGUL": "ko",
    "HEBREW": "he",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "THAI": "th",
}
"""Scripts in which one language of the lists is written, and its code in ISO 639-1."""
MIN_SHARE = 0.1
"""A language counts if it has this share of the texts whose language is found."""
MIN_KANA = 0.05
SAMPLE = 1000
SAMPLE_CHARACTERS = 1000


@cache
def frequent_words() -> Mapping[str, frozenset[str]]:
    """Load the lists of the package stopwordsiso.

    Returns:
        Code of each language in ISO 639-1 to its words, in lower case.

    Raises:
        MissingPackageError: If the package is missing.
    """
    try:
        import stopwordsiso
    except ImportError:
        raise MissingPackageError(
            "Stop words and stems by language need the package stopwordsiso: pip install 'polymodal[languages]'."
        ) from None
    return {code: frozenset(map(str.lower, stopwordsiso.stopwords(code))) for code in sorted(stopwordsiso.langs())}


def find_languages(texts: Sequence[str]) -> list[str]:
    """Find the languages of a column.

    Args:
        texts: Texts; at most 1,000, evenly spread, are looked at.

    Returns:
        Codes in ISO 639-1 of the languages of a tenth of the texts or more, the most frequent first.

    Raises:
        MissingPackageError: If the package stopwordsiso is missing.
    """
    sample = texts[:: -(-len(texts) // SAMPLE) or 1]
    found = Counter(filter(None, (language_of(text[:SAMPLE_CHARACTERS]) for text in sample)))
    frequent = [code for code, count in found.items() if count >= MIN_SHARE * found.total()]
    return sorted(frequent, key=lambda code: (-found[code], code))


def language_of(text: str) -> str:
    """Find the language of a text.

    A script that one language is written in decides; Chinese characters among Hiragana and Katakana are Japanese. Else
    it is the language most of whose stop words are in the text, each weighing more the fewer languages have it.

    Args:
        text: Any text.

    Returns:
        Its code in ISO 639-1; empty where nothing tells.

    Raises:
        MissingPackageError: If the package stopwordsiso is missing.
    """
    scripts = Counter(filter(None, map(script_of, text)))
    if not scripts:
        return ""
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana > MIN_KANA * (kana + scripts["CJK"]):
        scripts["HIRAGANA"] += scripts.pop("CJK", 0)
    script = min(scripts, key=lambda name: (-scripts[name], name))
    return ONLY_LANGUAGE.get(script) or _by_words(WORD.findall(text.lower()))


def _by_words(words: Iterable[str]) -> str:
    evidence: dict[str, float] = defaultdict(float)
    weights = _weights()
    for word in words:
        for code, weight in weights.get(word.replace("’", "'"), ()):
            evidence[code] += weight
    return min(evidence, key=lambda code: (-evidence[code], code), default="")


@cache
def _weights() -> dict[str, list[tuple[str, float]]]:
    """Return the languages of each word, with the logarithm of the share of languages that have it as the weight."""
    lists = frequent_words()
    counts = Counter(word for words in lists.values() for word in words)
    found: dict[str, list[tuple[str, float]]] = {}
    for code, words in lists.items():
        for word in words:
            found.setdefault(word, []).append((code, math.log(len(lists) / counts[word])))
    return found
