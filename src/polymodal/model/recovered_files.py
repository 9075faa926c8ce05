"""Recovered pictures as PNG files."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from polymodal.arrays import Cell
from polymodal.atomic_files import atomic_file
from polymodal.errors import ConfigError
from polymodal.targets.image_uri import PNG_URI

UNSAFE = re.compile(r"[^\w.-]+")


def check_picture_folder(folder: Path) -> None:
    """Check that pictures can be written to a folder, before any work is done.

    Args:
        folder: The folder; it is made where it is not there.

    Raises:
        ConfigError: If it is a file, or the folder around it is not there.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"Recovered pictures go to a folder, and {folder} is a file. Name another folder.")
    if not folder.absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {str(folder.parent)!r} to make {folder.name!r} in. Make it first.")


def write_pictures(columns: Mapping[str, Sequence[Cell]], folder: Path, first_row: int = 1) -> dict[str, list[Cell]]:
    """Write the pictures among recovered cells as ``COLUMN-ROW.png``; older files of these names are replaced.

    Args:
        columns: Column to recovered cells.
        folder: Where they are written.
        first_row: Number of the first row in its table.

    Returns:
        The same columns, with the path of its file in place of each picture.

    Raises:
        OSError: If a file cannot be written: disk full, no permission.
    """
    folder.mkdir(exist_ok=True)
    return {
        name: [_written(cell, folder / f"{_file_name(name)}-{row}.png") for row, cell in enumerate(cells, first_row)]
        for name, cells in columns.items()
    }


def _file_name(column: str) -> str:
    return UNSAFE.sub("_", column.removeprefix("recovered:"))


def _written(cell: Cell, path: Path) -> Cell:
    if not (isinstance(cell, str) and cell.startswith(PNG_URI)):
        return cell
    with atomic_file(path) as temporary:
        temporary.write_bytes(base64.b64decode(cell.removeprefix(PNG_URI)))
    return str(path)
