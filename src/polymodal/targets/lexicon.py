"""A closed vocabulary: which spellings still lead to words that were seen in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polymodal.targets.ctc import Prefix


class Lexicon:
    """Keeps a search to texts of known words."""

    def __init__(self, words: Sequence[str], symbols: Sequence[str]) -> None:
        """Gather the beginnings of all words.

        Args:
            words: The known words.
            symbols: Text of each unit, the unit 1 first.
        """
        self.words = frozenset(words)
        self.symbols = symbols
        self._beginnings = frozenset(word[:length] for word in words for length in range(len(word) + 1))

    def constraint(self) -> Callable[[Prefix, int], bool]:
        """Begin a search.

        Returns:
            Whether a prefix, allowed itself, may be followed by a unit: every word but the last must be
            known then, and the last be the beginning of one.
        """
        unfinished: dict[Prefix, str | None] = {(): ""}

        def allows(prefix: Prefix, unit: int) -> bool:
            longer = (*prefix, unit)
            if longer not in unfinished:
                unfinished[longer] = self._last_word((unfinished[prefix] or "") + self.symbols[unit - 1])
            return unfinished[longer] is not None

        return allows

    def _last_word(self, text: str) -> str | None:
        """Return a text's last, unfinished word; None if no known words can come of the text."""
        *done, last = text.split(" ")
        fits = last in self._beginnings and all(not word or word in self.words for word in done)
        return last if fits else None

    def keep_known_words(self, text: str) -> str:
        """Leave out a last word that is not known.

        Args:
            text: A text of which the last word may be a beginning only.

        Returns:
            Known words alone.
        """
        return " ".join(word for word in text.split() if word in self.words)

    def has_only_known_words(self, text: str) -> bool:
        """Tell whether every word is known.

        Args:
            text: Any text.

        Returns:
            True where each word is one of the known ones.
        """
        return all(word in self.words for word in text.split())
