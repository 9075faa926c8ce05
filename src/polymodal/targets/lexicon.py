"""A closed vocabulary: which spellings still lead to words that were seen in training."""

from __future__ import annotations

from collections.abc import Sequence

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
        self._unfinished: dict[Prefix, str | None] = {(): ""}

    def allows(self, prefix: Prefix, unit: int) -> bool:
        """Tell whether known words can still come of it.

        Args:
            prefix: Ids so far, allowed themselves.
            unit: The id that would follow.

        Returns:
            Whether every word but the last is known, and the last is the beginning of one.
        """
        longer = (*prefix, unit)
        if longer not in self._unfinished:
            *done, last = ((self._unfinished[prefix] or "") + self.symbols[unit - 1]).split(" ")
            fits = last in self._beginnings and all(not word or word in self.words for word in done)
            self._unfinished[longer] = last if fits else None
        return self._unfinished[longer] is not None

    def finished(self, text: str) -> str:
        """Leave out a last word that is not known.

        Args:
            text: A text of which the last word may be a beginning only.

        Returns:
            Known words alone.
        """
        return " ".join(word for word in text.split() if word in self.words)

    def is_finished(self, text: str) -> bool:
        """Tell whether every word is known.

        Args:
            text: Any text.

        Returns:
            True where each word is one of the known ones.
        """
        return all(word in self.words for word in text.split())
