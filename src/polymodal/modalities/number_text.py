"""Numbers as people write them: money, thousands, decimal commas, shares, units, ranges and bounds.

The form is decided once, from the training cells of a column, and read the same way from every later table.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.compound_numbers import to_one_number

MISSING_WORDS = frozenset(
    {"nan", "na", "n/a", "<na>", "null", "none", "-", "?", "#n/a", "#na", "n.a.", "n.a", "nat", "nil", "(null)", "."}
    | {"--", "---", "–", "—", "..", "...", "…", "*", "missing", "unknown", "unk", "undefined", "not available"}
    | {"not applicable", "not recorded", "not reported", "no data", "tbd", "tba", "void", "empty", "blank", "(blank)"}
    | {"#value!", "#div/0!", "#ref!", "#num!", "#name?", "#null!", "未知", "无", "缺失", "暂无", "不详"}
)
"""Text, in any case, that stands for an absent number or date."""
CODES = "USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL|KRW"
SYMBOLS = "".join(chr(code) for code in range(0x24, 0x20C1) if unicodedata.category(chr(code)) == "Sc")
MONEY = rf"(?:(?:US|HK|NT|A|C|R)\$|{CODES}|Rs\.?|[{SYMBOLS}])"
DIGITS = r"(?:\d(?:[\d.,'’\u00a0\u2009\u202f ]*\d)?|[.,]\d+)(?:[eE][-+]?\d+)?"
WORD = r"[^\W\d_]{1,8}\.?(?:\s?[/·*]\s?[^\W\d_]{1,5})?[23]?(?:\s[^\W\d_]{1,6}\.?)?[23]?"
UNIT = rf"(?:{MONEY}(?:\s?/\s?{WORD})?|[%‰\"']|°\s?[CFK]?|/\s?\d{{1,3}}|/\s?{WORD}|{WORD})"
BOUND = r"(?:[<>≤≥~≈]=?|ca\.?|approx\.?|about|from|over|under|up to|at least|at most|min\.?|max\.?|约)"
BEFORE = rf"{BOUND}?\s*(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<money>{MONEY})?\s*(?P<sign2>[-+])?"
WRITTEN = re.compile(rf"{BEFORE}(?P<digits>{DIGITS})\s*(?P<unit>{UNIT})?\s*(?P<close>\))?(?P<trail>[-+])?")
LOW = rf"(?P<money1>{MONEY})?\s?(?P<low>{DIGITS})\s?(?P<unit1>{UNIT})?"
HIGH = rf"(?P<money2>{MONEY})?\s?(?P<high>{DIGITS})\s?(?P<unit2>{UNIT})?"
RANGE = re.compile(rf"{LOW}\s?(?:-|–|—|to|bis|~)\s?{HIGH}")
MONEY_SIGN = re.compile(MONEY)
GROUPS = {",": re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}"), ".": re.compile(r"\d{1,3}(?:\.\d{3})+")}
BLANKS = re.compile(r"(?<=\d)['’\u00a0\u2009\u202f ](?=\d{3}(?!\d))")
LONGEST = 60
FREQUENT = 0.95
"""Share of the cells with a unit that one has alone where others cannot be converted; those others are broken."""

FAMILIES: tuple[Mapping[str, float], ...] = (
    {"mg": 1e-6, "g": 1e-3, "gr": 1e-3, "gram": 1e-3, "grams": 1e-3, "kg": 1.0, "kgs": 1.0, "t": 1e3}
    | {"oz": 0.028349523125, "ounces": 0.028349523125, "lb": 0.45359237, "lbs": 0.45359237, "pounds": 0.45359237},
    {"nm": 1e-9, "µm": 1e-6, "μm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
    | {"in": 0.0254, "inch": 0.0254, "inches": 0.0254, '"': 0.0254, "ft": 0.3048, "feet": 0.3048, "mi": 1609.344},
    {"ml": 1e-3, "mL": 1e-3, "cl": 1e-2, "dl": 0.1, "l": 1.0, "L": 1.0, "litre": 1.0, "liter": 1.0},
    {"ms": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "min": 60.0, "mins": 60.0, "minutes": 60.0}
    | {"h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0},
    {"B": 1.0, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    {"W": 1.0, "kW": 1e3, "MW": 1e6},
    {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
)
"""Units that can be converted, each family in a unit of its own."""
MULTIPLIERS = {"k": 1e3, "K": 1e3, "M": 1e6, "mn": 1e6, "million": 1e6, "bn": 1e9, "B": 1e9, "billion": 1e9}
MULTIPLIERS |= {"lakh": 1e5, "Lakh": 1e5, "Lac": 1e5, "crore": 1e7, "Crore": 1e7, "Cr": 1e7}
MULTIPLIERS |= {"thousand": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8}
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
    text = to_one_number(unicodedata.normalize("NFKC", text.strip().replace("\u2212", "-")))
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
    if bool(match["open"]) != bool(match["close"]) or (match["open"] and match["sign"]):
        return None
    unit, money = match["unit"] or "", match["money"] or ""
    if sign := MONEY_SIGN.match(unit):
        unit, money = unit[sign.end() :].strip(), money or sign.group()
    negative = bool(match["open"]) or "-" in (match["sign"], match["sign2"], match["trail"])
    return WrittenNumber(-1.0 if negative else 1.0, (match["digits"],), unit, money)


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
    if len(named) == 1 and ("" not in units or named[0] not in _multiplied(named)):
        return {named[0]: 1.0, "": _plain_factor(named[0], written, decimal)}
    for table in (*FAMILIES, _multiplied(named)):
        if all(unit in table for unit in named):
            scale = 1.0 if "" in table else table[named[0]]
            return {"": 1.0} | {unit: table[unit] / scale for unit in named}
    frequent = [unit for unit in named if units[unit] >= FREQUENT * sum(units[name] for name in named)]
    return {frequent[0]: 1.0, "": 1.0} if frequent else None


def _multiplied(named: Sequence[str]) -> dict[str, float]:
    """Return a table of thousands and millions, of plain numbers or of one currency."""
    money = {match.group() for unit in named if (match := MONEY_SIGN.match(unit))}
    if len(money) > 1:
        return {}
    prefix = next(iter(money), "")
    return {"": 1.0, prefix: 1.0} | {f"{prefix} {word}".strip(): factor for word, factor in MULTIPLIERS.items()}


def _plain_factor(unit: str, written: Sequence[WrittenNumber], decimal: Decimal) -> float:
    """Return what a number without a unit is beside numbers with one: a share beside percents may be of one."""
    plain = [to_float(number.digits[0], decimal) for number in written if not _unit_of(number)]
    return 100.0 if unit == "%" and plain and all(abs(value) <= 1 for value in plain) else 1.0
