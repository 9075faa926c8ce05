"""Numbers as people write them: money, thousands, decimal commas, shares, units, ranges and bounds.

The form is decided once, from the training cells of a column, and read the same way from every later table.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.compound_numbers import to_one_number
from polymodal.modalities.number_words import FAMILIES, MONEY, MONEY_MULTIPLIERS, MULTIPLIERS

DIGITS = r"(?:\d(?:[\d.,'’\u00a0\u2009\u202f ]*\d)?|[.,]\d+)(?:[eE][-+]?\d+)?"
POWER = r"(?:\^?-?[1-3])?"
WORD = (
    rf"(?!or |and )[^\W\d_]{{1,8}}\.?(?:\s?[/·*]\s?(?:100\s?)?[^\W\d_]{{1,5}})?{POWER}"
    rf"(?:\s[^\W\d_]{{1,6}}\.?)?{POWER}(?:\([A-Z]\))?"
)
UNIT = rf"(?:{WORD}\s{MONEY}|{MONEY}(?:\s?/\s?{WORD})?|[%‰×★]|[\"'′]{{1,2}}|°\s?[CFK]?|/\s?\d{{1,3}}|/\s?{WORD}|{WORD})"  # noqa: RUF001
BOUND = (
    r"(?:[<>≤≥~≈±]=?|ca\.?|c\.|circa|approx\.?|approximately|about|around|almost|nearly|exactly|from|over|under|up to"
    r"|(?:more|less|fewer) than|at least|at most|min\.?|max\.?|über|unter|bis zu|约)"
)
BEFORE = "".join(
    (
        rf"{BOUND}?\s*(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<money>{MONEY})?\s*(?P<sign2>[-+])?",
        r"\s?(?(open)|(?P<open2>\()?)\s?",
    )
)
AFTER = r"(?P<close>\))?\s?(?P<trail>[-+])?(?:\s(?:or|and) (?:more|over|less))?"
WRITTEN = re.compile(rf"{BEFORE}(?P<digits>{DIGITS})\s*(?P<unit>{UNIT})?\s*{AFTER}")
LOW = rf"(?P<money1>{MONEY})?\s?(?P<low>{DIGITS})\s?(?P<unit1>{UNIT})?"
HIGH = rf"(?P<money2>{MONEY})?\s?(?P<high>{DIGITS})\s?(?P<unit2>{UNIT})?"
RANGE = re.compile(rf"(?:between )?{LOW}\s?(?:-|to|bis|~|and)\s?{HIGH}")
MONEY_SIGN, MONEY_LAST = re.compile(MONEY), re.compile(rf"(?<=\s){MONEY}$")
SLASH = re.compile(r"\s?/\s?(100)?\s?")
GROUPS = {",": re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}"), ".": re.compile(r"\d{1,3}(?:\.\d{3})+")}
BLANKS = re.compile(r"(?<=\d)['’\u00a0\u2009\u202f ](?=\d{3}(?!\d))")
SCORE = re.compile(r"/\s?(\d{1,3})")
LONGEST, MOST_TOTALS = 60, 6
FREQUENT = 0.95
"""Share of the cells with a unit that one has alone where others cannot be converted; those others are broken."""

Decimal = Literal[".", ","]


class WrittenNumber(NamedTuple):
    """A number as it is written: signs, digits and what stands around them."""

    sign: float
    digits: tuple[str, ...]
    unit: str
    money: str


def split_number(text: str) -> WrittenNumber | None:
    """Split a written number into its parts.

    Args:
        text: A cell.

    Returns:
        Its parts, two digits strings of a range; None where it is no number.
    """
    if len(text) > LONGEST:
        return None
    text = to_one_number(text)
    match = WRITTEN.fullmatch(text)
    if match:
        return _of_one(match)
    match = RANGE.fullmatch(text)
    if match is None:
        return None
    units = {unit for unit in match.group("unit1", "unit2", "money1", "money2") if unit}
    money = {unit for unit in units if MONEY_SIGN.fullmatch(unit)}
    if len(money) > 1 or len(units - money) > 1:
        return None
    return WrittenNumber(1.0, (match["low"], match["high"]), next(iter(units - money), ""), next(iter(money), ""))


def is_range(text: str) -> bool:
    """Tell whether text is a range of numbers, such as ``20-29``."""
    written = split_number(text)
    return written is not None and len(written.digits) > 1


def _of_one(match: re.Match[str]) -> WrittenNumber | None:
    is_in_parentheses = bool(match["open"] or match["open2"])
    if is_in_parentheses != bool(match["close"]) or (is_in_parentheses and match["sign"]):
        return None
    unit, money = match["unit"] or "", match["money"] or ""
    if sign := MONEY_SIGN.match(unit) or MONEY_LAST.search(unit):
        unit, money = (unit[: sign.start()] + unit[sign.end() :]).strip(), money or sign.group()
    negative = is_in_parentheses or "-" in (match["sign"], match["sign2"], match["trail"])
    return WrittenNumber(-1.0 if negative else 1.0, (match["digits"],), SLASH.sub(r"/\1", unit), money.replace(" ", ""))


@dataclass(frozen=True)
class NumberForm:
    """How the numbers of one column are written.

    Attributes:
        decimal: The decimal mark; the other one of "." and "," groups thousands.
        unit: The unit in which numbers are returned: the most frequent one; empty where there is none.
        factors: Unit to what one of it is in ``unit``; "" is a number without a unit.
    """

    decimal: Decimal = "."
    unit: str = ""
    factors: dict[str, float] = field(default_factory=lambda: {"": 1.0})

    @property
    def is_plain(self) -> bool:
        """Whether it is how numbers are written everywhere: with a point and without a unit."""
        return self == NumberForm()

    def read(self, text: str) -> float:
        """Read a number.

        Args:
            text: A present cell.

        Returns:
            The number in ``unit``; the middle of a range, the bound of ``>100``.

        Raises:
            CellReadError: If it is no number of this form.
        """
        written = split_number(text)
        if written is None:
            raise CellReadError(f"{quote(text)} is not a number")
        factor = self.factors.get(_unit_of(written))
        if factor is None:
            expected = f" in {self.unit}" if self.unit else " without a unit"
            raise CellReadError(f"{quote(text)} has another unit; expected numbers{expected}")
        values = [to_float(digits, self.decimal) for digits in written.digits]
        if not all(map(math.isfinite, values)) or values != sorted(values):
            raise CellReadError(f"{quote(text)} is not a number written with {self.decimal!r} as decimal mark")
        return written.sign * factor * sum(values) / len(values)

    def state(self) -> dict[str, Any]:
        """Return the form as plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Say how the numbers are written, as one clause; empty for plain ones."""
        parts = [f"in {self.unit}"] if self.unit else []
        others = [unit for unit, factor in self.factors.items() if unit not in ("", self.unit) and factor != 1.0]
        parts += [f"{', '.join(others)} converted"] if others else []
        parts += ["with a decimal comma"] if self.decimal == "," else []
        return ", ".join(parts)


def to_float(digits: str, decimal: Decimal) -> float:
    """Convert digits with marks to a number.

    Args:
        digits: Such as ``1,234.5``.
        decimal: The decimal mark.

    Returns:
        The number; NaN where its marks do not fit.
    """
    text, group = BLANKS.sub("", digits), "," if decimal == "." else "."
    whole, mark, rest = text.partition(decimal)
    if group in whole:
        if not GROUPS[group].fullmatch(whole):
            return math.nan
        whole = whole.replace(group, "")
    try:
        return float(f"{whole}.{rest}" if mark else whole)
    except ValueError:
        return math.nan


def _unit_of(written: WrittenNumber) -> str:
    return (
        f"{written.money} {written.unit}".strip() if written.money and written.unit else written.money or written.unit
    )


def find_number_form(cells: Iterable[str]) -> NumberForm | None:
    """Decide how the numbers of a column are written.

    Args:
        cells: Present cells; those that are no numbers do not count.

    Returns:
        The form; None where there are no numbers, or numbers in units that cannot be converted into each other.
    """
    written = [found for cell in cells if (found := split_number(cell)) is not None]
    if not written:
        return None
    decimal = _decimal_mark([digits for number in written for digits in number.digits])
    units = Counter(map(_unit_of, written))
    factors = _factors(units, written, decimal)
    if factors is None:
        return None
    named = [unit for unit, _ in units.most_common() if unit and factors.get(unit) == 1.0]
    return NumberForm(decimal, named[0] if named else "", factors)


def _decimal_mark(digits: Sequence[str]) -> Decimal:
    """Decide the decimal mark by those numbers that tell it; ``1,234`` alone counts as thousands."""
    votes: Counter[Decimal] = Counter(vote for text in digits if (vote := _vote(text)) is not None)
    return "," if votes[","] > votes["."] else "."


def _vote(text: str) -> Decimal | None:
    commas, points = text.count(","), text.count(".")
    if commas and points:
        return "," if text.rindex(",") > text.rindex(".") else "."
    if commas + points == 0:
        return None
    mark: Decimal = "," if commas else "."
    other: Decimal = "." if commas else ","
    if commas + points > 1:
        return other
    before, _, after = text.partition(mark)
    is_ambiguous = len(after) == 3 and 1 <= len(before) <= 3 and before != "0"
    return None if is_ambiguous else mark


def _factors(units: Counter[str], written: Sequence[WrittenNumber], decimal: Decimal) -> dict[str, float] | None:
    named = [unit for unit, _ in units.most_common() if unit]
    if not named:
        return {"": 1.0}
    tables = (*FAMILIES, _multiplied(named), _scores(named))
    if len(named) == 1:
        tables = tables[-2:-4:-1] if "" in units else ()  # 5B beside 5 are billions, not bytes
    for table in tables:
        if all(unit in table for unit in named):
            scale = 1.0 if "" in table else table[named[0]]
            return {"": 1.0} | {unit: table[unit] / scale for unit in named}
    if len(named) == 1:
        return {named[0]: 1.0, "": _plain_factor(named[0], written, decimal)}
    frequent = [unit for unit in named if units[unit] >= FREQUENT * sum(units[name] for name in named)]
    return {frequent[0]: 1.0, "": 1.0} if frequent else None


def _multiplied(named: Sequence[str]) -> dict[str, float]:
    """Return a table of thousands and millions, of plain numbers or of one currency."""
    money = {match.group() for unit in named if (match := MONEY_SIGN.match(unit))}
    if len(money) > 1:
        return {}
    prefix = next(iter(money), "")
    words = MULTIPLIERS | MONEY_MULTIPLIERS if money else MULTIPLIERS
    return {"": 1.0, prefix: 1.0} | {f"{prefix} {word}".strip(): factor for word, factor in words.items()}


def _scores(named: Sequence[str]) -> dict[str, float]:
    """Return a table of scores out of few different totals, such as ``8/10`` and ``18/20``, as shares of the total."""
    totals = {unit: SCORE.fullmatch(unit) for unit in named}
    if len(named) > MOST_TOTALS or not all(totals.values()):
        return {}
    return {unit: 1 / max(int(total[1]), 1) for unit, total in totals.items() if total}


def _plain_factor(unit: str, written: Sequence[WrittenNumber], decimal: Decimal) -> float:
    """Return what a number without a unit is beside numbers with one: a share beside percents may be of one."""
    plain = [to_float(number.digits[0], decimal) for number in written if not _unit_of(number)]
    return 100.0 if unit == "%" and plain and all(abs(value) <= 1 for value in plain) else 1.0
