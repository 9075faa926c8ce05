"""Files that are called tables of text but are something else, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

from polymodal.errors import TableError

JSON_ENDINGS = frozenset({".json", ".jsonl", ".ndjson"})
START_BYTES = 32
OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a Parquet file. Call it .parquet"),
    (b"PK\x03\x04", "a workbook or an archive. Call it .xlsx or .zip"),
    (b"\xd0\xcf\x11\xe0", "a workbook of Excel. Call it .xls"),
    (b"\x1f\x8b", "compressed by gzip. Unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file. Fetch it with `git lfs pull`"),
    (b"<!doctype html", "a web page, not a table. Check what was downloaded"),
    (b"<html", "a web page, not a table. Check what was downloaded"),
    (b"<?xml", "an XML file. Save it as CSV"),
    (b"[{", "a JSON file. Call it .json"),
    (b'{"', "a JSON file. Call it .json, or .jsonl if it has one object a line"),
)
"""First bytes of files that are no CSV, in small letters, and what they are."""


def check_kind(path: Path, start: bytes) -> None:
    """Check that a file of text is none of another kind.

    Args:
        path: A file of delimited text or of JSON.
        start: Its first bytes.

    Raises:
        TableError: If it is; says what it is and what to do.
    """
    start = start.lstrip().lower()
    is_json = path.suffix.lower() in JSON_ENDINGS and start[:1] in (b"[", b"{")
    found = next((what for magic, what in OTHER_FILES if start.startswith(magic.lower())), None)
    if found is not None and not is_json:
        raise TableError(f"{path.name} is {found}.")
