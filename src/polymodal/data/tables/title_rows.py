"""Titles above the names of a table, as reports and exports have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_TITLES = 20
"""Rows at the top that are looked at."""


def count_titles(rows: Sequence[Sequence[Any]]) -> int:
    """Count the rows above the names of the columns.

    Args:
        rows: The first rows that have cells, an empty cell as "" or None.

    Returns:
        The number of rows with a first cell alone, where a row of names stands below them: two or more words in all its
        columns, and then a row that is as wide. 0 without such a row.
    """
    for place, row in enumerate(rows[:-1]):
        filled = _filled(row)
        if len(filled) > 1 or not _is_there(row[0]):
            is_title_above = place > 0 and _are_names(row) and len(_filled(rows[place + 1])) > 1
            return place if is_title_above and len(rows[place + 1]) == len(row) else 0
    return 0


def _is_there(cell: Any) -> bool:
    return cell is not None and str(cell).strip() != ""


def _filled(row: Sequence[Any]) -> list[Any]:
    return [cell for cell in row if _is_there(cell)]


def _are_names(row: Sequence[Any]) -> bool:
    return all(isinstance(cell, str) and any(map(str.isalpha, cell)) for cell in row) and len(set(row)) == len(row)
