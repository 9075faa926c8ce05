"""Tables: rows and columns of cells, from files, dataframes or Python objects."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.data.tables.archive_tables import is_archive_source, read_archive_table, read_shards
from polymodal.data.tables.cells import arrow_columns, check_names, clean_column
from polymodal.data.tables.files import listing_of, media_of_ending, parts_of_table, read_class_folders, read_parquet
from polymodal.data.tables.remote_tables import read_remote_table
from polymodal.data.tables.series_tables import read_arff, read_ts
from polymodal.data.tables.sheet_files import read_json, read_sheet
from polymodal.data.tables.stored_columns import store_columns, take_cells
from polymodal.data.tables.text_files import Columns, read_delimited, read_jsonl, records_columns
from polymodal.errors import SchemaError, TableError, did_you_mean, tells_packages
from polymodal.modalities.json_text import clean_nested
from polymodal.modalities.remote_files import is_address

READERS: dict[str, Callable[[Path], Iterator[Columns]]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".psv": read_delimited,
    ".txt": read_delimited,
    ".json": read_json,
    ".xlsx": read_sheet,
    ".xlsm": read_sheet,
    ".xlsb": read_sheet,
    ".xls": read_sheet,
    ".ods": read_sheet,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".ts": read_ts,
    ".arff": read_arff,
    ".parquet": read_parquet,
    ".pq": read_parquet,
}
STORED_BYTES = 2**23
"""Strings of larger files are stored in a temporary file, not in memory."""


@dataclass(frozen=True)
class Table:
    """Rows × columns of cells.

    Attributes:
        columns: Column name to cells, one a row; None where a cell is absent. Strings of a large file are on the disk.
        folder: Base folder of relative media paths; None: cells may not be paths.
        name: Name of the table in messages, such as ``train.csv``.
        added: Feature function to the columns that it added.

    Example:
        >>> table = Table({"size": [1, None], "label": ["a", "b"]}, folder=None, name="table")
        >>> table.num_rows, table.column_names
        (2, ['size', 'label'])
    """

    columns: Mapping[str, Sequence[Cell]]
    folder: Path | None = None
    name: str = "table"
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the columns are equally long.

        Raises:
            TableError: If they are not.
        """
        lengths = {name: len(cells) for name, cells in self.columns.items()}
        if len(set(lengths.values())) > 1:
            shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
            raise TableError(
                f"The columns of {self.name} differ in length: {shortest!r} has {lengths[shortest]} cells, "
                f"{longest!r} has {lengths[longest]}. Expected one cell a row in each."
            )

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.columns)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Table:
        """Return some rows, in the given order.

        Args:
            rows: Row indices from 0.

        Returns:
            A table of those rows.
        """
        places = np.asarray(rows, np.int64)
        return replace(self, columns={name: take_cells(cells, places) for name, cells in self.columns.items()})

    def drop(self, names: Iterable[str]) -> Table:
        """Return the table without some columns.

        Args:
            names: Columns to leave out.

        Returns:
            The other columns.

        Raises:
            SchemaError: If a name is not a column.
        """
        left_out = set(names)
        self.check_columns(sorted(left_out), "--drop")
        return replace(self, columns={name: cells for name, cells in self.columns.items() if name not in left_out})

    def check_columns(self, names: Iterable[str], option: str) -> None:
        """Check that columns exist.

        Args:
            names: Names that a user gave.
            option: The option that names them, for the message, as in ``--group``.

        Raises:
            SchemaError: If a name is not a column; says which name is nearest.
        """
        for name in names:
            if name not in self.columns:
                advice = did_you_mean(name, self.columns, "Its columns")
                raise SchemaError(f"{self.name} has no column {name!r} (from {option}). {advice}")


@tells_packages
def read_table(source: Any, *, folder: str | Path | None = ".") -> Table:
    """Read a table from a file, a folder, a dataframe or Python objects.

    Args:
        source: Path of a CSV, TSV, JSON, JSONL, Parquet or Excel file; of a folder of class folders, or of Parquet
            files or WebDataset shards that are one table; of a ``.zip`` or ``.tar`` of those, or a file in one
            (``data.zip/test.csv``), or several shards (``data-{000..003}.tar``); an address of a
            table file, where ``allow_remote`` allows it; a pandas
            dataframe; a Hugging Face dataset; any object with the Arrow PyCapsule interface (polars, pyarrow, duckdb);
            a polars LazyFrame; a dict of columns; a list of dicts; or a ``Table``, which comes back as it is.
        folder: Base folder of relative media paths of a table in memory; None: cells may not be paths. Paths in a
            table file are relative to the file's folder.

    Returns:
        The table.

    Raises:
        TableError: If there is no such file, it cannot be read, or the object is not a table.

    Example:
        >>> read_table({"label": ["a", "b"]}).num_rows
        2
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str) and is_address(source):
        columns, name = read_remote_table(source, _whole)
        return Table(columns, folder=Path.cwd(), name=name)
    if isinstance(source, str | Path):
        return _read_path(Path(source).expanduser().absolute())
    start = None if folder is None else Path(os.getcwd(), os.path.expanduser(folder))
    table = Table(_memory_columns(source), folder=start, name="table")
    if not table.num_rows:
        raise TableError("The table has no rows. Expected at least one row.")
    return table


def iterate_table(source: Any, num_rows: int, *, folder: str | Path | None = ".") -> Iterator[Table]:
    """Read a table in chunks of rows; files are never loaded as a whole.

    Args:
        source: As for ``read_table``.
        num_rows: Rows of each chunk; the last one may have fewer.
        folder: As for ``read_table``.

    Yields:
        The next rows, in order, each cell as ``read_table`` gives it. A column that a chunk lacks is absent in it.

    Raises:
        TableError: As ``read_table``; for rows in which a file is broken, once they are reached.
    """
    is_path = isinstance(source, str | Path) and not is_address(str(source))
    path = Path(source).expanduser().absolute() if is_path else None
    if path is not None and not path.is_dir() and not is_archive_source(path):
        for columns in _parts(_pieces(path), num_rows):
            yield Table(columns, folder=path.parent, name=path.name)
        return
    table = read_table(source, folder=folder)
    for start in range(0, max(table.num_rows, 1), num_rows):
        rows = slice(start, start + num_rows)
        yield replace(table, columns={name: cells[rows] for name, cells in table.columns.items()})


def _read_path(path: Path) -> Table:
    if is_archive_source(path):
        columns, folder = read_archive_table(path, _whole)
        return Table(columns, folder=folder, name=path.name)
    if path.is_dir():
        if (listing := listing_of(path)) is not None:
            return Table(_whole(listing), folder=path, name=path.name)
        if shards := parts_of_table(path, ".tar"):
            columns, folder = read_shards(shards)
            return Table(columns, folder=folder, name=path.name)
        parts = parts_of_table(path, ".parquet")
        pieces = (piece for part in parts for piece in read_parquet(part))
        found = next(_parts(pieces, sys.maxsize)) if parts else read_class_folders(path)
        return Table(found, folder=path, name=path.name)
    return Table(_whole(path), folder=path.parent, name=path.name)


def _whole(path: Path) -> Mapping[str, Sequence[Cell]]:
    if path.exists() and path.stat().st_size >= STORED_BYTES:
        with suppress(OSError):  # the disk is full: the table may fit into memory
            return store_columns(_pieces(path))
    return next(_parts(_pieces(path), sys.maxsize))


def _pieces(path: Path) -> Iterator[Columns]:
    if not path.exists():
        raise TableError(f"There is no file {path}. Check the path.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TableError(
            f"{path.name} has an ending that is not known. Expected one of {', '.join(READERS)}, or a folder."
        )
    try:
        yield from reader(path)
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}.") from None


def _parts(pieces: Iterable[Columns], num_rows: int) -> Iterator[Columns]:
    """Rechunk: yield chunks of ``num_rows`` rows from chunks of any length."""
    waiting: Columns = {}
    for piece in pieces:
        _put_below(waiting, piece)
        length, start = len(next(iter(waiting.values()), ())), 0
        while length - start >= num_rows:
            yield {name: cells[start : start + num_rows] for name, cells in waiting.items()}
            start += num_rows
        if start:
            waiting = {name: cells[start:] for name, cells in waiting.items()}
    if any(waiting.values()) or not waiting:
        yield waiting


def _put_below(columns: Columns, added: Mapping[str, Sequence[Cell]]) -> None:
    """Append rows in place; a column that one side lacks is absent there."""
    num_rows, num_added = (len(next(iter(side.values()), ())) for side in (columns, added))
    for name in added:
        columns.setdefault(name, [None] * num_rows)
    for name, cells in columns.items():
        cells.extend(added[name] if name in added else [None] * num_added)


def _memory_columns(source: Any) -> Columns:
    if type(source).__module__.startswith("pandas") and hasattr(source, "columns"):
        check_names(list(source.columns), "The dataframe")
        names = [clean_nested(str(name)) for name in source.columns]
        return {name: clean_column(source.iloc[:, i], name) for i, name in enumerate(names)}
    if type(source).__module__.startswith("datasets"):
        return _dataset_columns(source)
    if type(source).__module__.startswith("polars") and hasattr(source, "collect"):
        source = source.collect()
    if hasattr(source, "__arrow_c_stream__"):
        return _capsule_columns(source)
    if isinstance(source, Mapping):
        check_names(list(source), "The table")
        named = ((clean_nested(str(name)), cells) for name, cells in source.items())
        return {name: clean_column(cells, name) for name, cells in named}
    if isinstance(source, list | tuple) and all(isinstance(row, dict) for row in source):
        return records_columns(source)
    raise TableError(
        "A table must be the path of a file or folder, a dataframe (pandas, polars, pyarrow, or any with the Arrow "
        f"PyCapsule interface), a dict of columns or a list of dicts. Got {type(source).__name__} instead."
    )


def _dataset_columns(source: Any) -> Columns:
    """Return the columns of a Hugging Face dataset, in the order of its ``shuffle`` and ``select``."""
    if isinstance(source, Mapping):
        raise TableError(
            f"A DatasetDict has several tables: {', '.join(map(str, source))}. Pass one of them, as in "
            "dataset['train']."
        )
    if not hasattr(source, "num_rows"):  # iterable ones have no length and no columns
        return records_columns(list(source))
    return arrow_columns(source.with_format("arrow")[:], "The dataset")


def _capsule_columns(source: Any) -> Columns:
    import pyarrow as pa

    try:
        table = pa.table(source)
    except Exception as error:  # another library's stream: whatever it raises, it has no table for us
        raise TableError(
            f"The {type(source).__name__} cannot be handed over through Arrow: {error}. "
            "Pass a dict of columns instead, which may hold any Python object."
        ) from None
    return arrow_columns(table, "The table")


def concatenate(tables: Sequence[Table]) -> Table:
    """Concatenate tables.

    Args:
        tables: At least one. Columns are matched by name; missing ones are absent.

    Returns:
        All rows. Where the tables' folders differ, relative media paths become absolute ones.

    Raises:
        TableError: If there is no table.
    """
    if not tables:
        raise TableError("There is no table to put together. Expected at least one.")
    if len({table.folder for table in tables}) > 1:
        tables = [_with_absolute_paths(table) for table in tables]
    columns: Columns = {}
    for table in tables:
        _put_below(columns, table.columns)
    name = " + ".join(dict.fromkeys(table.name for table in tables))
    return Table(columns, folder=tables[0].folder, name=name, added=tables[0].added)


def _with_absolute_paths(table: Table) -> Table:
    folder = table.folder
    if folder is None:
        return table
    columns = {
        name: [_absolute(cell, folder) for cell in cells] if _names_files(cells) else cells
        for name, cells in table.columns.items()
    }
    return replace(table, columns=columns)


def _names_files(cells: Sequence[Cell]) -> bool:
    present = [path for path in map(_path_of, cells) if path is not None]
    return bool(present) and sum(media_of_ending(path) is not None for path in present) > len(present) / 2


def _path_of(cell: Cell) -> str | None:
    path = cell.get("path") if isinstance(cell, dict) and not cell.get("bytes") else cell
    return path if isinstance(path, str) else None


def _absolute(cell: Cell, folder: Path) -> Cell:
    path = _path_of(cell)
    if path is None or "://" in path:
        return cell
    absolute = str(folder / path)
    return {**cell, "path": absolute} if isinstance(cell, dict) else absolute
