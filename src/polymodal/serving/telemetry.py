"""Traces of requests for OpenTelemetry (the extra ``telemetry``): one span a request, without anything of its cells.

Where they are sent is set by the environment variables of OpenTelemetry, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polymodal.errors import ConfigError
from polymodal.serving.gate import ROUTES
from polymodal.serving.middleware import HttpMiddleware
from polymodal.version import VERSION

PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
SERVICE = "polymodal"
FAILED = 500


def check_telemetry() -> None:
    """Check that the extra ``telemetry`` is installed.

    Raises:
        ConfigError: If a package is missing.
    """
    try:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    except ModuleNotFoundError:
        missing = list(PACKAGES)
    if missing:
        raise ConfigError("Traces need OpenTelemetry, which is not installed. Run: pip install 'polymodal[telemetry]'")


def build_tracer_provider(exporter: Any = None) -> Any:
    """Build what makes and sends spans.

    Args:
        exporter: Where spans are sent; None: by OTLP over HTTP, as the environment says.

    Returns:
        OpenTelemetry's tracer provider; ``shutdown`` sends what is left.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE, "service.version": VERSION}))
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    return provider


class Traces(HttpMiddleware):
    """Makes a span of each request; a client's ``traceparent`` is its parent."""

    def __init__(self, app: ASGIApp, provider: Any) -> None:
        """Wrap an application.

        Args:
            app: The application.
            provider: OpenTelemetry's tracer provider.
        """
        super().__init__(app)
        self._tracer = provider.get_tracer("polymodal.serving", VERSION)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        Args:
            scope: ASGI's scope of an HTTP request.
            receive: ASGI's receive.
            send: ASGI's send.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        route = scope["path"] if scope["path"] in ROUTES else "other"
        parent = TraceContextTextMapPropagator().extract(dict(Headers(scope=scope)))
        with self._tracer.start_as_current_span(
            f"{scope['method']} {route}", parent, SpanKind.SERVER, record_exception=False
        ) as span:
            span.set_attributes({"http.request.method": scope["method"], "http.route": route})

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= FAILED:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self.app(scope, receive, send_and_note)
            state = scope.get("state", {})
            span.set_attributes({f"polymodal.{name}": state[name] for name in ("request_id", "rows") if name in state})
