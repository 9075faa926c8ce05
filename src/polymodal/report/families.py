"""Families of columns: names that differ in their number alone, such as ``margin1`` to ``margin64``."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

MIN_FAMILY = 5
"""Fewer columns of one stem stay apart."""

Item = TypeVar("Item")


def group_families(
    items: Sequence[Item], name: Callable[[Item], str], alike: Callable[[Item], Hashable]
) -> list[list[Item]]:
    """Group items whose names differ in their last number alone.

    Args:
        items: Items with names.
        name: Returns an item's name.
        alike: Returns what else the members of a family have in common.

    Returns:
        Groups of one item, or of at least ``MIN_FAMILY`` of one family, in the order of their first members.
    """
    families: dict[Hashable, list[Item]] = {}
    for item in items:
        families.setdefault((_stem(name(item)), alike(item)), []).append(item)
    grouped: list[list[Item]] = []
    for family in families.values():
        grouped += [family] if len(family) >= MIN_FAMILY else [[item] for item in family]
    places = {id(item): place for place, item in enumerate(items)}
    return sorted(grouped, key=lambda group: places[id(group[0])])


def family_title(names: Sequence[str]) -> str:
    """Name a group of columns.

    Args:
        names: Names of its columns, at least one.

    Returns:
        The name, or the first and the last one.
    """
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _stem(name: str) -> str:
    match = re.fullmatch(r"(.*?)\d+(\D*)", name, flags=re.DOTALL)
    return f"{match[1]}#{match[2]}" if match else name
