"""Invalid target cells of a table, and notices of fitted targets."""

from __future__ import annotations

from collections.abc import Mapping

from polymodal.arrays import BrokenCell
from polymodal.data.tables.table import Table
from polymodal.modalities.base import is_absent, quote
from polymodal.modalities.number import is_missing_word
from polymodal.targets import AnyTarget, NumberTarget, RowContext, StructuredTarget
from polymodal.targets.number import read_number


def invalid_target_cells(table: Table, targets: Mapping[str, AnyTarget]) -> list[BrokenCell]:
    """Name the target cells that hold something, but no truth.

    Args:
        table: The table.
        targets: Name to fitted target.

    Returns:
        Those of structured targets, and of numbers those that hold no finite number and no word for a missing one.
    """
    context = RowContext(table.columns, table.folder)
    numbers = [
        BrokenCell(row + 1, name, f"{quote(cell)} is no finite number")
        for name, target in targets.items()
        if isinstance(target, NumberTarget) and name in table.columns
        for row, cell in enumerate(table.columns[name])
        if not is_absent(cell) and not is_missing_word(cell) and read_number(cell) is None
    ]
    return numbers + [
        BrokenCell(row + 1, name, reason)
        for name, target in targets.items()
        if isinstance(target, StructuredTarget) and name in table.columns
        for row, reason in target.invalid_cells(table.columns[name], context)
    ]


def target_notices(targets: Mapping[str, AnyTarget]) -> list[str]:
    """Collect the notices of the fitted targets.

    Args:
        targets: Name to fitted target.

    Returns:
        Sentences for the user.
    """
    return [
        f"The target {name!r}: {notice}."
        for name, target in targets.items()
        if isinstance(target, StructuredTarget)
        for notice in target.notices()
    ]
