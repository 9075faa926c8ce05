"""Files by address (``https://``, ``s3://``, ``gs://``, ``hf://``), fetched only while the user's own call allows it.

A file is fetched once while it is allowed, into a temporary folder that forked processes share, and read from there.
HTTP needs nothing beside Python; the other schemes go through fsspec.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from polymodal.modalities.base import CellReadError, quote

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
HTTP = frozenset({"http", "https"})
THROUGH_FSSPEC = frozenset({"s3", "s3a", "gs", "gcs", "hf", "az", "abfs", "abfss", "memory"})
SCHEMES = ("https", "http", "s3", "gs", "hf", "az")
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "az": "adlfs"}
TIMEOUT_S = 20.0
"""Longest wait for a connection or for the next bytes."""
DEADLINE_S = 600.0
"""Longest time for one file."""
BLOCK_BYTES = 2**18
FAILED = ".failed"
HOW_TO_ALLOW = "--allow-remote allows it on the command line, `with polymodal.allow_remote():` in Python"

_folders: list[Path] = []
"""Folders of what was fetched, of the calls that allow it now, the innermost last."""


@contextmanager
def allow_remote(allowed: bool = True) -> Iterator[None]:
    """Allow that tables and cells are fetched by address while the block runs.

    Nothing else allows it: no configuration, no table, no request to a server.

    Args:
        allowed: False leaves everything as it is.

    Yields:
        Nothing.

    Example:
        >>> with allow_remote():
        ...     is_remote_allowed()
        True
    """
    if not allowed:
        yield
        return
    with TemporaryDirectory(prefix="polymodal-", ignore_cleanup_errors=True) as folder:
        _folders.append(Path(folder))
        try:
            yield
        finally:
            _folders.remove(Path(folder))


def is_remote_allowed() -> bool:
    """Return whether addresses may be fetched now."""
    return bool(_folders)


def is_address(text: str) -> bool:
    """Return whether text is an address, not a path; ``file://`` is a path."""
    found = ADDRESS.match(text)
    return found is not None and found[1].lower() != "file"


def address_identity(address: str) -> bytes:
    """Return what identifies the content of an address: itself, and the call in which it is fetched.

    Args:
        address: An address.

    Returns:
        Bytes for a digest.
    """
    return f"address {_folders[-1] if _folders else None} {address}".encode("utf-8", "surrogatepass")


def fetch(address: str, max_bytes: int) -> str:
    """Fetch a file, or find it where it was fetched before.

    Args:
        address: Its address.
        max_bytes: A larger file is refused, before it is read where its size is declared.

    Returns:
        The path of a temporary copy, which keeps the file's name.

    Raises:
        CellReadError: If it is not allowed, the scheme is not known, or the file cannot be fetched.
    """
    if not _folders:
        raise CellReadError(f"is an address, which is not fetched; {HOW_TO_ALLOW}")
    folder = _folders[-1] / hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    folder.mkdir(exist_ok=True)
    copy, failed = folder / _name_of(address), folder / FAILED
    if failed.exists():
        raise CellReadError(failed.read_text(encoding="utf-8"))
    if not copy.exists():
        try:
            _copy(address, copy, max_bytes)
        except CellReadError as error:
            failed.write_text(str(error), encoding="utf-8")
            raise
    return str(copy)


def _name_of(address: str) -> str:
    name = re.split(r"[?#]", address)[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]", "_", name)[-100:].lstrip(".") or "file"


def _copy(address: str, path: Path, max_bytes: int) -> None:
    part = path.with_name(f".{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        source, declared = _open(address)
        with closing(source), part.open("wb") as target:
            if declared is not None and declared > max_bytes:
                raise CellReadError(f"has {declared:,} bytes, above the limit of {max_bytes:,}")
            size = _copy_blocks(source, target, max_bytes)
        if declared is not None and size < declared:
            raise CellReadError(f"is cut off: {size:,} of {declared:,} bytes came")
        if not size:
            raise CellReadError("is empty (0 bytes)")
        part.replace(path)
    except CellReadError:
        raise
    except Exception as error:  # libraries of many services: whatever they raise, only this file is broken
        raise CellReadError(f"cannot be fetched: {_reason(error)}") from None
    finally:
        part.unlink(missing_ok=True)


def _copy_blocks(source: IO[bytes], target: IO[bytes], max_bytes: int) -> int:
    size, deadline = 0, time.monotonic() + DEADLINE_S
    read = getattr(source, "read1", source.read)
    while block := read(BLOCK_BYTES):
        size += len(block)
        if size > max_bytes:
            raise CellReadError(f"has more than {max_bytes:,} bytes, the limit")
        if time.monotonic() > deadline:
            raise CellReadError(f"took more than {DEADLINE_S:.0f} s to fetch")
        target.write(block)
    return size


def _open(address: str) -> tuple[IO[bytes], int | None]:
    """Open an address; return the file and the size it declares."""
    found = ADDRESS.match(address)
    scheme = found[1].lower() if found else ""
    if scheme in HTTP:
        response = _opener().open(address, timeout=TIMEOUT_S)
        length = response.headers.get("Content-Length", "")
        return response, int(length) if length.isdecimal() else None
    if scheme not in THROUGH_FSSPEC or "::" in address:
        raise CellReadError(f"is an address of a kind that is not fetched; expected {', '.join(SCHEMES)}")
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = "fsspec" if error.name == "fsspec" else PACKAGES.get(scheme, f"of fsspec for {scheme}://")
        raise CellReadError(f"needs the package {package}; install it beside 'polymodal[remote]'") from None
    size = system.info(path).get("size")
    return system.open(path, "rb"), None if size is None else int(size)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener of HTTP alone, so that no redirection leads to local files or FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "polymodal")]
    return opener


def _reason(error: Any) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # the answer, which holds a connection
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_S:.0f} s"
    if isinstance(reason, HTTPException):
        return f"the server's answer is damaged ({type(reason).__name__})"
    text = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
    return quote(text, 120) if not isinstance(reason, OSError) else text[:200]
