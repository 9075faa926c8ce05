"""Matches the columns of series files by name, so that files whose columns come in another order mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polymodal.modalities.base import CellReadError, list_quoted


def common_names(found: Sequence[tuple[str, ...]], channels: int) -> list[str]:
    """Return the names by which columns are matched.

    Args:
        found: The columns' names of each training cell looked at; empty where it has none.
        channels: Columns of a series.

    Returns:
        The most frequent names in their most frequent order; empty unless most cells have those names and no two
        are alike.
    """
    plain = [tuple(map(_plain, names)) for names in found]
    counts = Counter(frozenset(names) for names in plain if names)
    if not counts:
        return []
    names, count = counts.most_common(1)[0]
    if 2 * count <= len(plain) or len(names) != channels or "" in names:
        return []
    orders = Counter(order for order in plain if len(order) == channels and frozenset(order) == names)
    return list(orders.most_common(1)[0][0]) if orders else []


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def in_order(values: NDArray[np.float64], names: tuple[str, ...], wanted: Sequence[str]) -> NDArray[np.float64]:
    """Bring columns into the order of the training series; columns that those lack are left out.

    Args:
        values: float64 ``[time, columns]``.
        names: Their names; empty where they have none.
        wanted: As of ``common_names``.

    Returns:
        float64 ``[time, channels]``; the values themselves where there are no names, or none of those wanted.

    Raises:
        CellReadError: If some of the columns wanted are there and some are not.
    """
    found = [_plain(name) for name in names]
    if not wanted or found == list(wanted) or not set(found) & set(wanted):
        return values
    absent = [name for name in wanted if name not in found]
    if absent:
        raise CellReadError(f"has no column {list_quoted(absent)}; its columns are {list_quoted(names)}")
    return values[:, [found.index(name) for name in wanted]]
