"""What a fitted preprocessor lacks in a table: absent columns, cells that cannot be read, categories it never saw."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import BrokenCell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, SchemaError, closest, list_names, warn
from polymodal.modalities import Tabular
from polymodal.modalities.base import quote
from polymodal.modalities.category import Category

READ_AS_MISSING = frozenset({"NA", "N/A", "NaN", "nan", "None", "null", "NULL", "n/a", "#N/A", "<NA>"})
"""Labels that pandas and others read as missing cells."""
NEARLY_ALL = 0.9
"""Share of a column's cells from which on it is told that they cannot be read, or were not seen in training."""
SHOWN_CELLS = 10
SHOWN_VALUES = 3


@dataclass
class _Counts:
    """The cells of a column, over all rows so far; of a target only the broken ones are counted."""

    read: int = 0
    unseen: int = 0
    broken: int = 0
    absent: int = 0
    is_input: bool = False
    lost_levels: frozenset[str] = frozenset()
    unseen_values: dict[str, None] = field(default_factory=dict)
    first_broken: list[BrokenCell] = field(default_factory=list)

    def see_levels(self, category: Category, codes: NDArray[np.float32]) -> None:
        """Keep the values that readers of tables take for missing cells, as long as no row has one of them.

        Args:
            category: Has the values of the training rows.
            codes: float32 ``[rows]``, 0 where absent or unseen, else the place of the value from 1.
        """
        lost = READ_AS_MISSING & category.known if self.read + self.absent == len(codes) else self.lost_levels
        is_seen = lost and not lost.isdisjoint(category.values[int(code) - 1] for code in np.unique(codes[codes > 0]))
        self.lost_levels = frozenset() if is_seen else lost

    @property
    def is_broken(self) -> bool:
        return self.is_input and self.broken > 0 and self.broken >= NEARLY_ALL * (self.read + self.broken)

    @property
    def is_unseen(self) -> bool:
        return self.unseen > 0 and self.unseen >= NEARLY_ALL * self.read


class InputCheck:
    """Transforms a table part by part, and tells once what the fitted columns lack in it.

    A table without any input column is refused. Absent columns are told before the first rows; broken cells, columns
    that turned into something else and values that were never seen are counted over all rows and told at the end.

    Example:
        >>> check = InputCheck(preprocessor, "new.csv")  # doctest: +SKIP
        >>> check.see_columns(table.columns)  # doctest: +SKIP
        >>> columns, broken = check.transform(table)  # doctest: +SKIP
        >>> check.finish()  # doctest: +SKIP
    """

    def __init__(self, preprocessor: Preprocessor, name: str, *, strict: bool = False) -> None:
        """Start at row 1.

        Args:
            preprocessor: The fitted preprocessor.
            name: The table's name, for messages.
            strict: Whether to raise what would be told.
        """
        self.preprocessor = preprocessor
        self.name = name
        self.strict = strict
        self._num_rows = 0
        self._seen: dict[str, None] = {}
        self._counts: dict[str, _Counts] = {}

    def see_columns(self, names: Iterable[str], *, more_may_come: bool = False) -> None:
        """Compare the table's columns with those of the model.

        Args:
            names: Names of the table's columns, or of those of its next rows.
            more_may_come: Whether later rows may have further columns; that some are absent is then told by ``finish``.

        Raises:
            SchemaError: If no input column is there, or, where strict, one is not.
        """
        self._seen |= dict.fromkeys(names)
        self._tell_absent(refuse_only=more_may_come)

    def transform(
        self,
        table: Table,
        cache: ArrayCache | None = None,
        *,
        more_broken: Sequence[BrokenCell] = (),
        rows: Sequence[int] | None = None,
    ) -> tuple[dict[str, Column], list[BrokenCell]]:
        """Transform the next rows to arrays.

        Args:
            table: The next rows.
            cache: Where decoded media columns are kept; None keeps nothing.
            more_broken: Broken cells of these rows in columns that are no inputs.
            rows: Numbers of these rows in the whole table, from 1, where some are left out; None: the next ones.

        Returns:
            Stream to arrays; and the broken cells, by their rows in the whole table.

        Raises:
            CellError: If strict and a cell cannot be decoded.
        """
        columns, broken = self.preprocessor.transform(table, cache)
        numbers = rows or range(self._num_rows + 1, self._num_rows + table.num_rows + 1)
        broken = [replace(cell, row=numbers[cell.row - 1]) for cell in (*broken, *more_broken)]
        if self.strict and broken:
            raise CellError(f"{self.name}, row {broken[0].row}, column {broken[0].column!r}: {broken[0].reason}.")
        self._num_rows += table.num_rows
        self._count(table, columns, broken)
        return columns, broken

    def finish(self) -> None:
        """Tell what was counted; call it behind the last rows.

        Raises:
            SchemaError: If no input column was there, or, where strict, a category's values were never seen.
        """
        self._tell_absent()
        for name, counts in self._counts.items():
            if counts.is_broken:
                warn(self._broken_sentence(name, counts))
            elif counts.is_unseen:
                self._tell(self._unseen_sentence(name, counts))
            if counts.absent and counts.lost_levels:
                warn(self._lost_sentence(name, counts))
        others = [counts for counts in self._counts.values() if not counts.is_broken]
        if number := sum(counts.broken for counts in others):
            first = sorted((cell for counts in others for cell in counts.first_broken), key=lambda cell: cell.row)
            warn(describe_broken(first, number, self.name))

    def _tell(self, sentence: str) -> None:
        if self.strict:
            raise SchemaError(f"{sentence} A strict run stops here.")
        warn(sentence)

    def _tell_absent(self, *, refuse_only: bool = False) -> None:
        needed = {
            entry.name: entry.parts or (entry.source or entry.name,) for entry in self.preprocessor.schema.columns
        }
        absent = {name: parts for name, parts in needed.items() if not self._has(name, parts)}
        lacking = [part for part in _unique(absent) if part not in self._seen]
        if not lacking:
            return
        listed, near = list_names(map(repr, lacking)), self._near(lacking, {*needed, *_unique(needed)})
        if len(absent) == len(needed):
            found = list_names(map(repr, self._seen))
            sentence = f"{self.name} has no input column of the model. Expected {listed}; got {found}.{near}"
            raise SchemaError(f"{sentence} Rename the columns.")
        if refuse_only:
            return
        self._tell(
            f"{self.name} lacks {len(lacking)} of the {len(_unique(needed))} input columns of the model: {listed}. "
            f"{'Its' if len(lacking) == 1 else 'Their'} cells count as missing.{near}"
        )
        self._seen |= dict.fromkeys(lacking)  # told once

    def _has(self, name: str, parts: Iterable[str]) -> bool:
        return name in self._seen or all(part in self._seen for part in parts)

    def _near(self, lacking: Sequence[str], inputs: Collection[str]) -> str:
        """Return which other columns of the table may be the lacking ones, or that its separator may be wrong."""
        others = [name for name in self._seen if name not in inputs]
        pairs = [f"{near!r} for {name!r}" for name in lacking if (near := closest(name, others)) is not None]
        if pairs:
            return f" Near matches: {list_names(pairs)}."
        joined = next((name for name in others if sum(part in name for part in lacking) > 1), None)
        return "" if joined is None else f" One column is called {joined!r}: is the separator right?"

    def _count(self, table: Table, columns: Mapping[str, Column], broken: Sequence[BrokenCell]) -> None:
        for cell in broken:
            counts = self._counts.setdefault(cell.column, _Counts())
            counts.broken += 1
            if len(counts.first_broken) < SHOWN_CELLS:
                counts.first_broken.append(cell)
        for stream in self.preprocessor.schema.streams:
            column, modality = columns[stream.name], self.preprocessor.modalities[stream.name]
            if isinstance(modality, Tabular):
                self._count_members(table, modality, column)
            else:
                self._input(stream.columns[0]).read += int(column.row_present.sum())

    def _count_members(self, table: Table, modality: Tabular, column: Column) -> None:
        num_present, is_zero = np.count_nonzero(column.present, axis=0).tolist(), column.values == 0
        for name, place in modality.places.items():
            counts, field, member = self._input(name), place.start, modality.members[name]
            counts.read += num_present[field]
            if not isinstance(member, Category):
                continue
            counts.absent += len(column) - num_present[field]
            counts.see_levels(member, column.values[:, field])
            unseen = np.flatnonzero(column.present[:, field] & is_zero[:, field])
            counts.unseen += len(unseen)
            for row in unseen[: SHOWN_VALUES * (len(counts.unseen_values) < SHOWN_VALUES)]:
                counts.unseen_values[quote(table.columns[name][row])] = None

    def _input(self, name: str) -> _Counts:
        counts = self._counts.setdefault(name, _Counts())
        counts.is_input = True
        return counts

    def _broken_sentence(self, name: str, counts: _Counts) -> str:
        first, total = counts.first_broken[0], counts.read + counts.broken
        return (
            f"{self.name}, column {name!r}: {counts.broken:,} of {total:,} cells cannot be read and count as missing, "
            f"as in row {first.row}: {first.reason}."
        )

    def _lost_sentence(self, name: str, counts: _Counts) -> str:
        words = list_names([repr(word) for word in sorted(counts.lost_levels)])
        return (
            f"{self.name}, column {name!r}: {counts.absent:,} cells are missing and none is {words}, which training "
            "rows have as a value. Was the table read by a program that takes it for a missing cell, as pandas does "
            "without keep_default_na=False? Then answers differ from those for the file itself."
        )

    def _unseen_sentence(self, name: str, counts: _Counts) -> str:
        shown = list_names(list(counts.unseen_values)[:SHOWN_VALUES])
        return (
            f"{self.name}, column {name!r}: {counts.unseen:,} of {counts.read:,} values were not seen in training, "
            f"such as {shown}. The model knows nothing of them."
        )


def _unique(columns: Mapping[str, Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(part for parts in columns.values() for part in parts))


def describe_broken(first: Sequence[BrokenCell], number: int, table: str = "", more: str = "") -> str:
    """List the first cells that could not be read, one a line.

    Args:
        first: The first of them.
        number: How many there are.
        table: The table's name, if the cells are all of one.
        more: Text that says where the others are listed.

    Returns:
        A sentence and the lines below it.
    """
    of_table = f" of {table}" if table else ""
    lines = [f"{number:,} cell{'s' * (number > 1)}{of_table} could not be read and counted as absent:"]
    lines += [f"  row {cell.row}, column {cell.column!r}: {cell.reason}" for cell in first[:SHOWN_CELLS]]
    return "\n".join([*lines, *([f"  and {number - SHOWN_CELLS:,} more{more}"] if number > SHOWN_CELLS else [])])
