"""The order of a category's values, from the lowest to the highest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polymodal.errors import ConfigError
from polymodal.modalities.base import CellReadError, list_quoted
from polymodal.modalities.category import category_text
from polymodal.modalities.number import parse_number


def rank_values(column: str, values: Sequence[str], order: Sequence[Any] | None) -> list[float]:
    """Return the rank of each value.

    Args:
        column: The column's name, for messages.
        values: The training values.
        order: All of them and maybe others, from the lowest to the highest; None: they are sorted, as numbers if all of
            them are numbers, else as text.

    Returns:
        A whole number from 0 of each of ``values``.

    Raises:
        ConfigError: If the order lacks a value, or names one twice.
    """
    if order is None:
        ordered = sorted(values, key=_sort_key(values))
    else:
        ordered = [_text(column, value) for value in order]
        _check_complete(column, values, ordered)
    places = {value: float(place) for place, value in enumerate(ordered)}
    return [places[value] for value in values]


def _sort_key(values: Sequence[str]) -> Any:
    numbers = {value: _number(value) for value in values}
    if any(number is None for number in numbers.values()):
        return None
    return numbers.__getitem__


def _number(value: str) -> float | None:
    try:
        return parse_number(value)
    except CellReadError:
        return None


def _text(column: str, value: Any) -> str:
    try:
        return category_text(value)
    except CellReadError as error:
        raise ConfigError(f"The order of {column!r} is wrong: {error}.") from None


def _check_complete(column: str, values: Sequence[str], ordered: Sequence[str]) -> None:
    twice = [value for value in dict.fromkeys(ordered) if ordered.count(value) > 1]
    if twice:
        raise ConfigError(f"The order of {column!r} names {list_quoted(twice)} twice. Name each value once.")
    lacking = [value for value in values if value not in ordered]
    if lacking:
        raise ConfigError(
            f"The order of {column!r} lacks {list_quoted(lacking)}, which training rows have. Name all values, from "
            "the lowest to the highest."
        )
