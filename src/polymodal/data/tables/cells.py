"""Conversion of cells from Arrow, pandas and Python objects to plain Python.

An absent cell is None, whatever it was: null, NaN, NaT, ``pd.NA``, an empty or blank string.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

_ABSENT_TYPES = frozenset({"NAType", "NaTType"})
_PLAIN_TYPES = frozenset({int, bool, bytes, dict, list, tuple, dt.datetime, dt.date})


def clean_cell(cell: Any) -> Cell:
    """Convert a cell to plain Python.

    Args:
        cell: A value from a dataframe, a list or a JSON line.

    Returns:
        None where the cell is absent, numpy and pandas scalars as Python values, paths as strings;
        arrays, pictures, bytes, lists and dicts as they are.
    """
    kind = type(cell)
    if kind is str:
        return cell if cell.strip() else None
    if kind is float:
        return cell if cell == cell else None
    if cell is None or kind in _PLAIN_TYPES:
        return cell
    return _clean_unusual(cell)


def _clean_unusual(cell: Any) -> Cell:
    if type(cell).__name__ in _ABSENT_TYPES:
        return None
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return _clean_numpy_time(cell)
    if isinstance(cell, np.generic) or (isinstance(cell, np.ndarray) and cell.ndim == 0):
        return clean_cell(cell.item())
    if hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime(warn=False)
    if isinstance(cell, dt.timedelta):
        return cell.total_seconds()
    if isinstance(cell, decimal.Decimal):
        return clean_cell(float(cell))
    if isinstance(cell, bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, Path):
        return str(cell)
    return cell


def _clean_numpy_time(cell: np.datetime64 | np.timedelta64) -> Cell:
    if np.isnat(cell):
        return None
    if isinstance(cell, np.timedelta64):
        return float(cell / np.timedelta64(1, "s"))
    return cell.astype("datetime64[us]").item()


def clean_column(values: Any, name: str) -> list[Cell]:
    """Convert a column in memory to a list of cells.

    Args:
        values: A list, tuple, numpy array, series or Arrow array; the first axis counts the rows.
        name: The column's name, for the message.

    Returns:
        One cell a row.

    Raises:
        TableError: If the value has no rows, such as a single string.
    """
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise TableError(
            f"The column {name!r} must be a list or an array with one cell a row. Got {type(values).__name__} instead."
        )
    if type(values).__module__.startswith("pandas"):
        return [clean_cell(cell) for cell in list(values)]
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        import pyarrow as pa

        return arrow_column(pa.chunked_array(values if hasattr(values, "__arrow_c_stream__") else [values]))
    return [clean_cell(cell) for cell in values]


def arrow_columns(table: pa.Table, name: str) -> dict[str, list[Cell]]:
    """Convert an Arrow table to lists of cells.

    Args:
        table: Any Arrow table.
        name: The table's name, for the message.

    Returns:
        Column name to cells, in the table's order.

    Raises:
        TableError: If two columns share a name.
    """
    check_names(table.column_names, name)
    return {str(key): arrow_column(table.column(i)) for i, key in enumerate(table.column_names)}


def arrow_column(values: pa.ChunkedArray) -> list[Cell]:
    """Convert an Arrow column to a list of cells.

    Args:
        values: The column. Numbers stay numbers, timestamps become datetimes, structs dicts, lists lists.

    Returns:
        One cell a row; None where it is absent.
    """
    import pyarrow as pa

    kind = values.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _tensor_cells(values)
    if pa.types.is_dictionary(kind):
        return arrow_column(values.cast(kind.value_type))
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        values = values.cast(pa.timestamp("us", tz=kind.tz), safe=False)
    if pa.types.is_duration(kind):
        values = values.cast(pa.duration("us"), safe=False)
    if pa.types.is_string_view(kind):
        values = values.cast(pa.large_string())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return string_cells(values)
    return [clean_cell(cell) for cell in values.to_pylist()]


def string_cells(values: pa.ChunkedArray) -> list[Cell]:
    """Convert a column of strings to a list; blank strings become None.

    Args:
        values: An Arrow column of strings.

    Returns:
        One cell a row.
    """
    return [cell if cell is not None and cell.strip() else None for cell in values.to_pylist()]


def _tensor_cells(values: pa.ChunkedArray) -> list[Cell]:
    cells: list[Cell] = []
    for chunk in values.chunks:
        arrays = chunk.to_numpy_ndarray()
        cells.extend(
            array if valid else None for array, valid in zip(arrays, chunk.is_valid().to_pylist(), strict=True)
        )
    return cells


def check_names(names: Sequence[object], table: str) -> None:
    """Check that no two columns share a name.

    Args:
        names: The columns' names.
        table: The table's name, for the message.

    Raises:
        TableError: If a name is duplicated.
    """
    seen: dict[str, int] = {}
    for position, name in enumerate(map(str, names), start=1):
        if name in seen:
            raise TableError(
                f"{table} has two columns named {name!r} (columns {seen[name]} and {position}). "
                "Column names must differ: rename or remove one of them."
            )
        seen[name] = position
