"""Writing predictions atomically: CSV, JSON lines or Parquet, by the file's ending."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from polymodal.atomic_files import atomic_file
from polymodal.cli.json_text import json_text
from polymodal.errors import ConfigError

if TYPE_CHECKING:
    from polymodal.arrays import Cell

WRITABLE = (str, int, float, bool, list, dict, tuple, dt.date, dt.time, type(None))
"""Types of cells that are copied to CSV and JSON."""
Columns = Mapping[str, Sequence["Cell"]]


class Write(Protocol):
    """Writes the next rows of an output."""

    def __call__(self, columns: Columns, records: Collection[str] = (), kept: Collection[str] = ()) -> None:
        """Write rows.

        Args:
            columns: Column name to cells.
            records: Columns whose cells are lists of dictionaries, where some may be empty.
            kept: Columns that are copied from a table: their numbers are not rounded.
        """


def check_output(path: str | None, table: str) -> None:
    """Check that predictions can be written there, before any work is done.

    Args:
        path: File to write, ``-`` or None for standard output.
        table: The table that is predicted.

    Raises:
        ConfigError: If the ending is unknown, the folder is not there, or the file is the table itself.
    """
    if _is_same_file(path, table):
        raise ConfigError(f"The output would overwrite the table {table}. Choose another --output.")
    if path is None or path == "-":
        return
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise ConfigError(f"Predictions go to a file that ends in {', '.join(WRITERS)}. Got {path!r} instead.")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {str(Path(path).parent)!r} to write to. Make it first.")
    if Path(path).is_dir():
        raise ConfigError(f"The output {path} is a folder. Choose another --output.")


def _is_same_file(path: str | None, table: str) -> bool:
    """Whether an output is the table, also by another name, by a link, or as standard output."""
    with suppress(OSError, ValueError):  # one of them is not there
        source = os.stat(table)
        output = os.fstat(sys.stdout.fileno()) if path is None or path == "-" else os.stat(path)
        return stat.S_ISREG(output.st_mode) and os.path.samestat(source, output)
    return False


@contextmanager
def open_output(path: str | None, *, as_json: bool = False) -> Iterator[Write]:
    """Open an output for rows that come in chunks; a file is written atomically, when the context ends.

    Args:
        path: The file, whose ending chooses the format; ``-`` or None for standard output.
        as_json: Whether rows on standard output are JSON lines, not CSV.

    Yields:
        A function that writes the next rows.

    Raises:
        OSError: If the file cannot be written: disk full, no permission.
    """
    if path is None or path == "-":
        yield JsonLines(sys.stdout).write if as_json else CsvWriter(sys.stdout).write
        return
    target = Path(path)
    with atomic_file(target) as temporary:
        opened = ExitStack()
        try:
            yield WRITERS[target.suffix.lower()](temporary, opened)
            opened.close()
        finally:
            with suppress(OSError):  # after an error; the temporary file is deleted anyway
                opened.close()


class CsvWriter:
    """CSV, the header with the first rows."""

    def __init__(self, stream: TextIO) -> None:
        """Store where to write.

        Args:
            stream: An open text stream.
        """
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self._has_header = False

    def write(self, columns: Columns, records: Collection[str] = (), kept: Collection[str] = ()) -> None:
        """Write the next rows.

        Args:
            columns: Column name to cells; lists of labels are joined by ``|``, lists of anything else are JSON.
            records: Columns whose cells are lists of dictionaries, where some may be empty.
            kept: Columns whose numbers are not rounded.
        """
        _check_kept(columns, kept)
        if not self._has_header:
            self._writer.writerow(columns)
            self._has_header = True
        formats = [
            _kept_cell
            if name in kept
            else _json_cell
            if name in records or any(map(_holds_records, cells))
            else _csv_cell
            for name, cells in columns.items()
        ]
        for row in zip(*columns.values(), strict=True):
            self._writer.writerow([format_cell(cell) for format_cell, cell in zip(formats, row, strict=True)])
        self._stream.flush()


def _holds_records(cell: Cell) -> bool:
    return isinstance(cell, dict) or (isinstance(cell, list | tuple) and any(isinstance(part, dict) for part in cell))


def _check_kept(columns: Columns, kept: Collection[str]) -> None:
    """Raise an error if a kept column holds what text cannot, such as the bytes of pictures."""
    for name in kept:
        wrong = next((cell for cell in columns[name] if not isinstance(cell, WRITABLE)), None)
        if wrong is not None:
            raise ConfigError(
                f"The column {name!r} holds {type(wrong).__name__}, which CSV and JSON cannot. Keep other columns, or "
                "write a .parquet file."
            )


def _kept_cell(cell: Cell) -> Any:
    if isinstance(cell, list | dict | tuple):
        return json_text(cell)
    return cell.isoformat() if isinstance(cell, dt.date | dt.time) else cell


def _json_cell(cell: Cell) -> str | None:
    return None if cell is None else json.dumps(cell, ensure_ascii=False)


def _csv_cell(cell: Cell) -> Any:
    if isinstance(cell, list | tuple):
        is_labels = all(isinstance(part, str) for part in cell)
        return "|".join(cell) if is_labels else json.dumps(_rounded(cell), ensure_ascii=False)
    return format(cell, ".7g") if isinstance(cell, float) else cell


def _rounded(cell: Cell) -> Any:
    """Round the numbers inside a cell to seven digits, like numbers that are cells."""
    if isinstance(cell, float):
        return float(format(cell, ".7g"))
    if isinstance(cell, list | tuple):
        return [_rounded(part) for part in cell]
    return {name: _rounded(part) for name, part in cell.items()} if isinstance(cell, dict) else cell


def _open_csv(path: Path, stack: ExitStack) -> Write:
    return CsvWriter(stack.enter_context(path.open("w", encoding="utf-8", newline=""))).write


class JsonLines:
    """JSON lines: one object a row."""

    def __init__(self, stream: TextIO) -> None:
        """Store where to write.

        Args:
            stream: An open text stream.
        """
        self._stream = stream

    def write(self, columns: Columns, records: Collection[str] = (), kept: Collection[str] = ()) -> None:  # noqa: ARG002
        """Write the next rows.

        Args:
            columns: Column name to cells.
            records: Not needed.
            kept: Columns that are copied from a table.
        """
        _check_kept(columns, kept)
        for row in zip(*columns.values(), strict=True):
            self._stream.write(json_text(dict(zip(columns, row, strict=True))) + "\n")
        self._stream.flush()


def _open_jsonl(path: Path, stack: ExitStack) -> Write:
    return JsonLines(stack.enter_context(path.open("w", encoding="utf-8"))).write


class ParquetRows:
    """Parquet with the common types of all rows; written rows are rewritten if a later row needs a wider type."""

    def __init__(self, path: Path) -> None:
        """Store the file's path.

        Args:
            path: Where to write.
        """
        self._path = path
        self._writer: Any = None

    def write(self, columns: Columns, records: Collection[str] = (), kept: Collection[str] = ()) -> None:  # noqa: ARG002
        """Write the next rows.

        Args:
            columns: Column name to cells.
            records: Not needed.
            kept: Not needed.
        """
        import pyarrow
        from pyarrow import parquet

        rows = pyarrow.table({name: list(cells) for name, cells in columns.items()})
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, rows.schema)
        schema = pyarrow.unify_schemas([self._writer.schema, rows.schema], promote_options="permissive")
        if schema != self._writer.schema:
            self._widen(schema)
        self._writer.write_table(rows if rows.schema == schema else pyarrow.table(rows.to_pydict(), schema=schema))

    def _widen(self, schema: Any) -> None:
        import pyarrow
        from pyarrow import parquet

        self.close()
        narrow = self._path.with_name(self._path.name + ".narrow")
        self._path.replace(narrow)
        try:
            self._writer = parquet.ParquetWriter(self._path, schema)
            with parquet.ParquetFile(narrow, pre_buffer=False) as written:
                for batch in written.iter_batches():
                    self._writer.write_table(pyarrow.table(batch.to_pydict(), schema=schema))
        finally:
            narrow.unlink(missing_ok=True)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


def _open_parquet(path: Path, stack: ExitStack) -> Write:
    rows = ParquetRows(path)
    stack.callback(rows.close)
    return rows.write


WRITERS: dict[str, Callable[[Path, ExitStack], Write]] = {
    ".csv": _open_csv,
    ".jsonl": _open_jsonl,
    ".parquet": _open_parquet,
}
