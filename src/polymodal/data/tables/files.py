"""Readers of Parquet files and of folders of class folders; modality by file ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from polymodal.data.tables.cells import arrow_columns
from polymodal.data.tables.text_files import BLOCK_BYTES, Columns, check_rows, first_line
from polymodal.errors import TableError, list_names
from polymodal.modalities import MODALITIES, Series
from polymodal.modalities.json_text import clean_nested

ARRAY = "array"
"""The pseudo-modality of ``.npy`` and ``.npz`` files, whose modality depends on their content."""
ARRAY_ENDINGS = (".npy", ".npz")
PARQUET_ROWS, VALUES_AT_ONCE = 256, 2**24
LISTINGS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@cache
def media_endings() -> dict[str, str]:
    """Return file endings, in lower case with the dot, to a modality or ``ARRAY``."""
    found = {ending: name for name, modality in MODALITIES.items() for ending in modality.endings}
    return found | dict.fromkeys(ARRAY_ENDINGS, ARRAY)


def media_of_ending(path: str) -> str | None:
    """Return the modality of a file by its ending.

    Args:
        path: A path or a URL; a URL's query is cut off.

    Returns:
        A modality, ``ARRAY`` for arrays of numbers of any modality, or None.
    """
    if "://" in path:
        path = path.split("?", 1)[0].split("#", 1)[0]
    _, dot, ending = path.rpartition(".")
    return media_endings().get(dot + ending.lower())


def read_parquet(path: Path) -> Iterator[Columns]:
    """Read a Parquet file.

    Args:
        path: The file.

    Yields:
        Column name to cells of the next rows.

    Raises:
        TableError: If it is no Parquet file, is cut off, or has no rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, buffer_size=BLOCK_BYTES, pre_buffer=False) as file:
            check_rows(file.metadata.num_rows, path.name)
            for batch in file.iter_batches(_rows_at_once(file.metadata), use_threads=False):
                yield arrow_columns(pa.Table.from_batches([batch]), path.name)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of a name of a column
        raise TableError(
            f"{path.name} cannot be read as a Parquet file: {first_line(error)}. It may be cut off or of another kind."
        ) from None


def _rows_at_once(metadata: Any) -> int:
    """Return the rows that are read at once: fewer of long lists, by the number of values that the file declares."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    longest = [
        max(group.column(at).num_values for at in range(group.num_columns)) for group in groups if group.num_columns
    ]
    rows = [group.num_rows for group in groups if group.num_columns]
    most = max((values / max(count, 1) for values, count in zip(longest, rows, strict=True)), default=1.0)
    return max(1, min(PARQUET_ROWS, int(VALUES_AT_ONCE // max(most, 1.0))))


def parts_of_table(folder: Path, ending: str) -> list[Path]:
    """List the files of a table in parts, such as a server records.

    Args:
        folder: A folder.
        ending: Ending of the parts, such as ``.parquet``.

    Returns:
        Those files by name; none where there are subfolders, which are class folders.
    """
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if any(entry.is_dir() for entry in entries):
        return []
    return sorted(entry for entry in entries if entry.suffix.lower() == ending)


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
    splits = [entry.name for entry in classes if not files and _has_class_folders(entry)]
    if splits:
        raise TableError(
            f"The folder {folder} holds folders of class folders: {list_names(splits, 8)}. Give one of them, as in "
            f"{folder / splits[0]}."
        )
    if not files:
        raise TableError(
            f"The folder {folder} has no class folders with media in them. Expected one subfolder a class, holding its "
            f"pictures or sounds (as in {folder.name}/cat/1.jpg), or give the path of a table file."
        )
    return class_columns(files, f"The folder {folder}")


def _has_class_folders(folder: Path) -> bool:
    return any(_media_files(entry) for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def listing_of(folder: Path) -> Path | None:
    """Return the table beside the media of a folder, as Hugging Face's ImageFolder and AudioFolder have it.

    Args:
        folder: A folder.

    Returns:
        Its ``metadata.csv``, ``.jsonl`` or ``.parquet``; None without one.
    """
    return next((folder / name for name in LISTINGS if (folder / name).is_file()), None)


def class_columns(files: Sequence[tuple[str, str, str]], where: str) -> Columns:
    """Make columns of the files of class folders.

    Args:
        files: Class folder, path within it, and modality of each file.
        where: What holds them, for messages.

    Returns:
        A column named after the media and ``label``.

    Raises:
        TableError: If there are media of two kinds.
    """
    kinds = Counter(media for _, _, media in files)
    if len(kinds) == 2 and Series.name in kinds:  # a list of the pictures, most likely
        files = [file for file in files if file[2] != Series.name]
        del kinds[Series.name]
    if len(kinds) > 1:
        found = " and ".join(f"{count} {media} files" for media, count in kinds.most_common())
        raise TableError(f"{where} mixes {found}. Expected one kind, or a CSV that names the files.")
    return {
        next(iter(kinds)): [f"{label}/{name}" for label, name, _ in files],
        "label": [clean_nested(PurePosixPath(label).name) for label, _, _ in files],
    }


def _media_files(folder: Path) -> list[tuple[str, str]]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    found = ((name, media_of_ending(name)) for name in names)
    return [(name, media) for name, media in found if media is not None]
