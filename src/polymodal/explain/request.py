"""What is to be explained: rows, targets and streams, checked against the table and the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError, TableError, did_you_mean, parameter_error
from polymodal.explain.outputs import explained_targets
from polymodal.explain.shapley import MAX_EXACT, SAMPLED_COALITIONS
from polymodal.model.trained_model import TrainedModel

SHOWN_ROWS = 20
"""Rows that are explained one by one where no rows are named: the first ones."""
SUMMARY_ROWS = 200
"""Rows that are summarised where no rows are named: the first ones."""
ASKED_ANSWERS = 50_000
"""About how many final answers the summary asks at most, where no rows are named; it then takes fewer rows."""


@dataclass(frozen=True)
class Request:
    """What is to be explained.

    Attributes:
        rows: int64, indices of the rows that are summarised, from 0.
        num_shown: How many of them, the first ones, are explained one by one.
        targets: The targets.
        streams: The streams of which cells are explained.
        notices: Which rows were left out.
    """

    rows: NDArray[np.int64]
    num_shown: int
    targets: list[str]
    streams: list[str]
    notices: list[str]


def check_request(
    model: TrainedModel,
    table: Table,
    rows: Sequence[int] | None,
    targets: Sequence[str] | None,
    streams: Sequence[str] | None,
    shown: Sequence[int] | None = None,
) -> Request:
    """Check what a user asked for.

    Args:
        model: The trained model.
        table: The table.
        rows: Numbers of rows, from 1; None: the first ones.
        targets: Names of targets; None: all of them.
        streams: Streams of which cells are explained; None: all of them.
        shown: Numbers of those of ``rows`` that are explained one by one; None: all of them.

    Returns:
        The request.

    Raises:
        ConfigError: If the model has no target, or there is no such row.
        SchemaError: If there is no such target or stream.
        TableError: If the table has no rows.
    """
    known = explained_targets(model.targets)
    if not known:
        raise ConfigError("This model has no target to explain: it embeds rows. Use `embed` or `search`.")
    chosen = list(dict.fromkeys(known if targets is None else targets))
    inside = list(dict.fromkeys(model.network.streams if streams is None else streams))
    _check_names(chosen, known, "target")
    _check_names(inside, model.network.streams, "stream")
    if not table.num_rows:
        raise TableError(f"{table.name} has no rows to explain. Expected at least one.")
    if rows is not None:
        numbers = _check_rows(table, rows)
        first = numbers if shown is None else _check_rows(table, shown)
        return Request(np.append(first, np.setdiff1d(numbers, first)) - 1, len(first), chosen, inside, [])
    most = summary_rows(len(model.network.streams))
    summarised, num_shown = min(table.num_rows, most), min(table.num_rows, SHOWN_ROWS)
    notices = _notices(table, summarised, num_shown)
    return Request(np.arange(summarised), num_shown, chosen, inside, notices)


def _check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise SchemaError(f"The model has no {what} {name!r}. {did_you_mean(name, known)}")


def _check_rows(table: Table, rows: Sequence[int]) -> NDArray[np.int64]:
    if isinstance(rows, str) or not len(rows) or not all(isinstance(row, int | np.integer) for row in rows):
        raise parameter_error("rows", "explain", "None or row numbers such as [1, 5], at least one", rows)
    numbers = np.array(list(dict.fromkeys(rows)), np.int64)
    wrong = numbers[(numbers < 1) | (numbers > table.num_rows)]
    if len(wrong):
        raise ConfigError(
            f"{table.name} has no row {wrong[0]:,}: its rows are numbered from 1 to {table.num_rows:,}. "
            "Choose other --rows."
        )
    return np.sort(numbers)


def summary_rows(num_streams: int) -> int:
    """Return how many rows are summarised where no rows are named, in bounded time.

    Args:
        num_streams: Streams of the model.

    Returns:
        At most ``SUMMARY_ROWS``, fewer of many streams.
    """
    asked = 2**num_streams if num_streams <= MAX_EXACT else SAMPLED_COALITIONS
    return max(SHOWN_ROWS, min(SUMMARY_ROWS, ASKED_ANSWERS // asked))


def _notices(table: Table, summarised: int, shown: int) -> list[str]:
    if shown == table.num_rows:
        return []
    summary = "" if summarised == shown else f", and the first {summarised:,} are summarised"
    return [
        f"The first {shown:,} of {table.num_rows:,} rows of {table.name} are explained{summary}; "
        "name others with --rows."
    ]
