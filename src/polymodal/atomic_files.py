"""Files and folders that are there as a whole or not at all, with the mode that the umask asks for.

Each is written under a name of its own beside its place, ``.NAME.0123456789ab.tmp``, synced to the disk and renamed. So
a killed process leaves the old content or the new one, and nothing that anybody else made is touched. Errors of the
disk are OSErrors that name the file, whichever library wrote it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polymodal.errors import ConfigError, PolymodalError

TEMPORARY_NAME = re.compile(r"\..*\.[0-9a-f]{12}\.tmp")
LONGEST_STEM = 40
"""Characters of the file's name in that of its temporary file, which must not be longer than names may be."""
RUST_ERROR = re.compile(r"\b(?:os error |Os \{ code: )(\d+)")
"""How safetensors and tokenizers report an error of the operating system."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Constants of Linux: paths are relative to the working directory; exchange, do not replace."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    Args:
        path: The file; an older one is replaced, also where ``path`` is a link to it, unless it is write-protected.

    Yields:
        The file to write instead; it is renamed when the context ends, and removed upon an error.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    temporary = temporary_sibling(target)
    try:
        with _errors_name(path, temporary):
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            _finish_file(temporary, mode)
            temporary.replace(target)
    finally:
        with suppress(OSError):  # it is renamed, or the disk is read-only
            temporary.unlink()


@contextmanager
def atomic_folder(folder: Path, contents: Collection[str]) -> Iterator[Path]:
    """Write a folder atomically.

    Args:
        folder: The folder; of an older one, the contents are replaced and everything else is kept.
        contents: Names of the files and folders that such a folder may consist of.

    Yields:
        The folder to fill instead; it is renamed when the context ends, and removed upon an error.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    target = Path(os.path.realpath(folder))
    temporary = temporary_sibling(target)
    try:
        with _errors_name(folder, temporary):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            mode = temporary.stat().st_mode & 0o666
            for path in temporary.rglob("*"):
                if path.is_file():
                    _finish_file(path, mode)
            _replace_folder(target, temporary, contents)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    Args:
        path: The file; an older one is replaced.
        text: Its content.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_replaceable(folder: Path, marker: str, kind: str) -> None:
    """Check that a folder can be written by ``atomic_folder``, before any work is done.

    Args:
        folder: The folder, which need not exist.
        marker: A file that every such folder holds.
        kind: What the folder holds, in words: "a model".

    Raises:
        ConfigError: If something else is there.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output {folder} is a file. Choose another one.")
    if not folder.exists():
        return
    if os.path.ismount(folder) or folder.samefile(Path.cwd()):
        raise ConfigError(f"The folder {folder} is in use and cannot be replaced. Choose a new folder inside it.")
    if not (folder / marker).is_file() and any(folder.iterdir()):
        raise ConfigError(f"The folder {folder} holds something else than {kind}. Choose another one.")


def temporary_sibling(path: Path) -> Path:
    """Return a new hidden name beside a path.

    Args:
        path: A file or folder.

    Returns:
        A path at which nothing is.
    """
    return path.with_name(f".{path.name[:LONGEST_STEM]}.{secrets.token_hex(6)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a file or folder is what a killed process left of an atomic write, by its name.

    Args:
        path: The file or folder.

    Returns:
        True for names of ``temporary_sibling``.
    """
    return TEMPORARY_NAME.fullmatch(path.name) is not None


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left of atomic writes in a folder that no running one writes to.

    Args:
        folder: The folder.
    """
    for path in filter(is_temporary, list(folder.iterdir())):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _finish_file(path: Path, mode: int) -> None:
    """Give a file its mode, which some libraries choose themselves, and sync it: a disk may be full only then."""
    if path.stat().st_mode & 0o777 != mode & 0o777:
        path.chmod(mode & 0o777)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _replace_folder(target: Path, new: Path, contents: Collection[str]) -> None:
    """Put a folder in the place of another one, which is left at the new one's name to be removed."""
    if not target.exists() or not any(target.iterdir()):
        new.rename(target)
        return
    for path in target.iterdir():
        if path.name not in contents and not (new / path.name).exists():
            _keep(path, new / path.name)
    if _exchange(target, new):
        return
    old = temporary_sibling(target)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(new)


def _keep(path: Path, place: Path) -> None:
    """Give a file or folder a second name, or a copy where the file system has one name for each."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, place, symlinks=True, copy_function=_link)
    else:
        _link(path, place)


def _link(source: str | Path, place: str | Path) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, place, follow_symlinks=False)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names at once, where the system can (Linux's renameat2): no moment is without either."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0)


@contextmanager
def _errors_name(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors of the operating system name the file to be written, not the temporary one or none."""
    try:
        yield
    except Exception as error:
        number = _errno(error)
        named = getattr(error, "filename", None)
        if number is None or (named is not None and not str(named).startswith(str(temporary))):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _errno(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = None if isinstance(error, PolymodalError) else RUST_ERROR.search(str(error))
    return int(found[1]) if found else None
