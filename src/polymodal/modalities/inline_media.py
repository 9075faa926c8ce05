"""Media that stand in the text of a cell: base64, with or without the head of a ``data:`` address."""

from __future__ import annotations

import base64
import binascii
import re

DATA_URL = re.compile(r"data:[\w.+-]*/[\w.+-]*(?:;[\w=.-]+)*;base64,", re.IGNORECASE)
BASE64_MAGIC = (
    ("iVBORw0KGgo", "image"),  # PNG
    ("/9j/", "image"),  # JPEG
    ("R0lGOD", "image"),  # GIF
    ("SUkqA", "image"),  # TIFF
    ("TU0AK", "image"),  # TIFF
    ("Qk", "image"),  # BMP
    ("UklGR", ""),  # RIFF: WebP, WAV, AVI
    ("T2dnUw", "audio"),  # Ogg
    ("ZkxhQw", "audio"),  # FLAC
    ("SUQz", "audio"),  # MP3
    ("//uQ", "audio"),
    ("//vQ", "audio"),
    ("GkXfo", "video"),  # Matroska, WebM
    ("AAAA", "video"),  # MP4
)
"""Beginnings of files in base64."""
RIFF_KINDS = {b"WEBP": "image", b"WAVE": "audio", b"AVI ": "video"}
SHORTEST = 60
HEAD = 64
ALPHABET = re.compile(r"[A-Za-z0-9+/_=\s-]+")


def inline_content(text: str) -> bytes | None:
    """Decode a file in base64.

    Args:
        text: A cell.

    Returns:
        The file; None where the text is none.
    """
    if inline_modality(text) is None:
        return None
    return _decode(text[_head_size(text) :])


def inline_modality(text: str) -> str | None:
    """Tell what text in base64 holds, by its beginning.

    Args:
        text: A cell.

    Returns:
        "image", "audio" or "video"; None where it is no such text.
    """
    size = _head_size(text)
    if not size and (len(text) < SHORTEST or not text.startswith(tuple(magic for magic, _ in BASE64_MAGIC))):
        return None
    if not ALPHABET.fullmatch(text, size):
        return None
    body = text[size : size + HEAD].lstrip()
    kind = next((kind for magic, kind in BASE64_MAGIC if body.startswith(magic)), None)
    if kind == "":
        head = _decode(body[: len(body) // 4 * 4]) or b""
        return RIFF_KINDS.get(head[8:12])
    declared = text[5:size].partition("/")[0].lower()
    return kind or (declared if declared in ("image", "audio", "video") else None)


def _head_size(text: str) -> int:
    match = DATA_URL.match(text[:200])
    return match.end() if match else 0


def _decode(body: str) -> bytes | None:
    plain = "".join(body.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
