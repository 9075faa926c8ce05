"""Invalid target cells of a table, and notices of fitted targets."""

from __future__ import annotations

from collections.abc import Mapping

from polymodal.arrays import BrokenCell
from polymodal.data.tables.table import Table
from polymodal.targets import AnyTarget, RowContext, StructuredTarget


def invalid_target_cells(table: Table, targets: Mapping[str, AnyTarget]) -> list[BrokenCell]:
    """Name the target cells that hold something, but no truth.

    Args:
        table: The table.
        targets: Name to fitted target.

    Returns:
        Those of structured targets; flat targets count such rows as unlabelled.
    """
    context = RowContext(table.columns, table.folder)
    return [
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
