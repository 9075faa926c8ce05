"""Starts a server: checks what it needs, listens, and runs one process or several until it is stopped."""

from __future__ import annotations

import errno
import importlib.util
import socket
import ssl
from collections.abc import Callable

from polymodal.errors import ConfigError
from polymodal.serving.process import BACKLOG, run_process
from polymodal.serving.settings import ServerSettings

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def serve(settings: ServerSettings, announce: Callable[[str], None] = lambda _: None) -> None:
    """Serve a model until the process is told to stop.

    Args:
        settings: The server's settings.
        announce: Called with one sentence when the server answers.

    Raises:
        ConfigError: If a package is missing, the port is taken, or the certificate cannot be read.
        CheckpointError: If there is no model, or it is damaged.
    """
    check_packages()
    check_tls(settings)
    listening = listen(settings.host, settings.port)
    with listening:
        if settings.workers > 1:
            from polymodal.serving.workers import supervise

            supervise(settings, listening, lambda name: announce(sentence(settings, listening, name)))
        else:
            run_process(settings, listening, lambda name: announce(sentence(settings, listening, name)))


def check_packages() -> None:
    """Check that the extra ``serve`` is installed.

    Raises:
        ConfigError: If a package is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Serving needs {', '.join(missing)}, which is not installed. Run: pip install 'polymodal[serve]'"
        )


def check_tls(settings: ServerSettings) -> None:
    """Check that the certificate and its key can be read and fit each other.

    Args:
        settings: The server's settings.

    Raises:
        ConfigError: If they do not.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return
    for path in (settings.tls_cert, settings.tls_key):
        if not path.is_file():
            raise ConfigError(f"There is no file {path}. Check --tls-cert and --tls-key.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, OSError):
        raise ConfigError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate with its private key (PEM)."
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Args:
        host: Address or name of this machine.
        port: The port; 0 takes a free one.

    Returns:
        The listening socket.

    Raises:
        ConfigError: If that is not possible.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"There is no address {host!r} here. Use 127.0.0.1, or 0.0.0.0 for every network.") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(_why_not(error, host, port)) from None
    listening.setblocking(False)
    return listening


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"The port {port} of {host} is taken by another program. Choose another one with --port."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Choose one above 1023 with --port."
    return f"Cannot listen on {host}, port {port}: {error.strerror}. Check --host and --port."


def sentence(settings: ServerSettings, listening: socket.socket, name: str) -> str:
    """Say where a model is served.

    Args:
        settings: The server's settings.
        listening: The listening socket.
        name: The model's name.

    Returns:
        One sentence.
    """
    host, port = listening.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    return f"Serving {name}: {scheme}://{f'[{host}]' if ':' in host else host}:{port}"
