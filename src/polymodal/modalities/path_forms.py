"""Finds files whose path is written in another way than on the disk, and says what may be meant otherwise."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

MAX_ENTRIES = 20_000


def find_file(path: str) -> str | None:
    """Find a file by another way to write its path: Unicode's two forms, backslashes, ``%20``, blanks.

    Args:
        path: A path at which there is no file.

    Returns:
        The path of the file; None where there is none.
    """
    for form in _forms(path):
        if form != path and os.path.isfile(form):
            return form
    return None


def _forms(path: str) -> Iterator[str]:
    plain = path.replace("\\", "/")
    for text in dict.fromkeys((plain, unquote(plain), _without_blanks(plain))):
        yield text
        if not text.isascii():
            yield unicodedata.normalize("NFC", text)
            yield unicodedata.normalize("NFD", text)


def _without_blanks(path: str) -> str:
    return "/".join(part.strip() for part in path.split("/"))


def path_hint(path: str, folder: Path | None) -> str:
    """Suggest the file that may be meant by a path at which there is none.

    Args:
        path: The full path.
        folder: Where relative paths begin.

    Returns:
        The rest of a sentence, with the file of another case, or of the same name elsewhere; empty without one.
    """
    place, name = os.path.split(path.replace("\\", "/"))
    near = _names(place).get(name.casefold())
    if near is not None and near != name:
        return f" (did you mean {near}, in other case?)"
    if folder is None:
        return ""
    for elsewhere in _folders(str(folder)):
        if name.casefold() in _names(elsewhere) and os.path.abspath(elsewhere) != os.path.abspath(place):
            return f" (did you mean {os.path.join(elsewhere, _names(elsewhere)[name.casefold()])}?)"
    return ""


@lru_cache(maxsize=64)
def _names(folder: str) -> dict[str, str]:
    """Return the names in a folder, by their lower case; none where there are too many to look through."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(MAX_ENTRIES + 1), entries, strict=False)]
    except OSError:
        return {}
    return {name.casefold(): name for name in names} if len(names) <= MAX_ENTRIES else {}


@lru_cache(maxsize=8)
def _folders(folder: str) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            inner = [entry.path for _, entry in zip(range(MAX_ENTRIES), entries, strict=False) if entry.is_dir()]
    except OSError:
        inner = []
    return (folder, *sorted(inner)[:50])
