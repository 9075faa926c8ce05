"""The page for people: the files of ``serving/page/``, read when the server starts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Response

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
INDEX = "index.html"


def add_page(app: FastAPI) -> None:
    """Serve ``index.html`` at ``/`` and each other file at ``/page/NAME``; nothing is looked up by a client's path.

    Args:
        app: The application.
    """
    folder = resources.files("polymodal.serving") / "page"
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        ending = "." + file.name.rpartition(".")[2]
        if ending in MEDIA_TYPES and file.is_file():
            path = "/" if file.name == INDEX else f"/page/{file.name}"
            app.add_api_route(path, _answer_file(file.read_bytes(), MEDIA_TYPES[ending]), methods=["GET"])


def _answer_file(content: bytes, media_type: str) -> Callable[[], Any]:
    async def answer() -> Response:
        headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
        return Response(content, headers=headers, media_type=media_type)

    return answer
