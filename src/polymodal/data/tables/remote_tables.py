"""Table files by address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin

from polymodal.arrays import Cell
from polymodal.data.tables.files import media_of_ending
from polymodal.errors import TableError
from polymodal.modalities.archive_files import COMPRESSED_TARS, is_archive
from polymodal.modalities.base import CellReadError
from polymodal.modalities.remote_files import fetch, is_address

MAX_REMOTE_BYTES = 2**33
NAMED = 200


def read_remote_table(
    address: str, read_file: Callable[[Path], Mapping[str, Sequence[Cell]]]
) -> tuple[Mapping[str, Sequence[Cell]], str]:
    """Fetch a table file and read it.

    Args:
        address: Its address.
        read_file: Reads a table file.

    Returns:
        Column name to cells, paths of media as addresses beside the table's; and the table's name.

    Raises:
        TableError: If addresses may not be fetched now, it cannot be fetched, or it is no table.
    """
    shown = address if len(address) <= NAMED else f"{address[:NAMED]}..."
    if is_archive(address.split("?")[0]) or address.lower().split("?")[0].endswith(COMPRESSED_TARS):
        raise TableError(f"{shown} is an archive, which is not read by its address. Download it, and give its path.")
    try:
        path = Path(fetch(address, MAX_REMOTE_BYTES))
    except CellReadError as error:
        raise TableError(f"{shown} {error}.") from None
    columns = read_file(path)
    return {name: _with_addresses(cells, address) for name, cells in columns.items()}, path.name


def _with_addresses(cells: Sequence[Cell], base: str) -> Sequence[Cell]:
    """Make relative paths of media addresses beside the table; absolute ones never name local files."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    named = sum(media_of_ending(text) is not None for text in texts)
    if not named or 2 * named <= len(texts):
        return cells
    return [_joined(base, cell) if isinstance(cell, str) else cell for cell in cells]


def _joined(base: str, path: str) -> str:
    if is_address(path):
        return path
    path = path.replace("\\", "/").removeprefix("file://")
    scheme, _, rest = base.partition("://")
    joined = urljoin(f"http://{rest}", path)  # urljoin knows relative paths of web schemes only
    return f"{scheme}://{joined.removeprefix('http://')}"
