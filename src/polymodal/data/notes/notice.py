"""A notice about the table, and how its sentence names columns, cells and rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.arrays import Cell
from polymodal.modalities.base import quote

FAMILY_SIZE = 4
"""Columns that differ by a number alone and are at least so many are named by the first and the last."""
MAX_NAMED = 5
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing that the user should know of the table.

    Attributes:
        kind: What it is about: a name in ``NOTICE_KINDS``.
        sentence: One or two sentences: what, where, how often, what to do.
        columns: Columns it is about.
        rows: Rows it is about; None where it is not about rows.
        of_rows: Rows that were looked at; None where it is not about rows.
    """

    kind: str
    sentence: str
    columns: tuple[str, ...] = ()
    rows: int | None = None
    of_rows: int | None = None

    def state(self) -> dict[str, Any]:
        """Return the notice as plain JSON."""
        return {
            "kind": self.kind,
            "columns": list(self.columns),
            "rows": self.rows,
            "of_rows": self.of_rows,
            "sentence": self.sentence,
        }


NOTICE_KINDS: Mapping[str, str] = {
    "dropped": "columns left out",
    "set_aside": "rows set aside",
    "cut": "clips, texts and series cut",
    "number_form": "how numbers are written",
    "missing_words": "values read as missing",
    "absent_files": "files that are not there",
    "number_like": "columns that look like numbers and are not read as such",
    "sentinel": "numbers that may stand for missing ones, and outliers",
    "same_column": "columns that hold the same",
    "leak": "columns that may give the answer away",
    "duplicate": "rows on both sides of a split",
    "conflict": "equal rows with other answers",
    "group": "groups on both sides of a split",
    "small_class": "classes with few rows",
    "imbalance": "classes of unequal size",
}
"""Kinds of notices in words, in the order in which they are told."""


def in_order(notices: Iterable[Notice]) -> list[Notice]:
    """Sort notices by kind; those of one kind keep their order.

    Args:
        notices: Any notices.

    Returns:
        The same ones.
    """
    order = list(NOTICE_KINDS)
    return sorted(notices, key=lambda notice: order.index(notice.kind))


def name_columns(names: Sequence[str]) -> str:
    """Name columns in a sentence; families such as ``margin1`` to ``margin192`` are named by first and last.

    Args:
        names: Columns, at least one.

    Returns:
        The names in quotes, at most five of them or of families, and how many others there are.

    Example:
        >>> name_columns(["a", *(f"m{i}" for i in range(1, 193))])
        "'a' and 'm1' to 'm192' (192 columns)"
    """
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(NUMBER.sub("#", name), []).append(name)
    groups = [
        group for family in families.values() for group in ([family] if _is_family(family) else [[n] for n in family])
    ]
    shown = [_name_group(group) for group in groups[:MAX_NAMED]]
    left = sum(map(len, groups[MAX_NAMED:]))
    return join_words([*shown, *([f"{left:,} more"] if left else [])])


def _is_family(names: Sequence[str]) -> bool:
    return len(names) >= FAMILY_SIZE


def _name_group(names: Sequence[str]) -> str:
    return repr(names[0]) if len(names) == 1 else f"{names[0]!r} to {names[-1]!r} ({len(names):,} columns)"


def join_words(words: Sequence[str]) -> str:
    """Join words with commas and a final "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def count(number: int, noun: str) -> str:
    """Write a number with its noun, which takes an s unless the number is one."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def drop_flag(names: Sequence[str]) -> str:
    """Return the options that leave columns out, for the end of a sentence.

    Args:
        names: Columns, at least one.

    Returns:
        ``--drop`` for each of a few columns, or one that names the first.
    """
    return " ".join(f"--drop {_shell(name)}" for name in names[:3]) + (" ..." if len(names) > 3 else "")


def _shell(name: str) -> str:
    return name if re.fullmatch(r"[\w.%+,/:@-]+", name) else "'" + name.replace("'", "'\\''") + "'"


def example(row: int, cell: Cell) -> str:
    """Name a cell as an example.

    Args:
        row: Row in its table, from 0.
        cell: Its cell.

    Returns:
        Such as ``row 3: 'unknown'``; rows count from 1.
    """
    return f"row {row + 1:,}: {quote(cell)}"
