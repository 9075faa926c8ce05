"""Connections within bounds: a client that sends its headers too slowly, or too many of them, is closed."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 32_768
HEADERS_END = b"\r\n\r\n"


def bounded_protocol(header_timeout_s: float) -> type[H11Protocol]:
    """Make uvicorn's protocol with a deadline for headers, which uvicorn has for idle connections only.

    Args:
        header_timeout_s: How long a client may take from opening the connection, or from the first byte of a further
            request, to the end of the headers.

    Returns:
        A protocol class for ``uvicorn.Config(http=...)``.
    """

    class BoundedProtocol(H11Protocol):
        """HTTP/1.1 with a deadline for headers."""

        _deadline: asyncio.TimerHandle | None = None
        _seen: Any = None
        _header_bytes = 0
        _tail = b""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start()

        def data_received(self, data: bytes) -> None:
            if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
                self._start()
            if self._deadline is not None and self._count(data) > MAX_HEADER_BYTES:
                self._stop()
                self.send_400_response("The headers are too large.")
                return
            super().data_received(data)
            if self.cycle is not self._seen:  # the headers of a request are complete
                self._seen = self.cycle
                self._stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _count(self, data: bytes) -> int:
            """Count the bytes of headers; h11 counts only those that do not come at once."""
            seen = self._tail + data
            end = seen.find(HEADERS_END)
            self._header_bytes += len(data) if end < 0 else max(end - len(self._tail), 0)
            self._tail = seen[1 - len(HEADERS_END) :]
            return self._header_bytes

        def _start(self) -> None:
            self._header_bytes, self._tail = 0, b""
            self._deadline = self.loop.call_later(header_timeout_s, self._close)

        def _stop(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _close(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
                self.transport.abort()

    return BoundedProtocol
