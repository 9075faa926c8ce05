"""One process of a server: loads the model, and answers until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from polymodal.errors import PolymodalWarning
from polymodal.serving.settings import ServerSettings

BACKLOG = 2048
KEEP_ALIVE_S = 5
SWITCH_S = 0.0005
"""So long a thread keeps Python's lock where another one waits: the event loop must not wait 5 ms for the model's."""


def run_process(settings: ServerSettings, listening: socket.socket, announce: Callable[[str], None]) -> None:
    """Load the model and answer requests until the process is told to stop.

    Args:
        settings: The server's settings.
        listening: The listening socket.
        announce: Called with the model's name when it is loaded.

    Raises:
        CheckpointError: If there is no model, or it is damaged.
    """
    from polymodal.serving.app import build_app
    from polymodal.serving.logs import start_logs
    from polymodal.serving.model_slot import settle_memory
    from polymodal.serving.served_model import load_served

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PolymodalWarning)  # they may hold cells; answers have notices of their own
        served = load_served(settings.model, settings.limits, device=settings.device, index=settings.index)
        start_logs(settings.is_quiet)
        server = build_server(settings, build_app(settings, served))
        sys.setswitchinterval(SWITCH_S)
        settle_memory()
        announce(served.name)
        server.run(sockets=[listening])


def build_server(settings: ServerSettings, app: Any) -> Any:
    """Build uvicorn's server.

    Args:
        settings: The server's settings.
        app: The ASGI application.

    Returns:
        The server; ``run(sockets=[...])`` starts it.
    """
    import uvicorn

    from polymodal.serving.protocol import MAX_HEADER_BYTES, bounded_protocol

    class Server(uvicorn.Server):
        """A server that ends quietly: uvicorn's raises the signal again that stopped it."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            handled = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self._stop) for number in handled}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
            if self.should_exit and number == signal.SIGINT:
                self.force_exit = True
            self.should_exit = True

    config = uvicorn.Config(
        app,
        http=bounded_protocol(settings.read_timeout_s),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.grace_s),
        limit_concurrency=settings.max_connections,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        ssl_certfile=None if settings.tls_cert is None else os.fspath(settings.tls_cert),
        ssl_keyfile=None if settings.tls_key is None else os.fspath(settings.tls_key),
        backlog=BACKLOG,
    )
    return Server(config)
