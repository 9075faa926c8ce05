"""Stems: inflected words brought to one form by the Snowball stemmers (Porter 2001, https://snowballstem.org)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache

from polymodal.errors import ConfigError, MissingPackageError
from polymodal.modalities.languages import find_languages
from polymodal.modalities.scripts import WORD, script_of

ALGORITHMS = {
    "ar": ("arabic", "ARABIC"),
    "ca": ("catalan", "LATIN"),
    "cs": ("czech", "LATIN"),
    "da": ("danish", "LATIN"),
    "de": ("german", "LATIN"),
    "el": ("greek", "GREEK"),
    "en": ("english", "LATIN"),
    "es": ("spanish", "LATIN"),
    "et": ("estonian", "LATIN"),
    "eu": ("basque", "LATIN"),
    "fa": ("persian", "ARABIC"),
    "fi": ("finnish", "LATIN"),
    "fr": ("french", "LATIN"),
    "ga": ("irish", "LATIN"),
    "hi": ("hindi", "DEVANAGARI"),
    "hu": ("hungarian", "LATIN"),
    "hy": ("armenian", "ARMENIAN"),
    "id": ("indonesian", "LATIN"),
    "it": ("italian", "LATIN"),
    "lt": ("lithuanian", "LATIN"),
    "nl": ("dutch", "LATIN"),
    "no": ("norwegian", "LATIN"),
    "pl": ("polish", "LATIN"),
    "pt": ("portuguese", "LATIN"),
    "ro": ("romanian", "LATIN"),
    "ru": ("russian", "CYRILLIC"),
    "sv": ("swedish", "LATIN"),
    "tr": ("turkish", "LATIN"),
}
"""Code of a language in ISO 639-1 to its Snowball algorithm and its script."""


def choose_stemmers(choice: str, texts: Sequence[str]) -> dict[str, str]:
    """Choose the languages whose words are stemmed: one for each script.

    Args:
        choice: ``none``, ``auto`` for the languages of the texts, or codes of languages, such as ``de`` or ``en,ru``.
        texts: Training texts.

    Returns:
        Script, as ``script_of`` names it, to the code of the language whose words it writes.

    Raises:
        ConfigError: If there is no stemmer of a language, or two languages share a script.
        MissingPackageError: If a package is missing.
    """
    if choice == "none":
        return {}
    is_found = choice == "auto"
    codes = find_languages(texts) if is_found else [code.strip() for code in choice.split(",")]
    chosen: dict[str, str] = {}
    for code in codes:
        if code not in ALGORITHMS:
            if is_found:
                continue
            raise ConfigError(
                f"There are no stems of the language {code!r}. The option 'stems' must be none, auto or some of: "
                f"{', '.join(ALGORITHMS)}."
            )
        script = ALGORITHMS[code][1]
        if not is_found and script in chosen:
            raise ConfigError(
                f"The option 'stems' names {chosen[script]} and {code}, which share a script. Choose one of them."
            )
        chosen.setdefault(script, code)
    check_stemmers(chosen)
    return chosen


def check_stemmers(languages: Mapping[str, str]) -> None:
    """Check that the package is there.

    Args:
        languages: From ``choose_stemmers``.

    Raises:
        MissingPackageError: If the package snowballstemmer is needed and missing.
    """
    for code in languages.values():
        _stemmer(code)


def stem_words(text: str, languages: Mapping[str, str]) -> str:
    """Bring the words of a text to their stems.

    Args:
        text: Any text.
        languages: From ``choose_stemmers``; words of other scripts stay as they are.

    Returns:
        The text with stems in lower case.

    Raises:
        MissingPackageError: If the package snowballstemmer is needed and missing.

    Example:
        >>> stem_words("The cats were running.", {"LATIN": "en"})
        'the cat were run.'
    """
    if not languages:
        return text
    return WORD.sub(lambda match: _stem(match[0], languages.get(script_of(match[0][0]), "")), text)


@lru_cache(maxsize=100_000)
def _stem(word: str, language: str) -> str:
    return _stemmer(language)(word.lower().replace("’", "'")) if language else word


@cache
def _stemmer(language: str) -> Callable[[str], str]:
    try:
        import snowballstemmer
    except ImportError:
        raise MissingPackageError(
            "Words of this model are brought to their stems, which needs the package snowballstemmer: "
            "pip install 'polymodal[languages]'."
        ) from None
    stem: Callable[[str], str] = snowballstemmer.stemmer(ALGORITHMS[language][0]).stemWord
    return stem
