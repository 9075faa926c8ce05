"""The manifest of a saved folder: size and SHA-256 digest of each file, checked before any file is parsed.

It finds files that were cut, changed or exchanged. It is no signature: who changes a file can change the manifest too.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MANIFEST_FILE = "manifest.json"
MAX_JSON_BYTES = 2**28
MAX_FILES = 10_000
NOT_COVERED = ("README.md", ".gitattributes")
"""Files that may be edited where a model is published; nothing of the model is in them."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class DamagedFileError(ValueError):
    """A file of a saved folder that cannot be what was saved; the message is one clause that names it."""


class FileEntry(BaseModel):
    """A file of the folder.

    Attributes:
        size: Its bytes.
        sha256: Its digest in hexadecimal digits.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """All files of the folder but the manifest itself and those of ``NOT_COVERED``.

    Attributes:
        format: Version of this form.
        files: Path in the folder, with ``/``, to its entry.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal[1]
    files: dict[str, FileEntry] = Field(max_length=MAX_FILES)


def write_manifest(folder: Path) -> None:
    """Write the manifest of a folder, as the last of its files.

    Args:
        folder: The folder, with all other files in it.
    """
    files = {
        path.relative_to(folder).as_posix(): FileEntry(size=path.stat().st_size, sha256=_digest(path))
        for path in sorted(_entries(folder))
        if path.relative_to(folder).as_posix() not in (MANIFEST_FILE, *NOT_COVERED)
    }
    text = Manifest(format=1, files=files).model_dump_json(indent=1)
    (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


def check_files(folder: Path, required: Collection[str]) -> bool:
    """Check that a folder holds regular files, and those that its manifest says; no file is opened before.

    Args:
        folder: The folder. One that an earlier version saved has no manifest.
        required: Paths of files that must be there, and in the manifest if there is one.

    Returns:
        Whether there is a manifest.

    Raises:
        DamagedFileError: If a file is missing, is no regular file, or differs from the manifest; one clause names it.
        OSError: If a file cannot be read.
    """
    for name in required:
        file_size(folder / name)
    for path in _entries(folder):
        file_size(path)
    if not (folder / MANIFEST_FILE).exists():
        return False
    files = _read_manifest(folder / MANIFEST_FILE).files
    for name in required:
        if name not in files:
            raise DamagedFileError(f"{MANIFEST_FILE} does not name {name}")
    for name, entry in files.items():
        _check_size(folder, name, entry)
    for name, entry in files.items():
        if _digest(folder / name) != entry.sha256:
            raise DamagedFileError(f"the content of {name} is not what was saved: its SHA-256 digest differs")
    return True


def _entries(folder: Path) -> Iterator[Path]:
    """Yield everything in a folder and in its subfolders but the subfolders; links to folders are not followed."""
    number = 0
    for place, _, names in os.walk(folder):
        for name in names:
            number += 1
            if number > MAX_FILES:
                raise DamagedFileError(f"it holds more than {MAX_FILES:,} files")
            yield Path(place, name)


def file_size(path: Path) -> int:
    """Return the size of a regular file; nothing is opened.

    Args:
        path: A file, or a link to one.

    Returns:
        Its bytes.

    Raises:
        DamagedFileError: If it is missing, a link to itself, or anything but a regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DamagedFileError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path.name} cannot be found: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(
            f"{path.name} is {KINDS.get(stat.S_IFMT(status.st_mode), 'of another kind')}, not a file"
        )
    return status.st_size


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a regular file.

    Args:
        path: The file, in UTF-8.

    Returns:
        The object.

    Raises:
        DamagedFileError: If it is too large, or is no JSON object; one clause names the file.
    """
    if file_size(path) > MAX_JSON_BYTES:
        raise DamagedFileError(f"{path.name} has more than {MAX_JSON_BYTES:,} bytes")
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise DamagedFileError(f"{path.name} is not JSON: {reason}") from None
    if not isinstance(content, dict):
        raise DamagedFileError(f"{path.name} holds no JSON object")
    return content


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedFileError(f"{path.name}, {place}: {first['msg'].lower()}") from None


def _check_size(folder: Path, name: str, entry: FileEntry) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        raise DamagedFileError(f"{MANIFEST_FILE} names {name!r}, which lies outside")
    size = file_size(folder / name)
    if size != entry.size:
        raise DamagedFileError(f"{name} has {size:,} bytes, saved were {entry.size:,}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
