"""Splits of rows into training, validation and test.

Four strategies, depending on the arguments:

- ``time``: the latest rows are held out, the very latest for the last part.
- ``group``: no group has rows in two parts.
- stratified: every part has the label distribution of the first target.
- random: if there is no target, or few of its values are repeated.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError
from polymodal.modalities import CellReadError, DateTime, DateTimeSettings
from polymodal.modalities.date_text import EPOCH, DateOrder
from polymodal.modalities.datetime import parse_datetime
from polymodal.modalities.number import parse_number

TRAIN = "train"
Rows = NDArray[np.int64]
GROUP_DRAWS = 200
CLOSE = 0.1


def split_rows(
    table: Table,
    *,
    targets: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    fractions: Mapping[str, float],
    seed: int = 0,
) -> dict[str, Rows]:
    """Split a table's rows into training rows and held-out parts.

    Labels with a single row train; so do rows without a group, and rows whose time is absent or cannot be read.
    Rows of the same time stay in table order and may stand on both sides of a cut.

    Args:
        table: The table.
        targets: Columns to predict; the first one's labels are kept in proportion.
        group: Column whose values never stand on two sides.
        time: Column of numbers or dates; the latest rows are held out.
        fractions: Held-out part to its share of all rows, from the earliest to the latest, such as
            ``{"validation": 0.1, "test": 0.1}``. Every part gets a row at least.
        seed: Seed of the split.

    Returns:
        ``train`` and each part of ``fractions`` to its row indices, int64 ``[rows of the part]``, in ascending order.

    Raises:
        SchemaError: If a column does not exist, there are too few rows or groups, or no time can be read.
        ConfigError: If both a group and a time are named, or the fractions leave nothing to train on.

    Example:
        >>> table = Table({"label": ["a", "b"] * 5})
        >>> {part: len(rows) for part, rows in split_rows(table, targets=["label"], fractions={"test": 0.2}).items()}
        {'train': 8, 'test': 2}
    """
    _check_request(table, targets, group, time, fractions)
    generator = np.random.default_rng(seed)
    sizes = {part: max(1, round(share * table.num_rows)) for part, share in fractions.items()}
    if group is not None:
        held = _by_group(table.columns[group], group, sizes, generator)
    elif time is not None:
        held = _by_time(table.columns[time], time, sizes)
    else:
        held = _stratified(_strata(table, targets), sizes, generator)
    return _with_training_rows(held, fractions, table.num_rows)


def _check_request(
    table: Table, targets: Sequence[str], group: str | None, time: str | None, fractions: Mapping[str, float]
) -> None:
    if group is not None and time is not None:
        raise ConfigError(f"Rows are split by group ({group!r}) or by time ({time!r}), not by both. Name one of them.")
    table.check_columns(targets, "--target")
    table.check_columns([] if group is None else [group], "--group")
    table.check_columns([] if time is None else [time], "--time")
    if TRAIN in fractions or any(share <= 0 for share in fractions.values()) or sum(fractions.values()) >= 1:
        raise ConfigError(
            f"The shares of rows to hold out must be above 0 and below 1 in all. Got {dict(fractions)} instead. "
            "Lower --validation-share or --test-share."
        )
    if table.num_rows <= len(fractions):
        raise SchemaError(
            f"{table.name} has {_count(table.num_rows, 'row')}, too few to hold out a part for "
            f"{' and '.join(fractions)}. Give more rows, or give those parts as tables of their own."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _with_training_rows(held: Mapping[str, Rows], order: Mapping[str, float], num_rows: int) -> dict[str, Rows]:
    is_training = np.ones(num_rows, dtype=bool)
    for rows in held.values():
        is_training[rows] = False
    return {TRAIN: np.flatnonzero(is_training).astype(np.int64)} | {part: np.sort(held[part]) for part in order}


def group_text(cell: Cell) -> str | None:
    """Convert a group or label to text, so that 1, 1.0 and "1" are equal.

    Args:
        cell: String, number or list.

    Returns:
        The text, or None where the cell is absent.
    """
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, list | dict | tuple):
        return json.dumps(cell, default=str, sort_keys=True)
    return str(cell).strip() or None


def check_groups(train_groups: Sequence[Cell], other_groups: Sequence[Cell]) -> list[str]:
    """Return the groups that are in both parts, for a warning.

    Args:
        train_groups: Cells of the group column in the training rows.
        other_groups: Cells of the group column in the validation or test rows.

    Returns:
        The groups in both parts, sorted; empty without any.
    """
    both = {group_text(cell) for cell in train_groups} & {group_text(cell) for cell in other_groups}
    return sorted(group for group in both if group is not None)


def rows_apart(table: Table, rows: Rows, held: Rows, *, group: str | None = None, time: str | None = None) -> Rows:
    """Drop rows that would leak a held-out group, or the held-out times, into training.

    Args:
        table: The table.
        rows: Rows outside the split, such as unlabelled ones.
        held: Held-out rows.
        group: Column by which the table was split.
        time: Column by which it was split; what is not earlier than every held-out row is left out, and what has no
            time.

    Returns:
        The rows that training may see.
    """
    if group is not None and len(held):
        texts = [group_text(cell) for cell in table.columns[group]]
        apart = {texts[row] for row in held} - {None}
        return np.array([row for row in rows if texts[row] not in apart], dtype=np.int64)
    if time is not None and len(held):
        times = _times(table.columns[time])
        return rows[times[rows] < np.nanmin(times[held])]
    return rows


def _by_group(cells: Sequence[Cell], name: str, sizes: Mapping[str, int], generator: Any) -> dict[str, Rows]:
    texts = [group_text(cell) for cell in cells]
    counts = Counter(text for text in texts if text is not None)
    if len(counts) <= len(sizes):
        raise SchemaError(
            f"The group column {name!r} has {_count(len(counts), 'group')}, expected {len(sizes) + 1} at least: "
            f"one to train on and one for {' and '.join(sizes)}. Split without --group, or give those tables."
        )
    held: dict[str, Rows] = {}
    for position, (part, size) in enumerate(list(sizes.items())[::-1]):
        chosen = _choose_groups(counts, size, len(sizes) - position, generator)
        held[part] = np.array([row for row, text in enumerate(texts) if text in chosen], dtype=np.int64)
        counts = Counter({group: count for group, count in counts.items() if group not in chosen})
    return held


def _choose_groups(counts: Mapping[str, int], size: int, leave: int, generator: Any) -> set[str]:
    """Draw groups at random until their number of rows is within a tenth of the size; else use the nearest draw."""
    groups = sorted(counts)
    best: list[str] = []
    for _ in range(GROUP_DRAWS):
        order = [groups[i] for i in generator.permutation(len(groups))]
        drawn = _draw(order, counts, size, len(groups) - leave)
        if not best or _distance(drawn, counts, size) < _distance(best, counts, size):
            best = drawn
        if _distance(best, counts, size) <= CLOSE * size:
            break
    return set(best)


def _draw(order: Sequence[str], counts: Mapping[str, int], size: int, most: int) -> list[str]:
    drawn, total = [order[0]], counts[order[0]]
    for group in order[1:]:
        if len(drawn) < most and abs(total + counts[group] - size) < abs(total - size):
            drawn.append(group)
            total += counts[group]
    return drawn


def _distance(groups: Sequence[str], counts: Mapping[str, int], size: int) -> int:
    return abs(sum(counts[group] for group in groups) - size)


def _by_time(cells: Sequence[Cell], name: str, sizes: Mapping[str, int]) -> dict[str, Rows]:
    times = _times(cells)
    known = np.flatnonzero(~np.isnan(times))
    if len(known) <= len(sizes):
        raise SchemaError(
            f"The time column {name!r} has {_count(len(known), 'row')} whose time can be read, expected more. "
            f"It must hold numbers or dates such as 2024-05-31. Got {_examples(cells)}."
        )
    ordered = known[np.argsort(times[known], kind="stable")].astype(np.int64)
    held: dict[str, Rows] = {}
    for position, (part, size) in enumerate(list(sizes.items())[::-1]):
        cut = max(len(ordered) - size, len(sizes) - position)
        held[part], ordered = ordered[cut:], ordered[:cut]
    return held


def _examples(cells: Sequence[Cell]) -> str:
    present = [repr(cell)[:40] for cell in cells if cell is not None]
    return ", ".join(present[:3]) or "no value at all"


def _times(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Return float64 ``[rows]``: numbers, or seconds since 1970 where more cells are dates; NaN where unknown."""
    numbers = np.array([_number(cell) for cell in cells])
    if 2 * np.isfinite(numbers).sum() >= sum(cell is not None for cell in cells):
        return numbers
    order = DateTime.fit(cells, DateTimeSettings(), None).order
    return np.array([_seconds(cell, order) for cell in cells])


def _number(cell: Cell) -> float:
    try:
        number = parse_number(cell)
    except CellReadError:
        return math.nan
    return math.nan if number is None else number


def _seconds(cell: Cell, order: DateOrder) -> float:
    try:
        return math.nan if cell is None else (parse_datetime(cell, order=order) - EPOCH).total_seconds()
    except CellReadError:
        return math.nan


def _strata(table: Table, targets: Sequence[str]) -> list[str | None]:
    """Return each row's label; one and the same for all where labels hardly repeat."""
    if not targets:
        return [None] * table.num_rows
    labels = [group_text(cell) for cell in table.columns[targets[0]]]
    counts = Counter(labels)
    repeated = sum(count for count in counts.values() if count > 1)
    return labels if repeated > len(labels) / 2 else [None] * len(labels)


def _stratified(labels: Sequence[str | None], sizes: Mapping[str, int], generator: Any) -> dict[str, Rows]:
    rows_of: dict[str | None, list[int]] = {}
    for row in generator.permutation(len(labels)).tolist():
        rows_of.setdefault(labels[row], []).append(row)
    strata = list(rows_of.values())
    num_rows = sum(map(len, strata))
    held: dict[str, Rows] = {}
    for part, size in list(sizes.items())[::-1]:
        quotas = np.array([len(rows) for rows in rows_of.values()]) * (size / num_rows)
        counts = _whole_counts(quotas, size, np.array([len(rows) - 1 for rows in strata]))
        held[part] = np.array(
            [row for rows, count in zip(strata, counts, strict=True) for row in rows[:count]], dtype=np.int64
        )
        strata = [rows[count:] for rows, count in zip(strata, counts, strict=True)]
    return held


def _whole_counts(quotas: NDArray[np.float64], size: int, most: NDArray[Any]) -> list[int]:
    """Round quotas to whole rows that sum to the size: the largest remainders are rounded up."""
    counts = np.minimum(np.floor(quotas).astype(int), most)
    order = np.argsort(counts - quotas, kind="stable")
    while counts.sum() < size and (counts < most).any():
        for i in order:
            if counts.sum() < size and counts[i] < most[i]:
                counts[i] += 1
    return [int(count) for count in counts]
