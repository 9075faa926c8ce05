"""Media that stand in the text of a cell: ``data:`` addresses (RFC 2397), and base64 without such a head."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

DATA_URL = re.compile(r"data:(image|audio|video|application)/[\w.+-]*(?:;[\w=.+\"-]+)*,", re.IGNORECASE)
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
URL_SAFE = str.maketrans("-_", "+/")
ALPHABET = re.compile(r"[A-Za-z0-9+/_=\s-]+")


def inline_content(text: str) -> bytes | None:
    """Decode a file that a text holds.

    Args:
        text: A cell.

    Returns:
        The file; None where the text is none.
    """
    if inline_modality(text) is None:
        return None
    head, body = _split(text)
    return unquote_to_bytes(body) if head and not _is_base64(head) else _decode(body)


def inline_modality(text: str) -> str | None:
    """Tell what file a text holds, by its beginning, or else by the type that a ``data:`` address declares.

    Args:
        text: A cell.

    Returns:
        "image", "audio" or "video"; None where it is no such text.
    """
    head, body = _split(text)
    declared = head[5:].partition("/")[0].lower()
    declared = declared if declared in ("image", "audio", "video") else ""
    if head and not _is_base64(head):
        return declared or None
    start = body[:HEAD].lstrip().translate(URL_SAFE)
    magic = next((magic for magic, _ in BASE64_MAGIC if start.startswith(magic)), None)
    if not head and (len(text) < SHORTEST or magic is None):
        return None
    if not ALPHABET.fullmatch(body):
        return None
    kind = dict(BASE64_MAGIC).get(magic or "")
    if kind == "":
        return RIFF_KINDS.get((_decode(start[: len(start) // 4 * 4]) or b"")[8:12])
    return kind or declared or None


def _split(text: str) -> tuple[str, str]:
    """Split a text into the head of a ``data:`` address, empty where it has none, and the rest."""
    match = DATA_URL.match(text[:200])
    if match is None:
        return "", text
    head, body = match.group(), text[match.end() :]
    return head, unquote(body) if _is_base64(head) and "%" in body else body


def _is_base64(head: str) -> bool:
    return head.lower().endswith(";base64,")


def _decode(body: str) -> bytes | None:
    plain = "".join(body.split()).rstrip("=").translate(URL_SAFE)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
