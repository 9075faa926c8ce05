"""Tables from files: CSV, TSV, JSONL, Parquet, and folders of class folders."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polymodal.arrays import Cell
from polymodal.errors import TableError
from polymodal.table_cells import arrow_columns, check_names, clean_cell, string_cells

MEDIA_ENDINGS: dict[str, frozenset[str]] = {
    "image": frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm",
                        ".pgm", ".pbm", ".avif", ".heic", ".jp2", ".tga", ".ico", ".qoi"}),
    "audio": frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".m4a",
                        ".aac", ".wma", ".caf"}),
    "video": frozenset({".mp4", ".m4v", ".mpg", ".mpeg", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv", ".3gp"}),
    "array": frozenset({".npy", ".npz"}),
    "series": frozenset({".csv", ".tsv", ".parquet"}),
    "points": frozenset({".bin", ".pcd"}),
}  # fmt: skip
"""What a file holds, by its ending in lower case."""

_MEDIA_OF_ENDING = {ending: media for media, endings in MEDIA_ENDINGS.items() for ending in endings}
MAX_BLOCK_BYTES = 2**30
Columns = dict[str, list[Cell]]


def media_of_ending(path: str) -> str | None:
    """Tell what a file holds by its ending.

    Args:
        path: A path or a URL; a URL's query is cut off.

    Returns:
        ``image``, ``audio``, ``video``, ``array``, ``series``, ``points``, or None.
    """
    if "://" in path:
        path = path.split("?", 1)[0].split("#", 1)[0]
    _, dot, ending = path.rpartition(".")
    return _MEDIA_OF_ENDING.get(dot + ending.lower())


def read_delimited(path: Path) -> Columns:
    """Read a CSV or TSV file, every cell as a string.

    Args:
        path: The file, in UTF-8. A ``.csv`` without a comma in its header is read with the ``;``,
            or else the tab, that the header has.

    Returns:
        Column name to cells; an empty or blank cell is None.

    Raises:
        TableError: If the file is not UTF-8, is empty, has no rows, rows of unequal length or two columns of one name.
    """
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    text = _decode(data, path.name).lstrip("\r\n")
    if not text.strip():
        raise TableError(f"{path.name} is empty. Expected a header line and at least one row below it.")
    try:
        delimiter = _delimiter(text, path)
        names = _header(text, delimiter, path.name)
    except csv.Error as error:
        raise TableError(f"The header of {path.name} cannot be read: {error}. Expected column names.") from None
    return _parse_delimited(data.lstrip(b"\r\n"), text, names, delimiter, path.name)


def _decode(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(f"{name} is a UTF-16 file. Save it as UTF-8 (in Excel: 'CSV UTF-8') and try again.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = _row_at(data, error.start)
        raise TableError(
            f"{name} is not a UTF-8 file: byte 0x{data[error.start]:02x} at offset {error.start:,} ({row}) is not "
            f"valid. Save it as UTF-8 and try again, for example with `iconv -f latin1 -t utf-8 {name}`."
        ) from None


def _row_at(data: bytes, offset: int) -> str:
    try:
        records = sum(1 for _ in _records(data[: offset + 1].decode("latin-1"), ","))
    except csv.Error:
        return f"line {data.count(10, 0, offset) + 1}"
    return "the header" if records <= 1 else f"row {records - 1}"


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if record:
            yield record


def _delimiter(text: str, path: Path) -> str:
    if path.suffix.lower() in {".tsv", ".tab"}:
        return "\t"
    header = next(_records(text, ","))
    if len(header) > 1:
        return ","
    return next((mark for mark in (";", "\t") if mark in header[0]), ",")


def _header(text: str, delimiter: str, table: str) -> list[str]:
    header = [name.strip() for name in next(_records(text, delimiter))]
    names = [name or f"unnamed_{position}" for position, name in enumerate(header, start=1)]
    check_names(names, table)
    return names


def _parse_delimited(data: bytes, text: str, names: list[str], delimiter: str, table: str) -> Columns:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    single = len(names) == 1
    try:
        parsed = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=min(len(data) + 1, MAX_BLOCK_BYTES)),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=not single
            ),
            convert_options=arrow_csv.ConvertOptions(
                default_column_type=pa.string(), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        _check_fields(text, len(names), delimiter, table)
        raise TableError(f"{table} cannot be read as a table: {_first_line(error)}. Check its quotes.") from None
    _check_rows(parsed.num_rows, table)
    return {name: string_cells(parsed.column(i)) for i, name in enumerate(names)}


def _check_fields(text: str, expected: int, delimiter: str, table: str) -> None:
    try:
        for row, record in enumerate(_records(text, delimiter)):
            if row and len(record) != expected:
                raise TableError(
                    f"Row {row} of {table} has {_count(len(record), 'field')}, expected {expected} as in the header. "
                    "Add or remove fields there, or put a field that holds the separator in double quotes."
                )
    except csv.Error:
        return


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_rows(num_rows: int, table: str) -> None:
    if num_rows == 0:
        raise TableError(f"{table} has column names but no rows. Expected at least one row.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def read_jsonl(path: Path) -> Columns:
    """Read a file with one JSON object a line.

    Args:
        path: The file, in UTF-8; blank lines are skipped.

    Returns:
        Column name to cells; a key that a row lacks is an absent cell.

    Raises:
        TableError: If a line is not a JSON object, or there is none.
    """
    text = _decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), path.name)
    lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
    rows = [_json_row(line, row, number, path.name) for row, (number, line) in enumerate(lines, start=1)]
    _check_rows(len(rows), path.name)
    return records_columns(rows)


def _json_row(line: str, row: int, number: int, table: str) -> dict[str, Any]:
    where = f"Row {row} of {table} (line {number})"
    try:
        parsed = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else "too deep"
        raise TableError(f"{where} is not valid JSON: {reason}. Expected one JSON object a line.") from None
    if not isinstance(parsed, dict):
        raise TableError(f"{where} holds a JSON {type(parsed).__name__}. Expected one JSON object a line.")
    return parsed


def records_columns(rows: Iterable[dict[str, Any]]) -> Columns:
    """Turn one dict a row into columns.

    Args:
        rows: The rows; a key that a row lacks is an absent cell.

    Returns:
        Column name to cells, in the order in which the names first appear.
    """
    rows = list(rows)
    names = dict.fromkeys(key for row in rows for key in row)
    return {str(name): [clean_cell(row.get(name)) for row in rows] for name in names}


def read_parquet(path: Path) -> Columns:
    """Read a Parquet file.

    Args:
        path: The file.

    Returns:
        Column name to cells.

    Raises:
        TableError: If it is no Parquet file, is cut off, or has no rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parsed = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"{path.name} cannot be read as a Parquet file: {_first_line(error)}. It may be cut off or of another kind."
        ) from None
    _check_rows(parsed.num_rows, path.name)
    return arrow_columns(parsed, path.name)


def read_class_folders(folder: Path) -> Columns:
    """Read a folder with one subfolder a class: a media column and ``label``.

    Args:
        folder: The folder. Hidden files, files that are no media, and tables beside media are left out.

    Returns:
        A column named after the media, such as ``image`` or ``series`` (paths relative to the folder), and ``label``.

    Raises:
        TableError: If there are no class folders, no media in them, or media of two kinds.
    """
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = [(entry.name, name, media) for entry in classes for name, media in _media_files(entry)]
    if not files:
        raise TableError(
            f"The folder {folder} has no class folders with media in them. Expected one subfolder a class, holding its "
            f"pictures or sounds (as in {folder.name}/cat/1.jpg), or give the path of a table file."
        )
    kinds = Counter(media for _, _, media in files)
    if len(kinds) == 2 and "series" in kinds:  # a list of the pictures, most likely
        files = [file for file in files if file[2] != "series"]
        del kinds["series"]
    if len(kinds) > 1:
        found = " and ".join(f"{count} {media} files" for media, count in kinds.most_common())
        raise TableError(f"The folder {folder} mixes {found}. Expected one kind, or a CSV that names the files.")
    return {
        next(iter(kinds)): [f"{label}/{name}" for label, name, _ in files],
        "label": [label for label, _, _ in files],
    }


def _media_files(folder: Path) -> list[tuple[str, str]]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    found = ((name, media_of_ending(name)) for name in names)
    return [(name, media) for name, media in found if media is not None]
