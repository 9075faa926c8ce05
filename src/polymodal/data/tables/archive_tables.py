"""Tables in archives: a table file with its media, class folders, or samples in WebDataset's form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from polymodal.arrays import Cell
from polymodal.data.tables.cells import clean_cell
from polymodal.data.tables.files import class_columns, media_of_ending
from polymodal.data.tables.text_files import Columns
from polymodal.errors import TableError, list_names, warn
from polymodal.modalities.archive_files import (
    COMPRESSED_TARS,
    Member,
    archive_members,
    copy_member,
    find_member,
    is_archive,
    read_member,
    split_archive_path,
)
from polymodal.modalities.base import CellReadError
from polymodal.modalities.json_text import clean_nested, load_json

ReadFile = Callable[[Path], Mapping[str, Sequence[Cell]]]

MAX_TABLE_BYTES = 2**35
MAX_RATIO, CHECKED_BYTES = 200, 2**28
"""A table of more bytes than this is refused if it is so many times its size in the archive, as bombs are."""
MAX_TEXT_BYTES = 2**24
TABLE_RANKS = (
    (".csv", ".tsv", ".tab", ".psv", ".parquet", ".pq", ".jsonl", ".ndjson", ".xlsx"),
    (".json",),
    (".txt",),
)
"""Endings of tables; those behind are only looked at where there is none of those before."""
DOCUMENTS = re.compile(r"(readme|license|licence|notice|changelog|citation)", re.IGNORECASE)
LABELS, TEXTS, RECORDS = (
    ("cls", "cls2", "class", "count", "index", "id"),
    ("txt", "text", "transcript"),
    ("json", "jsn"),
)
"""WebDataset's endings of whole numbers, texts and records."""
PICKLES = frozenset({"pyd", "pickle", "pkl", "pth", "pt"})
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
MAX_SHARDS = 100_000


def is_archive_source(path: Path) -> bool:
    """Tell whether a path names a table in archives: an archive, a file in one, or shards such as ``{000..003}.tar``.

    Args:
        path: A path.

    Returns:
        True for those; False for what is on the disk under that name and no archive.
    """
    if path.exists():
        return path.is_file() and (is_archive(path) or _is_closed(path))
    return bool(BRACES.search(path.name)) or split_archive_path(str(path)) is not None


def _is_closed(path: Path) -> bool:
    return path.name.lower().endswith(COMPRESSED_TARS)


def read_archive_table(path: Path, read_file: ReadFile) -> tuple[Mapping[str, Sequence[Cell]], Path]:
    """Read a table from archives.

    Args:
        path: As for ``is_archive_source``.
        read_file: Reads a table file.

    Returns:
        Column name to cells, and the folder in which relative paths of media begin; it may be an archive.

    Raises:
        TableError: If there is no table, or an archive cannot be read.
    """
    if _is_closed(path):
        raise TableError(
            f"{path.name} is an archive whose files cannot be read one by one. Unpack it, or save it as .zip or .tar."
        )
    if BRACES.search(path.name):
        return read_shards(list(map(Path, _expand(str(path)))))
    inside = split_archive_path(str(path))
    try:
        if inside is not None:
            return _read_inside(Path(inside[0]), find_member(*inside), read_file)
        return _read_whole(path, read_file)
    except CellReadError as error:
        raise TableError(f"{path} {error}.") from None


def _expand(pattern: str) -> list[str]:
    found = BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, width = int(found[1]), int(found[2]), len(found[1])
    if not 0 <= last - first < MAX_SHARDS:
        raise TableError(f"{found[0]} in {pattern} names no shards. Expected a range such as {{000..003}}.")
    numbers = (f"{number:0{width}d}" for number in range(first, last + 1))
    return [name for number in numbers for name in _expand(pattern.replace(found[0], number, 1))]


def _read_whole(path: Path, read_file: ReadFile) -> tuple[Mapping[str, Sequence[Cell]], Path]:
    members = archive_members(path)
    if path.suffix.lower() == ".tar" and _are_samples(members):
        return read_shards([path])
    root = _root(members)
    tables = _tables(members, root)
    if len(tables) > 1:
        found = list_names(tables, 8)
        raise TableError(f"{path.name} holds several tables: {found}. Name one, as in {path.name}/{tables[0]}.")
    if tables:
        return _read_inside(path, members[tables[0]], read_file)
    files = _class_files(members, root)
    if not files:
        raise TableError(_nothing(path, members))
    return class_columns(files, path.name), path / root if root else path


def _root(members: Iterable[str]) -> str:
    """Return the folder that holds everything, as archives of one folder have it; "" without one."""
    folders = sorted(PurePosixPath(name).parent.parts for name in members)
    pairs = zip(folders[0], folders[-1], strict=False) if folders else ()
    return "/".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _tables(members: Iterable[str], root: str) -> list[str]:
    names = [name for name in members if str(PurePosixPath(name).parent) == (root or ".")]
    names = [name for name in names if not DOCUMENTS.match(PurePosixPath(name).name)]
    for endings in TABLE_RANKS:
        found = sorted(name for name in names if name.lower().endswith(endings))
        if found:
            return found
    return []


def _class_files(members: Iterable[str], root: str) -> list[tuple[str, str, str]]:
    """Return class folder below the root, name and modality of each media file in a folder of its own."""
    files = []
    for name in sorted(members):
        path = PurePosixPath(name)
        inner = path.relative_to(root) if root else path
        media = media_of_ending(name)
        if media is not None and len(inner.parts) > 1:
            files.append((str(inner.parent), path.name, media))
    return files


def _nothing(path: Path, members: Mapping[str, Member]) -> str:
    nested = sorted(name for name in members if is_archive(name) or name.lower().endswith(COMPRESSED_TARS))
    if nested:
        return (
            f"{path.name} holds archives ({list_names(nested, 5)}), which are not read inside another. Unpack it, and "
            "give one of them."
        )
    return (
        f"{path.name} holds {len(members):,} files, but no table, class folders or samples of media. Expected a CSV, "
        "JSONL or Parquet file beside its media, or one folder a class."
    )


def _read_inside(path: Path, member: Member, read_file: ReadFile) -> tuple[Mapping[str, Sequence[Cell]], Path]:
    """Read a table file of an archive from a temporary copy."""
    name = PurePosixPath(member.name)
    is_bomb = member.size > CHECKED_BYTES and member.size > MAX_RATIO * member.stored_size
    if member.size > MAX_TABLE_BYTES or is_bomb:
        raise TableError(
            f"{path.name}: {member.name} declares {member.size:,} bytes, which are {member.stored_size:,} in the "
            "archive: too many to unpack. Unpack it by hand if you trust it."
        )
    with TemporaryDirectory(prefix="polymodal-") as folder:
        copy = Path(folder, name.name)
        with copy.open("wb") as file:
            copy_member(str(path), member, file)
        return read_file(copy), path / name.parent


def read_shards(paths: Sequence[Path]) -> tuple[Columns, Path]:
    """Read the samples of WebDataset's shards: files of one key are a row.

    Args:
        paths: Tar archives. ``000.jpg``, ``000.txt``, ``000.cls`` and ``000.json`` are one row.

    Returns:
        Column name to cells, and the folder in which their paths begin. Texts, labels and records are read; the keys of
        records are columns of their own. Media are paths into the shards, in a column named after their modality
        where a row has one of it, else after their ending.

    Raises:
        TableError: If a shard is absent or cannot be read.
    """
    rows: list[dict[str, Cell]] = []
    left_out: Counter[str] = Counter()
    folder = paths[0].parent
    for path in paths:
        if not path.is_file():
            raise TableError(f"There is no file {path}. Check the path.")
        try:
            rows += _samples(path, path.relative_to(folder).as_posix(), left_out)
        except CellReadError as error:
            raise TableError(f"{path} {error}.") from None
    _tell_left_out(left_out)
    if not rows:
        raise TableError(f"{paths[0].name} holds no samples. Expected files such as 000.jpg and 000.cls.")
    rows = _with_modalities(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {clean_nested(name): [row.get(name) for row in rows] for name in names}, folder


def _tell_left_out(left_out: Mapping[str, int]) -> None:
    for ending, count in left_out.items():
        why = "pickles are never loaded" if ending.rpartition(".")[2] in PICKLES else "their ending is not known"
        warn(f"{count:,} files .{ending} of the shards are left out: {why}.")


def _are_samples(members: Iterable[str]) -> bool:
    """Tell whether files that are no tables share their keys, as a picture and its label do."""
    endings = [(_key_and_ending(name)) for name in members]
    keys = Counter(key for key, _ in endings)
    marked = any(ending in (*LABELS, *TEXTS, *RECORDS) for _, ending in endings)
    return marked and 2 * sum(count > 1 for count in keys.values()) > len(keys)


def _key_and_ending(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    key, _, ending = base.partition(".")
    return folder + slash + key, ending.lower()


def _samples(path: Path, prefix: str, left_out: Counter[str]) -> list[dict[str, Cell]]:
    rows: dict[str, dict[str, Cell]] = {}
    for name in archive_members(path):
        key, ending = _key_and_ending(name)
        kind = ending.rpartition(".")[2]
        row = rows.setdefault(key, {})
        if kind in (*LABELS, *TEXTS, *RECORDS):
            row.update(_read_text(path, name, ending, kind, row))
        elif media_of_ending(name) is not None and kind not in PICKLES:
            row[ending] = f"{prefix}/{name}"
        else:
            left_out[ending] += 1
    return [row for row in rows.values() if row]


def _read_text(path: Path, name: str, ending: str, kind: str, row: Mapping[str, Cell]) -> dict[str, Cell]:
    try:
        text = read_member(str(path), name, MAX_TEXT_BYTES).decode("utf-8-sig").strip()
        content: Any = load_json(text) if kind in RECORDS else text
    except UnicodeDecodeError:
        raise CellReadError(f"holds {name}, which is not UTF-8 text") from None
    except ValueError as error:
        raise CellReadError(f"holds {name}, which is not valid JSON: {error}") from None
    except CellReadError as error:
        if "0 bytes" in str(error):
            return {}
        raise CellReadError(f"holds {name}, which {error}") from None
    if isinstance(content, dict):
        return {(f"{ending}.{key}" if key in row else str(key)): clean_cell(cell) for key, cell in content.items()}
    if kind in LABELS and re.fullmatch(r"-?\d{1,18}", text):
        return {ending: int(text)}
    return {ending: clean_cell(content)}


def _with_modalities(rows: Sequence[dict[str, Cell]]) -> list[dict[str, Cell]]:
    """Call a column of media after its modality where no row has two of it."""
    endings = {name for row in rows for name, cell in row.items() if _is_media_path(name, cell)}
    modality = {name: media_of_ending(f"x.{name}") or "" for name in endings}
    most = {kind: max(sum(modality.get(name) == kind for name in row) for row in rows) for kind in modality.values()}
    taken = {name for row in rows for name in row}
    names = {name: kind for name, kind in modality.items() if most[kind] == 1 and kind not in taken}
    return [{names.get(name, name): cell for name, cell in row.items()} for row in rows]


def _is_media_path(name: str, cell: Cell) -> bool:
    return isinstance(cell, str) and cell.endswith(f".{name}") and ".tar/" in cell.lower()
