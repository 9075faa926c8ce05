"""Runs a server in a thread of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from polymodal.serving.app import build_app
from polymodal.serving.process import build_server
from polymodal.serving.served_model import load_served
from polymodal.serving.server import listen
from polymodal.serving.settings import ServerSettings


@contextmanager
def running(settings: ServerSettings, *, app: Callable[[Any], Any] = lambda app: app) -> Iterator[str]:
    """Run a server in a thread; yields its address."""
    served = load_served(settings.model, settings.limits, device=settings.device, index=settings.index)
    listening = listen(settings.host, settings.port)
    server = build_server(settings, app(build_app(settings, served)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    address = "http://{}:{}".format(*listening.getsockname()[:2])
    thread.start()
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
