"""Feature functions: Python of the user's that adds columns to a table before modalities are inferred.

A function takes the columns of a table, name to cells, and returns the new ones::

    def area(columns):
        return {"area": [None if w is None else float(w) * float(h) for w, h in zip(columns["w"], columns["h"])]}

It is given from Python, named by ``--features``, or an entry point ``polymodal.features`` of an installed package. A
run keeps its name alone: nothing is imported because a model or a configuration names it, unless an installed package
does too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.schema.samples import evenly_spaced
from polymodal.data.tables.cells import clean_column
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError, TableError, list_names
from polymodal.plugins import FEATURE_GROUP, installed

FeatureFunction = Callable[[Mapping[str, Sequence[Cell]]], Mapping[str, Sequence[Any]]]
"""From column to cells, one a row, to new columns of as many cells."""
CHECKED_ROWS = 10
"""Rows of a training table that a function is given one by one, to see whether it looks at other rows."""
GIVEN: ContextVar[Mapping[str, FeatureFunction]] = ContextVar("GIVEN", default={})  # noqa: B039 - never changed


class LackingColumnError(KeyError):
    """A feature function asked for a column that a table lacks."""


class FeatureColumns(Mapping[str, list[Cell]]):
    """The columns of a table as a feature function gets them: copies, without the targets."""

    def __init__(self, table: Table, hidden: Sequence[str]) -> None:
        """Keep the table; a column is copied when it is asked for.

        Args:
            table: The table.
            hidden: Columns that are not there.
        """
        self._columns = {name: cells for name, cells in table.columns.items() if name not in hidden}

    def __getitem__(self, name: str) -> list[Cell]:
        if name not in self._columns:
            raise LackingColumnError(name)
        return list(self._columns[name])

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def feature_name(function: object) -> str:
    """Name a feature function.

    Args:
        function: A function, an object that can be called, or the name of one that a package has.

    Returns:
        Its name without its module; of an object that of its class.

    Raises:
        ConfigError: If it cannot be called, or is a lambda, which has no name.
    """
    if isinstance(function, str):
        return function
    if not callable(function):
        raise ConfigError(f"A feature function must be a function or a name. Got {type(function).__name__} instead.")
    name = str(getattr(function, "__name__", type(function).__name__))
    if name == "<lambda>":
        raise ConfigError("A feature function needs a name, by which a saved run asks for it: write it with `def`.")
    return name


def functions_by_name(functions: Sequence[FeatureFunction | str]) -> dict[str, FeatureFunction]:
    """Name the feature functions that were given; those given by name are left to installed packages.

    Args:
        functions: Functions, and names.

    Returns:
        Name to function.

    Raises:
        ConfigError: If one has no name, or two have the same.
    """
    names = [feature_name(function) for function in functions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two feature functions are called {twice!r}. Give them different names.")
    return {name: found for name, found in zip(names, functions, strict=True) if not isinstance(found, str)}


@contextmanager
def given_features(functions: Mapping[str, FeatureFunction]) -> Iterator[None]:
    """Give feature functions to the models that are loaded meanwhile.

    Args:
        functions: Name to function.

    Yields:
        Nothing.
    """
    token = GIVEN.set(functions)
    try:
        yield
    finally:
        GIVEN.reset(token)


def add_features(
    table: Table,
    names: Sequence[str],
    given: Mapping[str, FeatureFunction],
    targets: Sequence[str],
    *,
    asked_by: str = "The options ask",
    is_checked: bool = False,
) -> Table:
    """Add the columns of feature functions to a table, one function after the other.

    Args:
        table: The table.
        names: Names of the functions; those that have added to the table before are left out.
        given: Name to function; others are looked for among installed packages.
        targets: Columns that functions do not see, as rows to predict lack them.
        asked_by: Who names the functions, for the message where one is not there.
        is_checked: Whether to check that functions compute each row by itself.

    Returns:
        The table with the new columns.

    Raises:
        ConfigError: If there is no such function.
        SchemaError: If one fails, or returns something else than new columns.
    """
    for name in names:
        if name in table.added:
            continue
        function = _find(name, given, asked_by)
        added = _call(name, function, table, targets)
        if is_checked:
            _check_row_by_row(name, function, table, targets, added)
        table = replace(table, columns={**table.columns, **added}, added={**table.added, name: tuple(added)})
    return table


def only_features(table: Table, names: Sequence[str]) -> Table:
    """Leave out the columns of some feature functions again.

    Args:
        table: A table with the columns of functions.
        names: Functions whose columns stay.

    Returns:
        The table.

    Raises:
        ConfigError: If one of these functions has not added to the table.
    """
    unknown = [name for name in names if name not in table.added]
    if unknown:
        known = list_names(map(repr, table.added))
        raise ConfigError(f"There is no feature function {unknown[0]!r} for all variants to choose from: {known}.")
    left_out = {name: columns for name, columns in table.added.items() if name not in names}
    kept = {name: columns for name, columns in table.added.items() if name in names}
    return replace(table.drop(column for columns in left_out.values() for column in columns), added=kept)


def _find(name: str, given: Mapping[str, FeatureFunction], asked_by: str) -> FeatureFunction:
    if name in given:
        return given[name]
    parts = installed(FEATURE_GROUP)
    if name in parts:
        return parts[name].load(Callable)  # type: ignore[arg-type]
    raise ConfigError(
        f"{asked_by} for the feature function {name!r}, which no installed package has. Give it: --features "
        f"MODULE:{name}, or in Python features=[{name}]."
    )


def _call(name: str, function: FeatureFunction, table: Table, targets: Sequence[str]) -> dict[str, list[Cell]]:
    """Call a function and check what it returns."""
    start = f"The feature function {name!r}, {table.name}"
    try:
        found: Any = function(FeatureColumns(table, targets))
    except LackingColumnError as error:
        raise SchemaError(f"{start}: {_lacking(str(error.args[0]), table, targets)}") from error
    except Exception as error:  # the user's code, which may raise anything
        reason = (str(error) or "no reason given").splitlines()[0]
        raise SchemaError(f"{start}: it failed with {type(error).__name__}: {reason}.") from error
    if not isinstance(found, Mapping) or not found or not all(isinstance(column, str) for column in found):
        got = "an empty one" if found == {} else type(found).__name__
        raise SchemaError(f"{start}: it must return a mapping of new columns, name to cells. Got {got} instead.")
    taken = [column for column in found if column in table.columns]
    if taken:
        raise SchemaError(f"{start}: it adds {taken[0]!r}, which the table has. Call one of the two otherwise.")
    return {column: _cells(start, column, cells, table.num_rows) for column, cells in found.items()}


def _lacking(column: str, table: Table, targets: Sequence[str]) -> str:
    if column in targets:
        return f"it reads {column!r}, which is to be predicted and is not there in new rows."
    return f"it reads {column!r}, which the table lacks. Its columns: {list_names(table.columns)}."


def _cells(start: str, column: str, cells: Any, num_rows: int) -> list[Cell]:
    try:
        found = clean_column(cells, column)
    except TableError as error:
        raise SchemaError(f"{start}: {error}") from None
    if len(found) != num_rows:
        raise SchemaError(f"{start}: {column!r} must have a cell for each of {num_rows:,} rows. Got {len(found):,}.")
    return found


def _check_row_by_row(
    name: str, function: FeatureFunction, table: Table, targets: Sequence[str], added: Mapping[str, list[Cell]]
) -> None:
    """Call the function on few rows, each alone: tables are predicted in parts."""
    for row in evenly_spaced(range(table.num_rows), CHECKED_ROWS):
        alone = _call(name, function, table.take([row]), targets)
        if set(alone) != set(added):
            raise SchemaError(
                f"The feature function {name!r} adds {list_names(added)} to {table.name}, but {list_names(alone)} to "
                f"its row {row + 1} alone. It must always add the same columns."
            )
        for column, cells in alone.items():
            if not _is_same(cells[0], added[column][row]):
                raise SchemaError(
                    f"The feature function {name!r} computes another {column!r} for row {row + 1} of {table.name} "
                    "where it is given that row alone: each row must be computed from its own cells only, as tables "
                    "are predicted in parts. Compute means and counts once, and keep them in the function."
                )


def _is_same(first: Cell, second: Cell) -> bool:
    try:
        return bool(np.allclose(first, second, rtol=1e-6, atol=0, equal_nan=True))
    except (TypeError, ValueError):
        return bool(np.all(first == second))
