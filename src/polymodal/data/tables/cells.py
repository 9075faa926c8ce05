"""Conversion of cells from Arrow, pandas and Python objects to plain Python.

An absent cell is None, whatever it was: null, NaN, NaT, ``pd.NA``, an empty or blank string.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.arrays import Cell
from polymodal.data.tables.arrow_lists import list_cells
from polymodal.errors import TableError
from polymodal.modalities.json_text import NESTED, clean_nested

if TYPE_CHECKING:
    import pyarrow as pa

_ABSENT_TYPES = frozenset({"NAType", "NaTType"})
_PLAIN_TYPES = frozenset({bool, bytes, dt.datetime, dt.date})
LARGEST = 2**1023
"""Integers from here on have no float."""
TICKS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
MAX_DECIMAL_BITS = 14_000
"""Python writes no integer of more than 4,300 digits."""


def clean_cell(cell: Any) -> Cell:
    """Convert a cell to plain Python.

    Args:
        cell: A value from a dataframe, a list or a JSON line.

    Returns:
        None where the cell is absent, numpy and pandas scalars as Python values, paths as strings, integers beyond
        all floats as strings, sets and arrays of texts as lists; other arrays, pictures, bytes, lists and dicts as they
        are. In strings, half of a character
        (a lone surrogate, which no file can hold) becomes the replacement character.

    Raises:
        ValueError: If lists or dicts are nested more than 64 levels deep.
    """
    kind = type(cell)
    if kind is str:
        return clean_nested(cell) if cell.strip() else None
    if kind is float:
        return cell if cell == cell else None
    if kind is int:
        return cell if -LARGEST < cell < LARGEST else _clean_large(cell)
    if cell is None or kind in _PLAIN_TYPES:
        return cell
    if kind in NESTED:
        return clean_nested(cell)
    return _clean_unusual(cell)


def _clean_large(number: int) -> str:
    """Write an integer that no float can be; one of thousands of digits as Python writes it, in base 16."""
    return str(number) if number.bit_length() < MAX_DECIMAL_BITS else hex(number)


def _clean_unusual(cell: Any) -> Cell:
    if type(cell).__name__ in _ABSENT_TYPES:
        return None
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return _clean_numpy_time(cell)
    if isinstance(cell, np.longdouble | np.clongdouble):  # whose Python value is itself
        return clean_cell(float(cell)) if isinstance(cell, np.longdouble) else str(cell)
    if isinstance(cell, np.generic) or (isinstance(cell, np.ndarray) and cell.ndim == 0):
        return clean_cell(cell.item())
    if hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime(warn=False)
    if hasattr(cell, "to_timestamp"):  # pandas' Period
        return cell.to_timestamp().to_pydatetime()
    if isinstance(cell, uuid.UUID) or type(cell).__name__ == "Interval":
        return str(cell)
    if isinstance(cell, dt.timedelta):
        return cell.total_seconds()
    if isinstance(cell, decimal.Decimal):
        return clean_cell(float(cell))
    if isinstance(cell, bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, Path | str):
        return clean_cell(str(cell))
    return _clean_labels(cell)


def _clean_labels(cell: Any) -> Cell:
    """Turn sets, and arrays of texts as pandas reads lists of Parquet, into lists; anything else stays as it is."""
    if isinstance(cell, set | frozenset):
        return clean_nested(sorted(cell, key=str))
    if isinstance(cell, np.ndarray) and cell.ndim == 1 and cell.dtype.kind in "OU":
        texts = cell.tolist()
        if texts and all(isinstance(text, str | None) for text in texts) and any(texts):
            return clean_nested(texts)
    return cell


def _clean_numpy_time(cell: np.datetime64 | np.timedelta64) -> Cell:
    if np.isnat(cell):
        return None
    if isinstance(cell, np.timedelta64):
        return float(cell / np.timedelta64(1, "s"))
    moment = cell.astype("datetime64[us]").item()
    return moment if isinstance(moment, dt.datetime) else f"a {cell.dtype} out of range"


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
    is_pandas = type(values).__module__.startswith("pandas")
    if not is_pandas and (hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__")):
        import pyarrow as pa

        return arrow_column(pa.chunked_array(values if hasattr(values, "__arrow_c_stream__") else [values]), name)
    try:
        return [clean_cell(cell) for cell in (list(values) if is_pandas else values)]
    except ValueError as error:
        raise TableError(f"The column {name!r} has a cell that cannot be read: {error}.") from None


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
    try:
        names = table.column_names
    except UnicodeDecodeError as error:
        raise TableError(f"{name} has a column whose name is not UTF-8: {error.object[:40]!r}. Rename it.") from None
    check_names(names, name)
    return {str(key): arrow_column(table.column(i), key, name) for i, key in enumerate(names)}


def arrow_column(values: pa.ChunkedArray, name: str, table: str = "the table") -> list[Cell]:
    """Convert an Arrow column to a list of cells.

    Args:
        values: The column. Numbers stay numbers, timestamps become datetimes, structs dicts, lists lists.
        name: The column's name, for messages.
        table: The table's name, for messages.

    Returns:
        One cell a row; None where it is absent; text where Python has no such value, as for the date 1 January 300000.

    Raises:
        TableError: If a string is not UTF-8.
    """
    import pyarrow as pa

    kind = values.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _tensor_cells(values)
    if pa.types.is_dictionary(kind):
        return _dictionary_cells(values, name, table)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        values = values.cast(pa.timestamp("us", tz=kind.tz), safe=False)
    if pa.types.is_duration(kind):
        ticks = TICKS_PER_SECOND[kind.unit]
        return [None if count is None else count / ticks for count in values.cast(pa.int64()).to_pylist()]
    if pa.types.is_string_view(kind):
        values = values.cast(pa.large_string())
    try:
        lists = list_cells(values)
        return [clean_cell(cell) for cell in (_python_values(values) if lists is None else lists)]
    except UnicodeDecodeError as error:
        text = error.object[:40]
        raise TableError(
            f"{table}, column {name!r}: the text {text!r} is not UTF-8. Write it as UTF-8, or the column as binary."
        ) from None
    except ValueError as error:
        raise TableError(f"{table}, column {name!r}: a cell cannot be read: {error}.") from None


def _dictionary_cells(values: pa.ChunkedArray, name: str, table: str) -> list[Cell]:
    """Look up the cells of a column of codes, such as polars' Categorical and Enum, in its dictionary."""
    import pyarrow as pa

    cells: list[Cell] = []
    for chunk in values.chunks:
        known = arrow_column(pa.chunked_array([chunk.dictionary]), name, table)
        cells += [None if code is None else known[code] for code in chunk.indices.to_pylist()]
    return cells


def _python_values(values: pa.ChunkedArray) -> list[Any]:
    """Convert to Python values, one by one where Python has no value for some."""
    import pyarrow as pa

    try:
        return list(values.to_pylist())
    except UnicodeDecodeError:
        raise
    except (ArithmeticError, LookupError, NotImplementedError, ValueError, pa.ArrowException):
        return [_python_value(cell) for chunk in values.chunks for cell in chunk]


def _python_value(cell: pa.Scalar) -> Any:
    import pyarrow as pa

    try:
        return cell.as_py()
    except UnicodeDecodeError:
        raise
    except (ArithmeticError, LookupError, NotImplementedError, ValueError, pa.ArrowException):
        return f"a {cell.type} out of range"


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
