"""Members of ``.zip`` and ``.tar`` archives, read one by one where they lie: a path may go on inside an archive.

Nothing is unpacked, so that no member's name can write anywhere; names that lead out of an archive are no members.
Links are not followed, and the size that an archive declares of a member is checked before it is read.
"""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import IO

from polymodal.modalities.base import CellReadError

ARCHIVE_ENDINGS = (".zip", ".tar")
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")
"""Archives whose members cannot be read one by one."""
INSIDE = re.compile(r"\.(?:zip|tar)/", re.IGNORECASE)
MAX_MEMBERS = 20_000_000
HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/)")
ENCRYPTED = 1
BLOCK_BYTES = 2**20
READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError)
"""What damaged archives raise, encrypted ones and unknown ways of compression too."""


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: Its name, with ``/`` between folders.
        size: Bytes after decompression, as the archive declares them.
        place: Where its bytes stand in a tar; -1 in a zip.
        stored_name: Its name as the archive writes it.
        stored_size: Bytes in the archive.
        is_encrypted: Whether it needs a password.
    """

    name: str
    size: int
    place: int
    stored_name: str
    stored_size: int
    is_encrypted: bool = False


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Tell by its ending whether a file is an archive whose members can be read."""
    return str(path).lower().endswith(ARCHIVE_ENDINGS)


def split_archive_path(path: str) -> tuple[str, str] | None:
    """Split a path that goes on inside an archive.

    Args:
        path: A full path, such as ``/data/photos.zip/cat/1.jpg``.

    Returns:
        The archive's path and the member's name; None where no part of the path is an archive that exists.
    """
    plain = path.replace("\\", "/")
    for found in INSIDE.finditer(plain):
        if os.path.isfile(plain[: found.end() - 1]):
            return plain[: found.end() - 1], plain[found.end() :]
    return None


def archive_members(path: str | os.PathLike[str]) -> Mapping[str, Member]:
    """List the files of an archive, without hidden ones.

    Args:
        path: A ``.zip`` or ``.tar`` file.

    Returns:
        Name to member; of several of one name the last.

    Raises:
        CellReadError: If it cannot be read.
    """
    try:
        status = os.stat(path)
        return _members(str(path), status.st_size, status.st_mtime_ns)
    except READ_ERRORS as error:
        raise CellReadError(f"is not a readable archive: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    known = {"File is not a zip file": "it is cut off or no zip file", "truncated header": "it is cut off"}
    text = (str(error).splitlines() or [""])[0]
    return known.get(text, text or "it is damaged")


@lru_cache(maxsize=64)
def _members(path: str, _size: int, _mtime_ns: int) -> dict[str, Member]:
    found = _zip_members(path) if path.lower().endswith(".zip") else _tar_members(path)
    members: dict[str, Member] = {}
    for member in found:
        if member.name and not HIDDEN.search(member.name) and not _leads_out(member.name):
            members[member.name] = member
        if len(members) > MAX_MEMBERS:
            raise CellReadError(f"holds more than {MAX_MEMBERS:,} files")
    return members


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name) is not None


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _zip_members(path: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                is_encrypted = bool(info.flag_bits & ENCRYPTED)
                yield Member(_plain(info.filename), info.file_size, -1, info.filename, info.compress_size, is_encrypted)


def _tar_members(path: str) -> Iterator[Member]:
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            if info.isreg() and not info.issparse():
                yield Member(_plain(info.name), info.size, info.offset_data, info.name, info.size)
            archive.members = []  # type: ignore[attr-defined]  # else all headers stay in memory


@lru_cache(maxsize=16)
def _open_zip(path: str, _size: int, _mtime_ns: int, _process: int) -> zipfile.ZipFile:
    """Return an open archive; each process has its own, as the position in an open file is shared after a fork."""
    return zipfile.ZipFile(path)


def open_member(path: str, member: Member) -> IO[bytes]:
    """Open a member for reading from its beginning.

    Args:
        path: The archive.
        member: One of its files.

    Returns:
        A file that is read-only; of a tar it does not end where the member does.

    Raises:
        CellReadError: If it needs a password.
    """
    if member.is_encrypted:
        raise CellReadError("is encrypted; unpack the archive with its password first")
    if member.place < 0:
        status = os.stat(path)
        return _open_zip(path, status.st_size, status.st_mtime_ns, os.getpid()).open(member.stored_name)
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    file.seek(member.place)
    return file


def read_member(path: str, name: str, max_bytes: int) -> bytes:
    """Read a file of an archive.

    Args:
        path: The archive.
        name: The member's name.
        max_bytes: A member that declares more is refused before it is read.

    Returns:
        Its bytes.

    Raises:
        CellReadError: If there is no such member, or it is empty, too large, encrypted or damaged.
    """
    member = find_member(path, name)
    if member.size > max_bytes:
        raise CellReadError(f"declares {member.size:,} bytes, above the limit of {max_bytes:,}")
    if not member.size:
        raise CellReadError("is empty (0 bytes)")
    try:
        with open_member(path, member) as file:
            content = file.read(member.size)
    except READ_ERRORS as error:
        raise CellReadError(f"cannot be read from its archive: {_reason(error)}") from None
    if len(content) < member.size:
        raise CellReadError(f"is cut off: {len(content):,} of {member.size:,} bytes are in the archive")
    return content


def find_member(path: str, name: str) -> Member:
    """Find a file of an archive by its name.

    Args:
        path: The archive.
        name: The member's name; ``.`` and ``..`` are followed, within the archive only.

    Returns:
        The member.

    Raises:
        CellReadError: If there is none, or the archive cannot be read.
    """
    members = archive_members(path)
    plain = os.path.normpath(_plain(name)).replace("\\", "/")
    if _leads_out(plain):
        raise CellReadError("leads out of the archive")
    if plain not in members:
        raise CellReadError(f"is not there: {os.path.basename(path)} has no such file")
    return members[plain]


def member_identity(path: str, name: str) -> bytes:
    """Return what identifies the content of a member: the archive's path, size and times of change, and the name.

    Args:
        path: The archive.
        name: The member's name.

    Returns:
        Bytes for a digest.

    Raises:
        OSError: If there is no archive.
    """
    status = os.stat(path)
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"member {path} {status.st_size} {times} {name}".encode("utf-8", "surrogatepass")


def copy_member(path: str, member: Member, target: IO[bytes]) -> None:
    """Copy a member into an open file, block by block.

    Args:
        path: The archive.
        member: One of its files.
        target: Where it is written to.

    Raises:
        CellReadError: If it is encrypted, damaged or cut off.
    """
    left = member.size
    try:
        with open_member(path, member) as file:
            while left and (block := file.read(min(BLOCK_BYTES, left))):
                target.write(block)
                left -= len(block)
    except READ_ERRORS as error:
        raise CellReadError(f"cannot be read from its archive: {_reason(error)}") from None
    if left:
        raise CellReadError(f"is cut off: {left:,} of {member.size:,} bytes are missing")
