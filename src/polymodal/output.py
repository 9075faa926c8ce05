"""Writing predictions: CSV, JSON lines or Parquet, by the file's ending; whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from polymodal.errors import ConfigError

if TYPE_CHECKING:
    from polymodal.arrays import Cell

Columns = Mapping[str, Sequence["Cell"]]


def check_output(path: str | None) -> None:
    """Check that predictions can be written there, before any work is done.

    Args:
        path: File to write, ``-`` or None for standard output.

    Raises:
        ConfigError: If the ending is unknown or the folder is not there.
    """
    if path is None or path == "-":
        return
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise ConfigError(f"Predictions go to a file that ends in {', '.join(WRITERS)}. Got {path!r} instead.")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {str(Path(path).parent)!r} to write to. Make it first.")


def write_columns(columns: Columns, path: str) -> None:
    """Write columns to a file; it appears whole or not at all.

    Args:
        columns: Column name to cells.
        path: The file; its ending chooses the format.

    Raises:
        ConfigError: If the ending is unknown or the file cannot be written.
    """
    check_output(path)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        WRITERS[target.suffix.lower()](columns, temporary)
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(f"The predictions cannot be written to {path}: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(columns: Columns, stream: TextIO) -> None:
    """Write columns as CSV.

    Args:
        columns: Column name to cells; lists of labels are joined by ``|``, lists of anything else are JSON.
        stream: Where to.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    ways = [_json_cell if any(map(_holds_records, cells)) else _csv_cell for cells in columns.values()]
    for row in zip(*columns.values(), strict=True):
        writer.writerow([write(cell) for write, cell in zip(ways, row, strict=True)])


def _holds_records(cell: Cell) -> bool:
    return isinstance(cell, dict) or (isinstance(cell, list | tuple) and any(isinstance(part, dict) for part in cell))


def _json_cell(cell: Cell) -> str | None:
    return None if cell is None else json.dumps(cell, ensure_ascii=False)


def _csv_cell(cell: Cell) -> Any:
    if isinstance(cell, list | tuple):
        is_labels = all(isinstance(part, str) for part in cell)
        return "|".join(cell) if is_labels else json.dumps(_brief(cell), ensure_ascii=False)
    return format(cell, ".7g") if isinstance(cell, float) else cell


def _brief(cell: Cell) -> Any:
    """Round the numbers inside a cell to seven digits, as they stand alone."""
    if isinstance(cell, float):
        return float(format(cell, ".7g"))
    if isinstance(cell, list | tuple):
        return [_brief(part) for part in cell]
    return {name: _brief(part) for name, part in cell.items()} if isinstance(cell, dict) else cell


def _to_csv(columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_csv(columns, stream)


def _to_jsonl(columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for row in zip(*columns.values(), strict=True):
            stream.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")


def _to_parquet(columns: Columns, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({name: list(cells) for name, cells in columns.items()}), path)


WRITERS: dict[str, Callable[[Columns, Path], None]] = {
    ".csv": _to_csv,
    ".jsonl": _to_jsonl,
    ".parquet": _to_parquet,
}
