"""Long lists of Arrow columns: their lengths are read from offsets before any value becomes a Python object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LIST_VALUES = 2**25
"""A cell of more numbers is not read: a quarter of a gigabyte as an array, more than one as Python's objects."""
LONG_LIST = 2**20
"""A regular list of more numbers than this becomes an array, at a quarter of the memory of a list."""
PLACEHOLDER = "a list of {:,} values, above the limit of {:,}: put it into a file"


def list_cells(values: pa.ChunkedArray) -> list[Cell] | None:
    """Convert a column of lists that has long cells.

    Args:
        values: Any column.

    Returns:
        One cell a row: lists; arrays of long regular ones; a text that says so of those above the limit. None where no
        cell is long, or the column is none of lists.
    """
    if not _is_list(values.type):
        return None
    counts = [_num_leaves(chunk) for chunk in values.chunks]
    if max((int(count.max(initial=0)) for count in counts), default=0) <= LONG_LIST:
        return None
    return [
        _cell(chunk[row], int(number))
        for chunk, numbers in zip(values.chunks, counts, strict=True)
        for row, number in enumerate(numbers)
    ]


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _num_leaves(array: pa.Array) -> NDArray[np.int64]:
    """Return the number of values of each row, of all levels of nested lists together."""
    starts = np.arange(len(array) + 1, dtype=np.int64)
    while _is_list(array.type):
        starts, array = _inner_starts(array, starts), array.flatten()
    return np.diff(starts)


def _inner_starts(array: pa.Array, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where lists start among their flattened values; offsets that Arrow has are not copied."""
    import pyarrow as pa

    if array.null_count:  # lists that are null have no values after flattening, though they may have places
        return np.append(0, np.cumsum(_lengths(array)))[starts]
    if pa.types.is_fixed_size_list(array.type):
        return starts * int(array.type.list_size)
    offsets = array.offsets.to_numpy()
    return np.asarray(offsets[starts], np.int64) - int(offsets[0])


def _lengths(array: pa.Array) -> NDArray[np.int64]:
    from pyarrow import compute

    return np.asarray(compute.fill_null(compute.list_value_length(array), 0), np.int64)


def _cell(cell: pa.Scalar, num_values: int) -> Cell:
    if num_values > MAX_LIST_VALUES:
        return PLACEHOLDER.format(num_values, MAX_LIST_VALUES)
    array = _regular_array(cell) if num_values > LONG_LIST else None
    return cell.as_py() if array is None else array


def _regular_array(cell: Any) -> NDArray[Any] | None:
    """Return nested lists of equal lengths as an array; None of others, and where numbers are missing."""
    import pyarrow as pa

    array, shape = cell.values, [len(cell.values)]
    while _is_list(array.type):
        lengths = np.unique(_lengths(array))
        if len(lengths) != 1 or array.null_count:
            return None
        shape.append(int(lengths[0]))
        array = array.flatten()
    is_number = pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
    return array.to_numpy(zero_copy_only=False).reshape(shape) if is_number and not array.null_count else None
