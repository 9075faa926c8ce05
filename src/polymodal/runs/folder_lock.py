"""A lock on a folder, so that two runs never write to the same one; it ends with the process that holds it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polymodal.atomic_files import is_temporary
from polymodal.errors import ConfigError

LOCK_FILE = ".polymodal.lock"
TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""Errors of file systems without locks, where runs go on without one."""

_held: set[int] = set()


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder and hold its lock until the context ends, even if the process is killed.

    If the folder is empty at the end, it is removed together with the parents that were made for it.

    Args:
        folder: The folder.

    Yields:
        Nothing.

    Raises:
        ConfigError: If another run holds the lock.
        OSError: If the folder cannot be made or written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(folder)
        try:
            yield
        finally:
            with suppress(OSError):  # a read-only disk, or the folder is gone; the lock ends nevertheless
                (folder / LOCK_FILE).unlink()
            _held.discard(file)
            os.close(file)
    finally:
        with suppress(OSError):  # no longer empty
            for path in made:
                path.rmdir()


def entries(folder: Path) -> set[str]:
    """Return what is in a folder, apart from its lock and from what killed processes left.

    Args:
        folder: The folder.

    Returns:
        Names of files and folders.
    """
    return {path.name for path in folder.iterdir() if path.name != LOCK_FILE and not is_temporary(path)}


def _lock(folder: Path) -> int:
    """Return the open lock file; the lock is on the file, not on the process, so one process is refused a second."""
    while True:
        file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(file)
            if error.errno in TAKEN:
                raise ConfigError(
                    f"Another run is writing to {folder}. Wait until it ends, or choose another --output."
                ) from None
            if error.errno not in NO_LOCKS:
                raise
        _held.add(file)
        if os.fstat(file).st_nlink:
            return file
        _held.discard(file)  # whoever held it has removed it meanwhile
        os.close(file)


def _close_in_child() -> None:
    """Leave the locks to the parent: a forked worker that outlives it must not keep them."""
    for file in _held:
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
