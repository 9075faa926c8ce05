"""Bodies of requests: read within bounds, and parsed to rows by their media type."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from polymodal.serving.arrow_body import parse_arrow
from polymodal.serving.json_body import parse_json
from polymodal.serving.multipart_body import parse_multipart
from polymodal.serving.request_error import RequestError
from polymodal.serving.settings import Limits

JSON, MULTIPART, ARROW = "application/json", "multipart/form-data", "application/vnd.apache.arrow.stream"
SMALL_BYTES = 32_768
"""Smaller bodies are parsed in the event loop, larger ones in a thread."""
DRAIN_S = 2.0
"""So long the rest of a refused body is thrown away, so that its sender reads the answer."""
BODIES_HELD = 8
"""Bodies of the largest size that are held at a time; their bytes may be of many small ones."""


@dataclass(frozen=True)
class Content:
    """A parsed body.

    Attributes:
        rows: Rows as mappings of columns to JSON values or bytes.
        fields: Everything else that the request holds.
    """

    rows: Sequence[Any]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class BodyBudget:
    """Bytes of bodies that are held at a time.

    Attributes:
        left: Bytes that are free.
    """

    left: int

    def take(self, num_bytes: int) -> None:
        """Take bytes.

        Args:
            num_bytes: How many.

        Raises:
            RequestError: With 503 if there are not as many.
        """
        if num_bytes > self.left:
            raise RequestError(503, "This server holds as many requests as it can. Try again.", retry_after_s=1)
        self.left -= num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Give bytes back.

        Args:
            num_bytes: How many.
        """
        self.left += num_bytes


class BodyReader:
    """Reads bodies within bounds of size and time.

    Attributes:
        limits: What the server takes.
        read_timeout_s: How long a client may take to send a body.
        budget: Bytes of all bodies that are held.
    """

    def __init__(self, limits: Limits, read_timeout_s: float) -> None:
        """Set the bounds.

        Args:
            limits: What the server takes.
            read_timeout_s: How long a client may take to send a body.
        """
        self.limits = limits
        self.read_timeout_s = read_timeout_s
        self.budget = BodyBudget(BODIES_HELD * limits.max_body_bytes)

    async def read(self, request: Request) -> Body:
        """Read a body; leave its context when it is not needed any more.

        Args:
            request: The request.

        Returns:
            The body, to be used as a context.

        Raises:
            RequestError: With 408, 413, 415, 400 or 503, where it is refused.
        """
        media_type = _media_type(request)
        try:
            declared = int(request.headers.get("content-length", "0"))
        except ValueError:
            raise RequestError(400, "The header Content-Length is no number.") from None
        body = Body(self, media_type, request.headers.get("content-type", ""))
        try:
            if declared > self.limits.max_body_bytes:
                raise self._too_large()
            await asyncio.wait_for(self._receive(request, body), self.read_timeout_s)
        except TimeoutError:
            body.release()
            raise RequestError(408, f"The body did not arrive within {self.read_timeout_s:g} s.") from None
        except RequestError:
            body.release()
            await _drain(request, 2 * self.limits.max_body_bytes)
            raise
        except BaseException:
            body.release()
            raise
        return body

    async def _receive(self, request: Request, body: Body) -> None:
        async for chunk in request.stream():
            if len(body.content) + len(chunk) > self.limits.max_body_bytes:
                raise self._too_large()
            self.budget.take(len(chunk))
            body.content += chunk

    def _too_large(self) -> RequestError:
        return RequestError(413, f"The body is larger than {self.limits.max_body_bytes:,} bytes, this server's limit.")


class Body:
    """The bytes of a request, counted in the budget while the context lasts.

    Attributes:
        content: The bytes.
        media_type: Its media type, without parameters.
        content_type: The whole header.
    """

    def __init__(self, reader: BodyReader, media_type: str, content_type: str) -> None:
        """Begin with no bytes.

        Args:
            reader: Whose budget it is counted in.
            media_type: The media type, without parameters.
            content_type: The whole header.
        """
        self.content = bytearray()
        self.media_type = media_type
        self.content_type = content_type
        self._reader = reader

    def __enter__(self) -> Body:
        """Return the body."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the bytes back."""
        self.release()

    def release(self) -> None:
        """Give the bytes back to the budget."""
        self._reader.budget.give_back(len(self.content))
        self.content = bytearray()

    async def parse(self) -> Content:
        """Parse the body, large ones in a thread.

        Returns:
            Its rows and fields.

        Raises:
            RequestError: If it is not what its media type says, or beyond the limits.
        """
        arguments = (bytes(self.content), self.media_type, self.content_type, self._reader.limits)
        if len(self.content) <= SMALL_BYTES:
            return parse_body(*arguments)
        return await asyncio.to_thread(parse_body, *arguments)


def _media_type(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(415, "The body is compressed, which this server does not take. Send it as it is.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (JSON, MULTIPART, ARROW):
        raise RequestError(415, f"The header Content-Type must be {JSON}, {MULTIPART} or {ARROW}.")
    return media_type


async def _drain(request: Request, most_bytes: int) -> None:
    """Throw the rest of a body away, within bounds."""

    async def throw_away() -> None:
        left = most_bytes
        while left > 0:
            message = await request.receive()
            left -= len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return

    try:
        await asyncio.wait_for(throw_away(), DRAIN_S)
    except TimeoutError:
        return


def parse_body(body: bytes, media_type: str, content_type: str, limits: Limits) -> Content:
    """Parse a body.

    Args:
        body: Its bytes.
        media_type: One of ``JSON``, ``MULTIPART`` and ``ARROW``.
        content_type: The whole header.
        limits: What the server takes.

    Returns:
        Its rows and fields.

    Raises:
        RequestError: If it is not what its media type says, or beyond the limits.
    """
    if media_type == ARROW:
        return Content(parse_arrow(body, limits))
    if media_type == MULTIPART:
        return Content(*parse_multipart(body, content_type, limits))
    content = parse_json(body, limits)
    rows = content.pop("rows", None)
    if "row" in content:
        if rows is not None:
            raise RequestError(422, "The request holds 'row' and 'rows'. Send one of them.")
        rows = [content.pop("row")]
    if not isinstance(rows, list):
        raise RequestError(422, 'The request holds no rows. Expected {"rows": [{column: cell}]}.')
    return Content(rows, content)
