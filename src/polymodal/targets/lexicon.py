"""A hard constraint on beam search: only words of a lexicon."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polymodal.targets.ctc_decoding import Prefix


class Lexicon:
    """The set of known words and their prefixes."""

    def __init__(self, words: Sequence[str], symbols: Sequence[str]) -> None:
        """Collect the prefixes of all words.

        Args:
            words: The known words.
            symbols: Text of each unit, the unit 1 first.
        """
        self.words = frozenset(words)
        self.symbols = symbols
        self._word_prefixes = frozenset(word[:length] for word in words for length in range(len(word) + 1))

    def constraint(self) -> Callable[[Prefix, int], bool]:
        """Return the constraint of one search.

        Returns:
            A function of an allowed prefix and a unit: True where all complete words of the extended prefix are
            known and its last word is a prefix of a known one.
        """
        last_words: dict[Prefix, str | None] = {(): ""}

        def allows(prefix: Prefix, unit: int) -> bool:
            longer = (*prefix, unit)
            if longer not in last_words:
                last_words[longer] = self._last_word((last_words[prefix] or "") + self.symbols[unit - 1])
            return last_words[longer] is not None

        return allows

    def _last_word(self, text: str) -> str | None:
        """Return the last, incomplete word of a text; None where the text cannot become a sequence of known words."""
        *complete, last = text.split(" ")
        fits = last in self._word_prefixes and all(not word or word in self.words for word in complete)
        return last if fits else None

    def keep_known_words(self, text: str) -> str:
        """Remove words that are not known.

        Args:
            text: A text whose last word may be incomplete.

        Returns:
            The text of the known words.
        """
        return " ".join(word for word in text.split() if word in self.words)

    def has_only_known_words(self, text: str) -> bool:
        """Return whether every word is known.

        Args:
            text: Any text.

        Returns:
            True where each word is in the lexicon.
        """
        return all(word in self.words for word in text.split())
