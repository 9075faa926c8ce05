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
from polymodal.modalities.compound_numbers import is_clock
from polymodal.modalities.date_text import LONGEST_DATE, ORDERS, DateOrder, has_order, is_epoch, is_zero_date
from polymodal.modalities.datetime import order_note, parse_datetime
from polymodal.modalities.number_text import NumberForm, find_number_form, is_range
from polymodal.modalities.number_words import MISSING_WORDS

NEARLY_ALL = 0.95
MOST, FEWEST_NUMBERS = 0.8, 20
"""A column is of numbers too where most cells are, of this many different values: the others are broken."""
HALF, FEWEST_BESIDE_WORDS, MOST_WORDS = 0.5, 10, 3
"""So is one where half of the cells are numbers of many values and the others a few words that repeat."""
MOST_RANGES = 0.5
CODE_DIGITS = 4
LEADING_ZERO = re.compile(r"0\d+")
YEAR_MONTH = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])"
MONTH_DIGITS = re.compile(rf"{YEAR_MONTH}(?:\.0)?")
DATE_DIGITS = re.compile(rf"{YEAR_MONTH}(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?(?:\.0)?")
TIME_NAME = re.compile(r"time|date|epoch|stamp|(^|_)(ts|at|when|created|updated|month|period)($|_)", re.IGNORECASE)
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
    """Say why strings are numbers; None where they are not, or are codes or times of day."""
    if strings.are_codes or strings.numbers is None:
        return None
    return None if any(map(is_clock, strings.sample)) and strings.dates is not None else strings.numbers


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
    others = [cell for cell in cells if not is_number_text(cell) and not _is_missing_word(cell)]
    form = find_form(cells) if others else None
    broken = others if form is None else [cell for cell in others if not is_written_number(cell, form)]
    absent = sum(map(_is_missing_word, cells))
    count = len(cells) - absent - len(broken)
    if not count or not _are_most(cells, broken, count):
        return None
    written = f" {form}" if form is not None and str(form) else ""
    rest = f", {len(broken)} are not and count as broken" if broken else ""
    return f"{count} of {len(cells)} cells are numbers{written}{rest}"


def _are_most(cells: Sequence[str], broken: Sequence[str], count: int) -> bool:
    """Tell whether the numbers of a column are so many and so varied that the other cells are broken ones."""
    share = count / (count + len(broken))
    if share >= NEARLY_ALL:
        return True
    if share < HALF:
        return False
    words = set(broken)
    values = len({cell for cell in cells if cell not in words})
    if share >= MOST and values >= FEWEST_NUMBERS:
        return True
    return len(words) <= MOST_WORDS and values >= max(FEWEST_BESIDE_WORDS, 4 * len(words))


def find_form(cells: Sequence[Cell]) -> NumberForm | None:
    """Decide how the numbers of a column are written.

    Args:
        cells: All present cells; numbers and plain text of numbers need no form.

    Returns:
        The form; None where none is needed, there is none, or most numbers are ranges such as ``20-29``, which are
        labels.
    """
    texts = [cell for cell in cells if isinstance(cell, str) and not _is_missing_word(cell)]
    written = [cell for cell in texts if not is_number_text(cell)]
    form = find_number_form(texts) if written else None
    if form is None or not any(is_written_number(cell, form) for cell in written):
        return None
    ranges = [cell for cell in written if is_range(cell)]
    if len(ranges) > MOST_RANGES * len(texts) and (len(set(ranges)) < FEWEST_NUMBERS or _are_alike(ranges)):
        return None
    return form


def _are_alike(ranges: Sequence[str]) -> bool:
    """Tell whether ranges are codes of one form, such as phone numbers: as many digits on each side in all of them."""
    forms = {tuple(map(len, re.findall(r"\d+", text))) for text in ranges}
    return len(forms) == 1 and max(next(iter(forms))) >= CODE_DIGITS


def _is_missing_word(text: str) -> bool:
    return text.strip().lower() in MISSING_WORDS


def is_written_number(text: str, form: NumberForm) -> bool:
    """Tell whether text reads as a number of a form.

    Args:
        text: A cell.
        form: How the column's numbers are written.

    Returns:
        True where it does.
    """
    try:
        form.read(text)
    except CellReadError:
        return False
    return True


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
    cells = [cell for cell in cells if not _is_missing_word(cell) and not is_zero_date(cell)]
    broken = [cell for cell in cells if not is_date_text(cell)]
    count = len(cells) - len(broken)
    if not count or not _are_most(cells, broken, count):
        return None
    order = order_note(cells)
    rest = f", {len(broken)} are not and count as broken" if broken else ""
    return f"{count} of {len(cells)} cells are dates{order and ', '}{order}{rest}"


def is_date_text(text: str) -> bool:
    """Tell whether text reads as a date, in either order of day and month.

    Args:
        text: A cell.

    Returns:
        True where it does.
    """
    if not 4 < len(text) <= LONGEST_DATE or not any(map(str.isdigit, text)):
        return False
    orders = ORDERS if has_order(text) else ORDERS[:1]
    return any(_reads_as_date(text, order) for order in orders)


def _reads_as_date(text: str, order: DateOrder) -> bool:
    try:
        parse_datetime(text, order=order)
    except CellReadError:
        return False
    return True


def are_date_numbers(name: str, cells: Sequence[Cell]) -> bool:
    """Tell whether numbers are dates: 20240531, or, in a column called so, 202405 or seconds since 1970.

    Args:
        name: The column's name.
        cells: Its present cells, numbers or text of numbers.

    Returns:
        True where all are.
    """
    texts = [str(cell).strip() for cell in cells]
    if all(map(DATE_DIGITS.fullmatch, texts)):
        return sum(map(is_date_text, texts)) >= NEARLY_ALL * len(texts)
    if not TIME_NAME.search(name):
        return False
    return all(map(MONTH_DIGITS.fullmatch, texts)) or all(map(_is_epoch, texts))


def _is_epoch(text: str) -> bool:
    return is_number_text(text) and is_epoch(float(text))


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
