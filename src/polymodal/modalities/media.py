"""Media cells (files or arrays): path resolution and reading."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.modalities.archive_files import read_member, split_archive_path
from polymodal.modalities.base import CellReadError, is_absent, quote
from polymodal.modalities.inline_media import inline_content
from polymodal.modalities.path_forms import find_file, path_hint
from polymodal.modalities.remote_files import HOW_TO_ALLOW, fetch, is_address, is_remote_allowed

R = TypeVar("R")

MAX_FILE_BYTES = 512 * 2**20
"""A larger file is refused before it is read."""
NUMPY_MAGIC = b"\x93NUMPY"
FILE_SCHEME = "file://"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
NUMERIC_KINDS = "biuf"
MAX_NAMED = 300


class FileCellError(CellReadError):
    """A file that cannot be read; the message contains its path."""


def is_absent_media(cell: Cell) -> bool:
    """Return whether a media cell holds nothing; a struct without bytes, path or array is absent too.

    Args:
        cell: A media cell.

    Returns:
        True where there is nothing to decode.
    """
    if isinstance(cell, str | bytes):
        return is_absent(cell)
    if isinstance(cell, Mapping):
        return all(cell.get(key) is None for key in ("bytes", "path", "array"))
    return is_absent(cell)


def unwrap(cell: Cell) -> Cell:
    """Return the bytes of a ``{"bytes", "path"}`` struct or of text in base64, or else its path, or the cell itself.

    The bytes of a struct may be base64 too, as in JSON.

    Args:
        cell: A media cell.

    Returns:
        What to decode.
    """
    if isinstance(cell, str):
        return inline_content(cell) or cell
    if isinstance(cell, bytes) or not isinstance(cell, Mapping) or cell.get("array") is not None:
        return cell
    content = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
    return inline_content(content) or content if isinstance(content, str) else content


def resolve_path(path: str | PurePath, folder: Path | None) -> str:
    """Return the path of a cell's file.

    Args:
        path: Absolute, or relative to the folder.
        folder: The table's folder; None means that paths are not opened at all.

    Returns:
        The full path; nothing is opened.

    Raises:
        CellReadError: If paths are refused or the text cannot be a path.
    """
    text = os.fspath(path)
    if text.lower().startswith(FILE_SCHEME) and folder is not None:
        text = unquote(text[len(FILE_SCHEME) :])
    if folder is None:
        raise FileCellError(f"{quote(text)} is text, and paths are not opened here; send the bytes instead")
    if "\0" in text:
        raise FileCellError(f"the path {quote(text)} holds a NUL character")
    if URL.match(text):
        raise FileCellError(f"{quote(text)} is an address, not a path; {HOW_TO_ALLOW}, or download the file first")
    return os.path.join(folder, text)


def locate_media(cell: Cell, folder: Path | None) -> Any:
    """Return the content of a media cell, without reading files.

    Args:
        cell: A media cell that is not absent.
        folder: Base folder of relative paths.

    Returns:
        The full path of a regular file of bounded size as ``str``, ``bytes`` (also of a file in an archive), or the
        array, image or list itself.

    Raises:
        CellReadError: If there is no such file or the cell holds no bytes.
    """
    content = unwrap(cell)
    if isinstance(content, str | PurePath):
        path = _fetched(content, folder) or resolve_path(content, folder)
        member = _read_inside(path)
        return _existing_file(path, folder)[0] if member is None else member
    if isinstance(content, bytes | bytearray | memoryview):
        if not len(content):
            raise CellReadError("holds no bytes")
        return bytes(content)
    return content


FILE_ERRORS = {
    errno.ENOENT: "there is no file",
    errno.ENOTDIR: "there is no file",
    errno.EACCES: "there is no permission to read",
    errno.ENAMETOOLONG: "too long for a path:",
    errno.ELOOP: "there is a circle of links at",
}


def _check_file(path: str) -> int:
    """Return the size of a file in bytes."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _file_error(error, path) from None
    if stat.S_ISDIR(status.st_mode):
        raise FileCellError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise FileCellError(f"{path} is not a regular file")
    if not status.st_size:
        raise FileCellError(f"{path} is empty (0 bytes)")
    if status.st_size > MAX_FILE_BYTES:
        raise FileCellError(f"{path} has {status.st_size:,} bytes, above the limit of {MAX_FILE_BYTES:,}")
    return status.st_size


def _existing_file(path: str, folder: Path | None) -> tuple[str, int]:
    """Return the path of a file that is there, and its size in bytes; a path written in another way is found."""
    try:
        return path, _check_file(path)
    except FileCellError as error:
        found = find_file(path)
        if found is None:
            raise FileCellError(f"{error}{path_hint(path, folder)}") from None
        return found, _check_file(found)


def _fetched(content: str | PurePath, folder: Path | None) -> str | None:
    """Fetch a file by its address where that is allowed; return None of a path, and of all where it is not."""
    text = os.fspath(content)
    if folder is None or not is_remote_allowed() or not is_address(text):
        return None
    try:
        return fetch(text, MAX_FILE_BYTES)
    except CellReadError as error:
        raise FileCellError(f"{quote(text, MAX_NAMED)} {error}") from None


def _read_inside(path: str) -> bytes | None:
    """Read a file inside an archive; return None where no part of the path is one."""
    found = split_archive_path(path)
    if found is None:
        return None
    try:
        return read_member(*found, MAX_FILE_BYTES)
    except CellReadError as error:
        raise FileCellError(f"{path} {error}") from None


def _file_error(error: Exception, path: str) -> FileCellError:
    known = FILE_ERRORS.get(getattr(error, "errno", None) or 0)
    name = path if len(path) <= MAX_NAMED else f"{path[:MAX_NAMED]}..."
    return FileCellError(f"{known} {name}" if known else f"{name} cannot be opened: {error}")


def read_media(cell: Cell, folder: Path | None) -> Any:
    """Return the content of a media cell; files are read.

    Args:
        cell: A media cell that is not absent.
        folder: Base folder of relative paths.

    Returns:
        ``bytes``, or the array, image or list itself.

    Raises:
        CellReadError: If the file cannot be read.
    """
    content = unwrap(cell)
    if not isinstance(content, str | PurePath):
        return locate_media(content, folder)
    path = _fetched(content, folder) or resolve_path(content, folder)
    member = _read_inside(path)
    if member is not None:
        return member
    path, size = _existing_file(path, folder)
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(size)
    except OSError as error:
        raise _file_error(error, path) from None


def describe_source(cell: Cell, folder: Path | None) -> str:
    """Describe the source of a media cell's content for a message.

    Args:
        cell: A media cell.
        folder: Base folder of relative paths.

    Returns:
        The full path, or the type of what the cell holds.
    """
    content = unwrap(cell)
    if not isinstance(content, str | PurePath):
        return f"a cell of type {type(content).__name__}"
    if len(str(content)) > MAX_NAMED:
        return quote(str(content))
    if str(content).startswith("["):
        return quote(content)
    return quote(str(content)) if folder is None else os.path.abspath(folder / content)


def load_npy(content: bytes) -> NDArray[Any]:
    """Read a ``.npy`` file's numeric array; no pickle is loaded, and the header is validated.

    Args:
        content: The whole file.

    Returns:
        A read-only array that shares the bytes.

    Raises:
        CellReadError: If the header is damaged, declares objects, or more values than there are bytes.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, is_fortran, dtype = read_header[version](file)
    except Exception:  # a hostile header can make its parser raise anything
        raise CellReadError("is not a readable .npy file: its header is damaged or of an unknown version") from None
    if dtype.kind not in NUMERIC_KINDS:
        raise CellReadError(f"is a .npy file of type {dtype}; expected numbers (objects are never unpickled)")
    count, left = 1, len(content) - file.tell()
    for extent in shape:
        count *= int(extent)
    if count < 0 or count * dtype.itemsize > left:
        raise CellReadError(f"is a .npy file that declares {count * dtype.itemsize:,} bytes but holds {left:,}")
    values = np.frombuffer(content, dtype, count, offset=file.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")


def as_array(content: Any) -> NDArray[Any]:
    """Turn an array or nested lists into a numeric array.

    Args:
        content: A numpy array, anything with ``__array__``, or (nested) lists of numbers.

    Returns:
        A bool, integer or float array.

    Raises:
        CellReadError: If the cell holds something else, or lists of different lengths.
    """
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = content.tolist()  # parquet's nested lists come as arrays of arrays
    if isinstance(content, list | tuple):
        content = [inner.tolist() if isinstance(inner, np.ndarray) else inner for inner in content]
    elif not hasattr(content, "__array__"):
        raise CellReadError(f"is of type {type(content).__name__}; expected a file, bytes or numbers")
    try:
        values = np.asarray(content)
    except Exception:  # ragged lists, or a foreign __array__ that fails
        raise CellReadError("holds lists of different lengths or other things than numbers") from None
    if values.dtype.kind not in NUMERIC_KINDS:
        raise CellReadError(f"holds values of type {values.dtype}; expected numbers")
    return values


def try_decode(work: Callable[[Cell], R], cell: Cell) -> R | CellReadError:
    """Run a decoder on one cell and return its exception instead of raising it.

    Args:
        work: The decoder.
        cell: What it gets.

    Returns:
        The decoder's result, or why there is none.
    """
    try:
        return work(cell)
    except FileCellError as error:
        return error
    except CellReadError as error:
        return _prefix_path(cell, str(error))
    except Exception as error:  # decoders meet hostile bytes: whatever they raise, only this cell is broken
        return _prefix_path(cell, f"cannot be decoded: {type(error).__name__}: {quote(str(error), 120)}")


def _prefix_path(cell: Cell, reason: str) -> CellReadError:
    """Prefix a message with the file's path if the cell is a path."""
    content = unwrap(cell)
    content = quote(content) if isinstance(content, str) and len(content) > MAX_NAMED else content
    is_path = isinstance(content, PurePath) or (isinstance(content, str) and not content.lstrip().startswith("["))
    return CellReadError(f"{content} {reason}" if is_path else reason)
