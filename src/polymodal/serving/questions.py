"""What a request asks: rows of cells, checked against the model's columns, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polymodal.arrays import Cell
from polymodal.errors import did_you_mean
from polymodal.serving.cells import is_unseen, read_cell
from polymodal.serving.columns import InputColumn
from polymodal.serving.request_error import RequestError
from polymodal.serving.settings import Limits

SHOWN_NAMES = 60


@dataclass(frozen=True)
class Row:
    """A checked row.

    Attributes:
        cells: Column to cell, of all columns; None where absent.
        absent: Columns without a cell.
        unseen: Columns whose category was not seen in training.
    """

    cells: dict[str, Cell]
    absent: tuple[str, ...]
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is wanted of predictions besides the answers; requests with equal options share a batch.

    Attributes:
        coverage: How often sets and intervals are to hold the truth; None: there are none.
        weights: Whether the fusion's weights of the streams are wanted.
        unusual: Whether to tell how unusual each row is.
    """

    coverage: float | None = None
    weights: bool = False
    unusual: bool = False


@dataclass(frozen=True)
class Question:
    """A checked request.

    Attributes:
        rows: The rows.
        options: What is wanted.
        is_strict: Whether a cell that cannot be decoded refuses the request.
        notices: What was not read, a sentence each.
    """

    rows: tuple[Row, ...]
    options: Options = field(default_factory=Options)
    is_strict: bool = False
    notices: tuple[str, ...] = ()


class RowReader:
    """Checks rows against the columns of a model.

    Attributes:
        columns: The columns that clients may send.
        others: Columns of the training table that are no inputs, which are not read.
        limits: What the server takes.
    """

    def __init__(self, columns: Mapping[str, InputColumn], others: frozenset[str], limits: Limits) -> None:
        """Store what rows are checked against.

        Args:
            columns: The columns that clients may send.
            others: Columns of the training table that are no inputs.
            limits: What the server takes.
        """
        self.columns = columns
        self.others = others
        self.limits = limits

    def read(self, rows: Sequence[Any]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
        """Check rows.

        Args:
            rows: One mapping of columns to values each.

        Returns:
            The checked rows, and a notice for columns that are no inputs.

        Raises:
            RequestError: If there are no rows or too many, or a row or a cell is wrong.
        """
        if not rows:
            raise RequestError(422, "The request has no rows. Expected at least one row.")
        if len(rows) > self.limits.max_rows:
            raise RequestError(
                413, f"The request has {len(rows):,} rows, above this server's limit of {self.limits.max_rows:,}."
            )
        read = tuple(self._read_row(number, row) for number, row in enumerate(rows, 1))
        unread = sorted({name for row in rows for name in row if name not in self.columns})
        notices = tuple(f"The column {name!r} is not an input of the model and was not read." for name in unread)
        if empty := [number for number, row in enumerate(read, 1) if len(row.absent) == len(self.columns)]:
            notices += (f"Row {empty[0]} has no cell at all: its answer is what holds without any input.",)
        return read, notices

    def _read_row(self, number: int, row: Any) -> Row:
        if not isinstance(row, Mapping):
            raise RequestError(422, f"Row {number} is no object. Expected one cell a column, by the column's name.")
        for name in row:
            if name not in self.columns and name not in self.others:
                advice = did_you_mean(name[:SHOWN_NAMES], self.columns, "The columns are")
                raise RequestError(422, f"Row {number} has a column {name[:SHOWN_NAMES]!r}, unknown here. {advice}")
        if not any(name in self.columns for name in row):
            names = ", ".join(map(repr, self.columns))
            raise RequestError(422, f"Row {number} has no column of the model. Expected some of: {names}.")
        cells = {name: read_cell(number, column, row.get(name), self.limits) for name, column in self.columns.items()}
        absent = tuple(name for name, cell in cells.items() if cell is None)
        categories = (column for column in self.columns.values() if column.kind == "category")
        unseen = tuple(c.name for c in categories if cells[c.name] is not None and is_unseen(c, cells[c.name]))
        return Row(cells, absent, unseen)


def read_options(content: Mapping[str, Any], known: frozenset[str]) -> tuple[Options, bool]:
    """Check what a request wants of predictions.

    Args:
        content: The request without its rows.
        known: Other names that it may hold.

    Returns:
        The options, and whether cells that cannot be decoded refuse the request.

    Raises:
        RequestError: If a name is unknown, or a value of the wrong type.
    """
    names = {"coverage", "weights", "unusual", "strict"}
    for name in content:
        if name not in names | known:
            advice = did_you_mean(name[:SHOWN_NAMES], sorted(names | known), "It may hold")
            raise RequestError(422, f"The request holds {name[:SHOWN_NAMES]!r}, which is unknown here. {advice}")
    flags = {name: _flag(content, name) for name in ("weights", "unusual", "strict")}
    options = Options(coverage=_coverage(content), weights=flags["weights"], unusual=flags["unusual"])
    return options, flags["strict"]


def _flag(content: Mapping[str, Any], name: str) -> bool:
    value = content.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(422, f"The field {name!r} must be true or false.")
    return bool(value)


def _coverage(content: Mapping[str, Any]) -> float | None:
    value = content.get("coverage")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise RequestError(422, "The field 'coverage' must be a number above 0 and below 1, such as 0.9.")
    return float(value)


def read_top(content: Mapping[str, Any], most: int) -> int:
    """Check how many results are wanted.

    Args:
        content: The request.
        most: Most results.

    Returns:
        The number, 10 if none is given.

    Raises:
        RequestError: If it is no whole number from 1 to the most.
    """
    value = content.get("top", 10)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RequestError(422, f"The field 'top' must be a whole number from 1 to {most:,}.")
    return value
