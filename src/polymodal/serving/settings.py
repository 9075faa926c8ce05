"""Settings of a server: what ``polymodal serve`` was asked for. Plain values, so that they reach worker processes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from polymodal.errors import ConfigError, parameter_error

OWNER = "serve"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one request; what is beyond them is refused before it is decoded.

    Attributes:
        max_body_bytes: Bytes of a body.
        max_rows: Rows of a request.
        max_pixels: Pixels that a picture, or a frame of a film, declares.
        max_seconds: Seconds that a sound or a film declares.
        max_decoded_bytes: Bytes that an archive or an array of numbers declares.
        max_values: Values of a JSON text, or numbers of an Arrow column.
        max_depth: Levels of JSON.
    """

    max_body_bytes: int = 32 * 2**20
    max_rows: int = 1000
    max_pixels: int = 40_000_000
    max_seconds: float = 600.0
    max_decoded_bytes: int = 128 * 2**20
    max_values: int = 1_000_000
    max_depth: int = 32

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ConfigError: If one is below 1.
        """
        for name, value in vars(self).items():
            if value < 1:
                raise parameter_error(name, OWNER, "at least 1", value)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of a server.

    Attributes:
        model: A bundle, a run folder, or the model folder in it.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        workers: Number of processes.
        index: Folder of a search index.
        has_page: Whether ``/`` is a page for people.
        api_keys: Keys of which a request needs one; empty: no key is needed.
        tls_cert: File of the TLS certificate.
        tls_key: File of its private key.
        cors: Origins whose pages may read answers.
        limits: Bounds of one request.
        max_batch: Rows that are predicted together, at most.
        max_wait_s: How long a row waits for others.
        queue: Rows that may wait; further requests are refused.
        timeout_s: How long a request may take, from its last byte to the answer.
        read_timeout_s: How long a client may take to send its headers, and its body.
        grace_s: How long requests may take when the server stops.
        max_connections: Open connections; further ones are refused.
        device: Where a run folder's network runs; None: a GPU where there is one.
        record: Folder that keeps predictions; None keeps nothing.
        record_columns: Input columns that are kept with them.
        otel: Whether OpenTelemetry traces are sent.
        is_quiet: Whether nothing but errors is logged.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    index: Path | None = None
    has_page: bool = True
    api_keys: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    max_batch: int = 64
    max_wait_s: float = 0.002
    queue: int = 1024
    timeout_s: float = 30.0
    read_timeout_s: float = 15.0
    grace_s: float = 30.0
    max_connections: int = 1000
    device: str | None = None
    record: Path | None = None
    record_columns: tuple[str, ...] = ()
    otel: bool = False
    is_quiet: bool = False

    def __post_init__(self) -> None:
        """Check what depends on several settings.

        Raises:
            ConfigError: If settings do not fit each other.
        """
        if not 0 <= self.port <= 65535:
            raise parameter_error("port", OWNER, "between 0 and 65535", self.port)
        for name in ("workers", "max_batch", "queue", "max_connections"):
            if getattr(self, name) < 1:
                raise parameter_error(name, OWNER, "at least 1", getattr(self, name))
        if self.max_wait_s < 0 or not self.timeout_s > 0:
            raise ConfigError("The wait for other rows must not be negative, and the timeout must be above 0 seconds.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("TLS needs a certificate and its private key: give both --tls-cert and --tls-key.")
        if self.queue < self.limits.max_rows:
            raise ConfigError(
                f"The queue of {self.queue:,} rows cannot hold a request of {self.limits.max_rows:,} rows. "
                "Give a larger --queue, or a smaller --max-rows."
            )
        if self.record_columns and self.record is None:
            raise ConfigError("--record-columns names columns to keep, but --record names no folder. Give both.")


SHORTEST_KEY = 16
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)?", re.IGNORECASE)
SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """Parse a size.

    Args:
        text: A number of bytes, or a number with the unit KB, MB or GB (powers of 1000).

    Returns:
        Bytes.

    Raises:
        ConfigError: If the text is no size.
    """
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise parameter_error("max_body", OWNER, "a size such as 500KB or 32MB", text)
    return int(float(match[1]) * SIZE_UNITS[(match[2] or "B").upper()])


def read_api_keys(path: Path | None, variable: str) -> tuple[str, ...]:
    """Read the keys of which requests need one.

    Args:
        path: A file with one key a line; lines that begin with ``#`` are comments. None: there is none.
        variable: Environment variable with keys, by comma.

    Returns:
        The keys; none where neither names any.

    Raises:
        ConfigError: If the file cannot be read or holds no key, or a key is too short.
    """
    keys = [key.strip() for key in os.environ.get(variable, "").split(",")]
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"The file of keys {path} cannot be read. Expected one key a line, in UTF-8.") from None
        of_file = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not of_file:
            raise ConfigError(f"The file of keys {path} holds no key. Expected one key a line.")
        keys += of_file
    found = tuple(key for key in keys if key)
    if any(len(key) < SHORTEST_KEY for key in found):
        raise ConfigError(f"A key is shorter than {SHORTEST_KEY} characters. Make one with: openssl rand -hex 24")
    return found
