"""Detects the modality of strings that are neither files nor JSON: numbers, dates, labels or texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.schema.detect_text import looks_like_text
from polymodal.data.schema.samples import SAMPLE_SIZE, Detection, are_urls, evenly_spaced
from polymodal.modalities import CellReadError
from polymodal.modalities.datetime import parse_datetime
from polymodal.modalities.number import MISSING_WORDS

NEARLY_ALL = 0.95
LEADING_ZERO = re.compile(r"0\d+")
DATE_SHAPE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([/.])\d{1,2}\3\d{4})([T ].*)?")
BOOLEANS = frozenset({"true", "false"})
ID_NAME = re.compile(r"(^|[_\s.-])(?i:id|ids|uuid|guid|index|idx|key|nr|no)$|[a-z]I[dD]$|^unnamed")


@dataclass(frozen=True)
class StringCells:
    """Strings of a column, with properties that several rules share.

    Attributes:
        cells: All present strings.
    """

    cells: Sequence[str]

    @cached_property
    def sample(self) -> Sequence[str]:
        """At most 1,000 of them, evenly spread."""
        return evenly_spaced(self.cells, SAMPLE_SIZE)

    @cached_property
    def numbers(self) -> str | None:
        """Why nearly all are numbers; None where they are not."""
        return self._sample_first(_numbers_reason)

    @cached_property
    def dates(self) -> str | None:
        """Why nearly all are dates; None where they are not."""
        return self._sample_first(_dates_reason)

    @cached_property
    def are_codes(self) -> bool:
        """Whether they are numbers with leading zeros, such as postcodes."""
        return self.numbers is not None and any(LEADING_ZERO.fullmatch(cell.strip()) for cell in self.sample)

    @cached_property
    def words(self) -> Detection:
        """Whether they are ``text`` or ``category`` by their words, and why."""
        if are_urls(self.sample):
            return "text", "the cells are URLs, read as text (they are not fetched)"
        counts = Counter(self.cells)
        if {value.strip().lower() for value in counts} <= BOOLEANS:
            return "category", "the cells are true or false"
        return looks_like_text(counts)

    def _sample_first(self, look: Callable[[Sequence[str]], str | None]) -> str | None:
        found = look(self.sample)
        return look(self.cells) if found is not None and len(self.sample) < len(self.cells) else found


def number_reason(strings: StringCells) -> str | None:
    """Say why strings are numbers; None where they are not, or are codes."""
    return None if strings.are_codes else strings.numbers


def datetime_reason(strings: StringCells) -> str | None:
    """Say why strings are dates; None where they are not."""
    return strings.dates


def category_reason(strings: StringCells) -> str | None:
    """Say why strings that are neither numbers nor dates are labels; None where they are texts."""
    if strings.are_codes:
        return "the cells are codes with leading zeros"
    kind, reason = strings.words
    return reason if kind == "category" else None


def text_reason(strings: StringCells) -> str | None:
    """Say why strings that are neither numbers, dates nor labels are texts."""
    return strings.words[1]


def _numbers_reason(cells: Sequence[str]) -> str | None:
    count = sum(map(is_number_text, cells))
    if not count:
        return None
    others = [cell for cell in cells if not is_number_text(cell)] if count < len(cells) else []
    broken = [cell for cell in others if cell.strip().lower() not in MISSING_WORDS]
    if count < NEARLY_ALL * (count + len(broken)):
        return None
    rest = f", {len(broken)} are not and count as broken" if broken else ""
    return f"{count} of {len(cells)} cells are numbers{rest}"


def is_number_text(text: str) -> bool:
    """Tell whether text reads as a number.

    Args:
        text: A cell.

    Returns:
        True for plain and infinite numbers; ``nan`` stands for no number, ``1,299`` and ``$5`` are none.
    """
    try:
        value = float(text)
    except ValueError:
        return False
    return "_" not in text and value == value


def _dates_reason(cells: Sequence[str]) -> str | None:
    count = sum(_is_date_text(cell.strip()) for cell in cells)
    return None if count < NEARLY_ALL * len(cells) else f"{count} of {len(cells)} cells are dates"


def _is_date_text(text: str) -> bool:
    return DATE_SHAPE.fullmatch(text) is not None and any(_reads_as_date(text, first) for first in (False, True))


def _reads_as_date(text: str, day_first: bool) -> bool:
    try:
        parse_datetime(text, day_first=day_first)
    except CellReadError:
        return False
    return True


def category_identifier(_name: str, _cells: Sequence[Cell]) -> str | None:
    """Say that labels, which are all different, are an identifier."""
    return "every cell is different: an identifier"


def number_identifier(name: str, cells: Sequence[Cell]) -> str | None:
    """Say why numbers, which are all different, are an identifier; None where they are none."""
    if not all(is_number_text(str(cell)) for cell in cells):
        return None
    numbers = np.array([float(cell) for cell in cells])
    whole = np.isfinite(numbers).all() and np.array_equal(numbers, np.round(numbers))
    if whole and (ID_NAME.search(name) or bool((np.diff(numbers) == 1).all())):
        return "every cell is a different whole number: an identifier or row counter"
    return None
