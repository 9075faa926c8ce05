"""Finding labels that another source wrote in another way: ``02139`` and 2139, ``0.10`` and 0.1, ``yes`` and True."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

TRUE_WORDS = frozenset({"true", "yes", "y", "t", "1", "on"})
FALSE_WORDS = frozenset({"false", "no", "n", "f", "0", "off"})


class LabelLookup:
    """Finds the place of a label among known ones: the label itself, else the only one that means the same.

    Two texts mean the same where both read as the same number, or where the known labels are one word for true and
    one for false and the text is another such word.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Name the known labels.

        Args:
            labels: Texts as of ``category.category_text``.
        """
        self._labels = labels
        self._places = {label: place for place, label in enumerate(labels)}

    def find(self, text: str) -> int:
        """Return the place of a label.

        Args:
            text: As of ``category.category_text``.

        Returns:
            Its place among the known labels; -1 where there is none, or more than one means the same.
        """
        place = self._places.get(text)
        if place is None:
            place = self._by_truth.get(_truth(text)) if self._by_truth else self._by_number.get(_number(text))
        return -1 if place is None else place

    @cached_property
    def _by_number(self) -> dict[float | None, int]:
        numbers = [_number(label) for label in self._labels]
        counts = Counter(numbers)
        return {number: place for place, number in enumerate(numbers) if number is not None and counts[number] == 1}

    @cached_property
    def _by_truth(self) -> dict[bool | None, int]:
        truths = [_truth(label) for label in self._labels]
        is_boolean = sorted(map(str, truths)) == ["False", "True"]
        return {truth: place for place, truth in enumerate(truths)} if is_boolean else {}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and "_" not in text else None


def _truth(text: str) -> bool | None:
    word = text.lower()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None
