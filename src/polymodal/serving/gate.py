"""What every request passes: its id, its key, and what becomes of errors. Plain ASGI middleware."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polymodal.serving.answers import to_json
from polymodal.serving.logs import LOGGER, error_fields
from polymodal.serving.metrics import Metrics
from polymodal.serving.middleware import HttpMiddleware
from polymodal.serving.request_error import RequestError

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
ROUTES = frozenset(
    {"/", "/schema", "/predict", "/explain", "/embed", "/search", "/healthz", "/readyz", "/metrics", "/openapi.json"}
)
"""Paths that are named in logs and metrics; any other is "other"."""
WITHOUT_KEY = frozenset({"/", "/healthz", "/readyz"})
PAGE_PREFIX = "/page/"
SAFETY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
CLIENT_GONE = 499


class RequestLog(HttpMiddleware):
    """Gives each request an id, logs and counts its answer, and adds headers of safety."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an application.

        Args:
            app: The application.
            metrics: Where answers are counted.
        """
        super().__init__(app)
        self._metrics = metrics

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        Args:
            scope: ASGI's scope of an HTTP request.
            receive: ASGI's receive.
            send: ASGI's send.
        """
        started, status = time.perf_counter(), CLIENT_GONE
        request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), *SAFETY_HEADERS]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            path = scope["path"]
            route = path if path in ROUTES else "other"
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if LOGGER.isEnabledFor(logging.INFO):
                fields = {"request_id": request_id, "method": _method(scope), "route": route, "status": status}
                fields |= {"ms": round(1000 * seconds, 2)} | {k: state[k] for k in ("rows", "bytes") if k in state}
                LOGGER.info("request", extra={"fields": fields})


def _request_id(given: str) -> str:
    return given if SAFE_ID.fullmatch(given) else uuid.uuid4().hex


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "POST", "OPTIONS", "HEAD") else "other"


class ErrorAnswers(HttpMiddleware):
    """Checks the key of a request, and answers errors with one sentence in JSON."""

    def __init__(self, app: ASGIApp, api_keys: Sequence[str]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            api_keys: Keys of which a request needs one; none: no key is needed.
        """
        super().__init__(app)
        self._digests = [_digest(key) for key in api_keys]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        Args:
            scope: ASGI's scope of an HTTP request.
            receive: ASGI's receive.
            send: ASGI's send.
        """
        is_started = False

        async def send_once(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            self._check_key(scope)
            await self.app(scope, receive, send_once)
        except ClientDisconnect:
            return
        except RequestError as error:
            if not is_started:
                await send_error(error, scope, send)
        except Exception as error:
            request_id = scope["state"]["request_id"]
            LOGGER.error("internal error", extra={"fields": {"request_id": request_id, **error_fields(error)}})
            if not is_started:
                await send_error(RequestError(500, "This server failed. Its log names the request's id."), scope, send)

    def _check_key(self, scope: Scope) -> None:
        path = scope["path"]
        if not self._digests or path in WITHOUT_KEY or path.startswith(PAGE_PREFIX):
            return
        given = _digest(_given_key(Headers(scope=scope)))
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        if not any(matches):
            raise RequestError(401, "The request has no valid key. Send it as Authorization: Bearer KEY.")


def _given_key(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


async def send_error(error: RequestError, scope: Scope, send: Send) -> None:
    """Send an error.

    Args:
        error: The error.
        scope: ASGI's scope, with the request's id.
        send: ASGI's send.
    """
    body = to_json({"error": error.sentence, "request_id": scope["state"]["request_id"]})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
