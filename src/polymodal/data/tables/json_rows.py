"""Rows of a table within a JSON object, as pandas and interfaces of the web write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROW_KEYS = frozenset({"data", "rows", "records", "items", "results", "examples", "samples"})
"""Keys under which a list of objects is the table, not a column of objects."""


def rows_within(content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Find the rows of a table in an object.

    Args:
        content: An object of JSON.

    Returns:
        One dict a row: of ``{"columns", "data"}`` and ``{"schema", "data"}`` (pandas' ``split`` and ``table``), of a
        list of objects beside values that are no lists, of columns whose cells are named by row (``{"a": {"0": 1}}``,
        pandas' default), and of rows by their names, which become the column ``key``. None of any other object.
    """
    if {"columns", "data"} <= set(content) <= {"columns", "index", "data"}:
        return [dict(zip(map(str, content["columns"]), row, strict=False)) for row in content["data"]]
    lists = {key: value for key, value in content.items() if isinstance(value, list) and value}
    if len(lists) == 1 and (len(content) > 1 or set(lists) <= ROW_KEYS):
        rows = next(iter(lists.values()))
        return rows if all(isinstance(row, dict) for row in rows) else None
    return _named_rows(content)


def _named_rows(content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Read an object of objects: by columns where their keys are row numbers, else by rows."""
    inner = list(content.values())
    if not inner or not all(isinstance(value, dict) and value for value in inner):
        return None
    rows = dict.fromkeys(key for value in inner for key in value)
    if all(key.isdigit() for key in rows):
        return [{name: cells.get(row) for name, cells in content.items()} for row in rows]
    if len(inner) < 2 or any(set(value) != set(rows) for value in inner):
        return None
    is_counted = list(content) == [str(row) for row in range(len(inner))]
    return [value if is_counted else {"key": key, **value} for key, value in content.items()]
