"""What all middleware of the server shares: it handles HTTP requests only, and passes the rest of ASGI on."""

from __future__ import annotations

from abc import ABC, abstractmethod

from starlette.types import ASGIApp, Receive, Scope, Send


class HttpMiddleware(ABC):
    """Plain ASGI middleware of HTTP requests.

    Attributes:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application.

        Args:
            app: The application.
        """
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass on what is none.

        Args:
            scope: ASGI's scope.
            receive: ASGI's receive.
            send: ASGI's send.
        """
        await (self.handle if scope["type"] == "http" else self.app)(scope, receive, send)

    @abstractmethod
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        Args:
            scope: ASGI's scope of an HTTP request.
            receive: ASGI's receive.
            send: ASGI's send.
        """
