"""Numeric arrays from any cell: ``.npy``, ``.npz``, ``.csv`` and ``.parquet`` files, lists and JSON text.

A missing number is NaN: null in lists, JSON and Parquet, an empty field in CSV. Nothing is unpickled, and nothing that
a file declares of itself is trusted.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.base import CellReadError, quote
from polymodal.modalities.json_text import CALL, load_list, without_call
from polymodal.modalities.logger_files import load_logger_file
from polymodal.modalities.media import MAX_FILE_BYTES, NUMPY_MAGIC, as_array, load_npy, read_media
from polymodal.modalities.recording_files import EDF_MAGIC, RECORDING_MAGIC, Named, load_recording

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""Beginnings of an archive, and of an empty one."""
PARQUET_MAGIC = b"PAR1"
EDF_HEADER = 256
MANY_NUMBERS = 10
MANY = re.compile(rf"\s*(?:[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?(?:\s*[,;|]\s*|\s+|$)){{{MANY_NUMBERS},}}")
MAX_VALUES = MAX_FILE_BYTES // 8
"""A file that declares more numbers than this is refused before they are read."""
MISSING_VALUES = ("", "nan", "NaN", "NAN", "na", "NA", "n/a", "N/A", "#N/A", "null", "NULL", "none", "None", "-", "?")
DELIMITERS = (",", ";", "\t")
INVALID_FIELD = re.compile(r"CSV column #(\d+):.*invalid value '(.*)'", re.DOTALL)


def read_content(cell: Cell, folder: Path | None) -> tuple[Any, str]:
    """Return the content of a cell of numbers: the bytes of a file, or numbers in memory.

    Args:
        cell: Path, bytes, struct, array, nested lists, or their JSON text.
        folder: Base folder of relative paths; None: strings are not opened as paths.

    Returns:
        ``bytes``, an array or (nested) lists; and the file's ending in lower case, "" without a path.

    Raises:
        CellReadError: If there is no such file, or the text is no JSON.
    """
    if isinstance(cell, str) and is_list_text(cell):
        return parse_json(cell), ""
    path = cell.get("path") if isinstance(cell, Mapping) else cell
    ending = PurePath(path).suffix.lower() if isinstance(path, str | PurePath) else ""
    return read_media(cell, folder), ending


def parse_json(text: str) -> Any:
    """Read a list of numbers.

    Args:
        text: JSON, a list as Python, NumPy or PyTorch write it, or numbers between blanks or marks.

    Returns:
        The (nested) list.

    Raises:
        CellReadError: If it is no such list.
    """
    text = without_call(text)
    if not text.startswith(("[", "(")):
        return [float(number) for number in re.split(r"[\s,;|]+", text.strip(" ,;|"))]
    try:
        return load_list(text)
    except ValueError as error:
        missing = f" ({error})" if "..." in text else ""
        raise CellReadError(f"is not a list of numbers in JSON{missing}") from None


def is_list_text(text: str) -> bool:
    """Tell whether text is a list: in brackets, or ten numbers or more between blanks, commas, semicolons or bars.

    Args:
        text: A cell.

    Returns:
        True where ``parse_json`` reads it.
    """
    if text.lstrip().startswith(("[", "(")) or CALL.fullmatch(text.strip()):
        return True
    return len(text) >= 2 * MANY_NUMBERS and MANY.fullmatch(text) is not None


def as_numbers(content: Any) -> NDArray[Any]:
    """Turn an array or nested lists into an array; None becomes NaN.

    Args:
        content: A numpy array, anything with ``__array__``, or (nested) lists.

    Returns:
        A bool, integer or float array.

    Raises:
        CellReadError: If the cell holds something else, or lists of different lengths.
    """
    try:
        return as_array(content)
    except CellReadError as error:
        if not isinstance(content, list | tuple | np.ndarray) or not _holds_numbers_or_none(content):
            raise
        original = error
    try:
        return np.array(to_nested_lists(content), np.float64)
    except (TypeError, ValueError, OverflowError):
        raise original from None


def to_nested_lists(content: Any) -> Any:
    """Convert nested arrays and lists to nested lists.

    Args:
        content: Lists, tuples or arrays of any depth.

    Returns:
        Nested lists; anything else as it is.
    """
    if isinstance(content, np.ndarray):
        content = content.tolist()
    return [to_nested_lists(inner) for inner in content] if isinstance(content, list | tuple) else content


def _holds_numbers_or_none(content: Any) -> bool:
    """Return whether nested lists contain only numbers and None."""
    return all(value is None or isinstance(value, int | float | np.number) for value in _flat(content))


def _flat(content: Any) -> Iterator[Any]:
    for inner in content:
        if isinstance(inner, list | tuple | np.ndarray):
            yield from _flat(inner)
        else:
            yield inner


def load_numbers(content: bytes) -> NDArray[Any]:
    """Read a file of numbers; the format is detected from its first bytes.

    Args:
        content: The whole of a ``.npy``, ``.npz``, ``.parquet``, ``.csv``, ``.mat``, ``.edf`` or ``.bdf`` file.

    Returns:
        A numeric array; ``[rows, columns]`` from all but NumPy's files.

    Raises:
        CellReadError: If it is damaged, of another format, or holds other things than numbers.
    """
    return load_named_numbers(content)[0]


def load_named_numbers(content: bytes) -> Named:
    """Read a file of numbers, and the names of its columns.

    Args:
        content: As for ``load_numbers``.

    Returns:
        The array, and the names, none where it has none.

    Raises:
        CellReadError: As ``load_numbers``.
    """
    if content.startswith(NUMPY_MAGIC):
        return load_npy(content), ()
    if content.startswith(ZIP_MAGIC):
        return load_npz(content), ()
    if content.startswith(PARQUET_MAGIC):
        return load_parquet(content)
    if content.startswith(RECORDING_MAGIC) and not _is_text_table(content):
        return load_recording(content)
    try:
        return load_csv(content)
    except CellReadError as error:
        try:
            return load_logger_file(content)
        except CellReadError as of_logger:
            raise (of_logger if "column" in str(of_logger) else error) from None


def _is_text_table(content: bytes) -> bool:
    """Tell whether a file that starts with a nought and blanks is text of numbers, not an EDF recording."""
    return content.startswith(EDF_MAGIC) and (len(content) < EDF_HEADER or b"\n" in content[:EDF_HEADER])


def load_npz(content: bytes) -> NDArray[Any]:
    """Read the one array of a ``.npz`` file.

    Args:
        content: The whole file.

    Returns:
        The array.

    Raises:
        CellReadError: If the archive is damaged, or does not hold one array of numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            if len(members) != 1:
                names = ", ".join(info.filename.removesuffix(".npy") for info in members[:5]) or "none"
                raise CellReadError(f"is an archive of {len(members)} arrays ({names}); expected one")
            if members[0].file_size > MAX_FILE_BYTES:
                raise CellReadError(f"declares {members[0].file_size:,} bytes, above the limit of {MAX_FILE_BYTES:,}")
            return load_npy(archive.read(members[0]))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
        raise CellReadError("is not a readable .npz file: the archive is damaged or encrypted") from None


def load_parquet(content: bytes) -> Named:
    """Read a Parquet file of numbers.

    Args:
        content: The whole file.

    Returns:
        float64 ``[rows, columns]``, null as NaN; and the columns' names.

    Raises:
        CellReadError: If it is damaged, too large, or a column holds no numbers.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        if file.metadata.num_rows * file.metadata.num_columns > MAX_VALUES:
            raise CellReadError(f"declares {file.metadata.num_rows:,} rows, too many for one cell")
        table = file.read()
    except (pa.ArrowException, OSError):
        raise CellReadError("is not a readable .parquet file: it is cut off or damaged") from None
    for field in table.schema:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)):
            raise CellReadError(f"has a column {quote(field.name)} of type {field.type}; expected numbers")
    names = table.column_names
    return _stack(table.cast(pa.schema([pa.field(name, pa.float64()) for name in names]))), tuple(names)


def load_csv(content: bytes) -> Named:
    """Read a CSV file of numbers, separated by commas, semicolons or tabs, with or without a header line.

    Args:
        content: The whole file, in UTF-8.

    Returns:
        float64 ``[rows, columns]``, an empty field as NaN; and the columns' names, none without a header line.

    Raises:
        CellReadError: If it is no text, has lines of different lengths, or a field is no number.
    """
    import pyarrow as pa
    from pyarrow import csv

    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    fields, delimiter = _first_fields(content)
    if _is_header(fields) and not content.partition(b"\n")[2].strip():
        raise CellReadError("is no file of numbers: below its line of names there is nothing")
    names = [f"f{column}" for column in range(len(fields))]
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(use_threads=False, skip_rows=int(_is_header(fields)), column_names=names),
            csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=len(names) > 1),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=MISSING_VALUES),
        )
    except pa.ArrowException as error:
        raise CellReadError(_csv_problem(str(error), fields)) from None
    values = _stack(table)
    ends_with_mark = len(fields) > 1 and not fields[-1] and bool(np.isnan(values[:, -1]).all())
    values = values[:, :-1] if ends_with_mark else values
    return values, tuple(fields[: values.shape[1]]) if _is_header(fields) else ()


def _first_fields(content: bytes) -> tuple[list[str], str]:
    """Return the fields of the first line, and the delimiter."""
    line = content.partition(b"\n")[0].rstrip(b"\r")
    try:
        text = "" if b"\0" in line else line.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.strip():
        raise CellReadError("is no file of numbers; expected .npy, .npz, .csv or .parquet")
    delimiter = next((mark for mark in DELIMITERS if mark in text), ",")
    return [field.strip().strip('"') for field in text.split(delimiter)], delimiter


def _is_header(fields: list[str]) -> bool:
    return any(field not in MISSING_VALUES and not _is_number(field) for field in fields)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _csv_problem(message: str, fields: list[str]) -> str:
    found = INVALID_FIELD.search(message)
    if found is None:
        first = message.partition("\n")[0].removeprefix("CSV parse error: ")
        return f"is not a readable .csv file ({quote(first, 120)})"
    column = int(found[1])
    name = f" ({quote(fields[column])})" if _is_header(fields) else ""
    return f"is no file of numbers: its column {column + 1}{name} holds {quote(found[2])}"


def _stack(table: Any) -> NDArray[np.float64]:
    columns = [table.column(column).to_numpy() for column in range(table.num_columns)]
    return np.stack(columns, axis=1).astype(np.float64) if columns else np.zeros((0, 0))
