"""Stop words: frequent words that carry little information, removed before tokenisation."""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path

from polymodal.errors import ConfigError, parameter_error

NONE = "none"
LISTS = {"english": Path(__file__).parent / "data" / "stop_words_english.txt"}
"""Lists that come with the package, by name."""

UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""A Chinese or Japanese character."""
WORD = re.compile(r"\w+(?:['’]\w+)*")
"""A word: letters, digits and underscores, with apostrophes inside it (``don't``)."""


def load_stop_words(choice: str) -> list[str]:
    """Load a list of stop words.

    Args:
        choice: ``none``, a name in ``LISTS``, or the path of a list: UTF-8, one word a line; lines that begin with
            ``#`` and empty lines are left out.

    Returns:
        The words in lower case, sorted; empty for ``none``.

    Raises:
        ConfigError: If the list cannot be read, holds no word, or a line holds something else than one word.
    """
    if choice == NONE:
        return []
    path = LISTS.get(choice, Path(choice))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        expected = f"{NONE}, {', '.join(LISTS)} or the path of a list of words in UTF-8"
        raise parameter_error("stop_words", "the modality 'text'", f"{expected} ({_reason(error)})", choice) from None
    words = {_word(path, number, line) for number, line in enumerate(lines, start=1) if _is_entry(line)}
    if not words:
        raise ConfigError(f"The list of stop words {path} holds no word. Expected one word a line.")
    return sorted(words)


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


def remove_words(text: str, words: Set[str]) -> str:
    """Remove words from a text, ignoring case.

    Chinese and Japanese words are removed wherever they stand, the longest first: no blanks separate them.

    Args:
        text: Any text.
        words: From ``load_stop_words``.

    Returns:
        The text without them, single blanks in place of each stretch of white space; unchanged without words.

    Example:
        >>> remove_words("The cat isn't on the mat.", {"the", "on"})
        "cat isn't mat."
    """
    if not words:
        return text
    kept = WORD.sub(lambda match: "" if _plain(match[0]) in words else match[0], text)
    unspaced = sorted((word for word in words if UNSPACED.search(word)), key=len, reverse=True)
    if unspaced and UNSPACED.search(kept):
        kept = re.sub("|".join(map(re.escape, unspaced)), "", kept)
    return " ".join(kept.split())
