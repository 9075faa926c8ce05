"""Stop words: frequent words that carry little information, removed before tokenisation."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from functools import cache
from pathlib import Path

from polymodal.errors import ConfigError, parameter_error
from polymodal.modalities.languages import find_languages, frequent_words
from polymodal.modalities.scripts import UNSPACED, UNSPACED_SYLLABLES, WORD

NONE, AUTO, ENGLISH = "none", "auto", "english"
DATA = Path(__file__).parent / "data"
LISTS = {ENGLISH: DATA / "stop_words_english.txt"}
"""Lists that come with the package, by name."""
CODES = re.compile(r"[a-z]{2}(?:\s*,\s*[a-z]{2})*")
"""Codes of languages in ISO 639-1."""


def stop_word_languages(choice: str, texts: Sequence[str]) -> list[str]:
    """Return the languages whose stop words are taken out.

    Args:
        choice: As in ``load_stop_words``.
        texts: Training texts, for ``auto``.

    Returns:
        Codes in ISO 639-1; empty where the choice is no language.

    Raises:
        MissingPackageError: If the package stopwordsiso is needed and missing.
    """
    if choice == AUTO:
        return find_languages(texts)
    return re.split(r"\s*,\s*", choice) if CODES.fullmatch(choice) else []


def load_stop_words(choice: str, languages: Sequence[str] = ()) -> list[str]:
    """Load a list of stop words.

    Args:
        choice: ``none``, a name in ``LISTS``, ``auto`` or codes of languages, or the path of a list: UTF-8, one word a
            line; lines that begin with ``#`` and empty lines are left out.
        languages: From ``stop_word_languages``.

    Returns:
        The words in lower case, sorted; empty for ``none``.

    Raises:
        ConfigError: If the list cannot be read, holds no word, or a line holds something else than one word; or there
            is no list of a language.
        MissingPackageError: If the package stopwordsiso is needed and missing.
    """
    if choice in (NONE, AUTO) or languages:
        return sorted({word for code in languages for word in _of_language(code)})
    path = LISTS.get(choice, Path(choice))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        expected = f"{NONE}, {AUTO}, {ENGLISH}, codes such as zh or de,fr, or the path of a list of words in UTF-8"
        raise parameter_error("stop_words", "the modality 'text'", f"{expected} ({_reason(error)})", choice) from None
    words = {_word(path, number, line) for number, line in enumerate(lines, start=1) if _is_entry(line)}
    if not words:
        raise ConfigError(f"The list of stop words {path} holds no word. Expected one word a line.")
    return sorted(words)


def _of_language(code: str) -> list[str]:
    """Return the stop words of a language but its negations: those of stopwordsiso; of English the package's own."""
    if code == "en":
        return load_stop_words(ENGLISH)
    lists = frequent_words()
    if code not in lists:
        raise ConfigError(
            f"There is no list of stop words of the language {code!r}. There are: {', '.join(sorted({*lists, 'en'}))}."
        )
    kept = _negations().get(code, [])
    words = [_plain(word) for word in lists[code] if WORD.fullmatch(word) and any(map(str.isalpha, word))]
    if code in ("zh", "ja", "th"):
        return [word for word in words if not any(negation in word for negation in kept)]
    return [word for word in words if word not in kept]


@cache
def _negations() -> dict[str, list[str]]:
    lines = (DATA / "negations.txt").read_text(encoding="utf-8").splitlines()
    return {code: words for code, *words in (line.split() for line in lines if _is_entry(line))}


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "it is not in UTF-8").lower()


def _is_entry(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _word(path: Path, number: int, line: str) -> str:
    word = line.strip()
    if not WORD.fullmatch(word):
        raise ConfigError(
            f"The list of stop words {path}, line {number}, holds {word[:40]!r}. Expected one word of letters, digits "
            "and apostrophes a line, and no marks around it."
        )
    return _plain(word)


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")


def remove_words(text: str, words: Set[str], *, is_segmented: bool = False) -> str:
    """Remove words from a text, ignoring case.

    Where a text is not segmented, words of scripts without blanks are removed wherever they stand, the longest first.

    Args:
        text: Any text.
        words: From ``load_stop_words``.
        is_segmented: Whether blanks separate the words of every script.

    Returns:
        The text without them, single blanks in place of each stretch of white space; unchanged without words.

    Example:
        >>> remove_words("The cat isn't on the mat.", {"the", "on"})
        "cat isn't mat."
    """
    if not words:
        return text
    kept = WORD.sub(lambda match: "" if _plain(match[0]) in words else match[0], text)
    if not is_segmented and _is_unspaced(kept):
        unspaced = sorted(filter(_is_unspaced, words), key=lambda word: (-len(word), word))
        kept = re.sub("|".join(map(re.escape, unspaced)), "", kept) if unspaced else kept
    return " ".join(kept.split())


def _is_unspaced(text: str) -> bool:
    return not text.isascii() and bool(UNSPACED.search(text) or UNSPACED_SYLLABLES.search(text))
