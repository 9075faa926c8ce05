"""The page for people at ``/``: static files with strict headers, nothing of which is fetched from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files

from fastapi import FastAPI, Request, Response

FOLDER = "page"
"""Folder of the files in this package, and what the addresses of all but the page itself begin with."""
INDEX = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing but the server's own files runs or is asked; pictures and sounds may come from the page's memory."""
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(self), microphone=(self)",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        content: Its bytes.
        media_type: Its media type.
    """

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """The digest of the content, as browsers send it back to ask for changes."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def response(self, known: str | None) -> Response:
        """Answer a request for the file.

        Args:
            known: The request's ``If-None-Match`` header, if any.

        Returns:
            The file, or that the browser's copy is still good.
        """
        headers = HEADERS | {"ETag": self.etag}
        if known == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def read_page_files() -> dict[str, PageFile]:
    """Read the files of the page.

    Returns:
        Address below the server's root to file: ``/`` and ``/page/...``.
    """
    found = {}
    for entry in files("polymodal.serving").joinpath(FOLDER).iterdir():
        ending = f".{entry.name.rpartition('.')[2]}"
        if ending in MEDIA_TYPES:
            address = "/" if entry.name == INDEX else f"/{FOLDER}/{entry.name}"
            found[address] = PageFile(entry.read_bytes(), MEDIA_TYPES[ending])
    return found


def add_page(app: FastAPI) -> None:
    """Add the routes of the page: one for each file, so that no part of an address is ever taken for a path.

    Args:
        app: The application; its OpenAPI document does not mention them.
    """
    for address, file in sorted(read_page_files().items()):
        app.add_api_route(address, _endpoint(file), methods=["GET", "HEAD"], include_in_schema=False)


def _endpoint(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return file.response(request.headers.get("if-none-match"))

    return answer
