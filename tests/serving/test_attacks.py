"""Attacks: each is refused with a status of 4xx or closed, and the server answers the next request."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image
from pyarrow import parquet

from loopback import running
from polymodal.serving.settings import Limits, ServerSettings

KEY = "correct-horse-battery-staple"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def strict_address(settings: ServerSettings) -> Iterator[str]:
    """A server with low limits."""
    from dataclasses import replace

    limits = Limits(max_body_bytes=200_000, max_pixels=1_000_000, max_seconds=30, max_decoded_bytes=2_000_000)
    with running(replace(settings, limits=limits, read_timeout_s=0.5, has_page=False)) as found:
        yield found


def is_alive(address: str) -> bool:
    return httpx.post(f"{address}/predict", json={"rows": [{"size": 1}]}, timeout=60).status_code == 200


def encoded(content: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(content).decode()}


def refused(address: str, row: dict[str, Any]) -> tuple[int, str]:
    answer = httpx.post(f"{address}/predict", json={"rows": [row]}, timeout=60)
    assert is_alive(address)
    return answer.status_code, str(answer.json().get("error", answer.json()))


PATHS = (
    "/etc/passwd",
    "../../../etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "https://example.org/a.png",
    "ftp://example.org/a.png",
    "\\\\server\\share\\a.png",
    "photos/1.png",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "~/.ssh/id_rsa",
    "a.png;b.png",
    '["/etc/passwd"]',
    "data:image/png,%89PNG",
    "data:text/plain;base64,",
    "data:image/png;base64;base64,../etc/passwd",
    "x\0y.png",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("column", ["photo", "sound"])
def test_no_path_or_address_is_opened(client: httpx.Client, path: str, column: str) -> None:
    answer = client.post("/predict", json={"rows": [{column: path}]})
    assert answer.status_code == 422
    assert "root:" not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_no_path_is_opened_in_columns_of_numbers(client: httpx.Client, path: str) -> None:
    assert client.post("/predict", json={"rows": [{"code": path}]}).status_code == 422
    assert client.post("/predict", json={"rows": [{"photo": {"base64": path}}]}).status_code == 422
    assert client.post("/predict", json={"rows": [{"photo": [path]}]}).status_code == 422
    assert client.post("/search", json={"row": {"photo": path}}).status_code == 422
    assert client.post("/explain", json={"row": {"photo": path}}).status_code == 422


def test_a_file_that_is_there_is_not_read(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (12, 12)).save(path)
    for cell in (str(path), path.as_uri(), {"path": str(path)}, [str(path)]):
        assert client.post("/predict", json={"rows": [{"photo": cell}]}).status_code == 422


def png(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_picture_bombs(strict_address: str) -> None:
    status, error = refused(strict_address, {"photo": encoded(png(50_000, 50_000))})
    assert status == 413
    assert "Row 1, column 'photo': declares 50000 x 50000 pixels" in error or "pixels, above the limit" in error
    status, error = refused(strict_address, {"photo": encoded(png(1001, 1000))})
    assert (status, "1001 x 1000 pixels, above this server's limit of 1,000,000" in error) == (413, True)
    file = io.BytesIO()
    Image.new("L", (9000, 9000)).save(file, "PNG", optimize=True)  # 81 million pixels in some kilobytes
    assert refused(strict_address, {"photo": encoded(file.getvalue())})[0] == 413
    many_text = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
    assert refused(strict_address, {"photo": encoded(many_text)})[0] == 422


def test_archive_bombs(strict_address: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        array = io.BytesIO()
        np.save(array, np.zeros(1_000_000))
        archive.writestr("a.npy", array.getvalue())
    assert len(file.getvalue()) < 20_000
    status, error = refused(strict_address, {"code": encoded(file.getvalue())})
    assert (status, "bytes, above this server's limit" in error) == (413, True)
    damaged = bytearray(file.getvalue())
    damaged[-10:] = bytes(10)
    assert refused(strict_address, {"code": encoded(bytes(damaged))})[0] in (200, 413, 422)  # 200: as a broken cell
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": np.zeros(1_000_000)}), sink, compression="zstd")
    assert len(sink.getvalue()) < 20_000
    assert refused(strict_address, {"code": encoded(sink.getvalue())})[0] == 413
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }".ljust(128)
    assert refused(strict_address, {"code": encoded(header)})[0] == 422


def test_sound_bombs(strict_address: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000 * 31), 8000, format="FLAC")  # silence: minutes in a few kilobytes
    status, error = refused(strict_address, {"sound": encoded(file.getvalue())})
    assert (status, "declares 31.0 s, above this server's limit of 30 s" in error) == (413, True)
    wide = io.BytesIO()
    soundfile.write(wide, np.zeros((100, 200)), 8000, format="WAV")
    assert "200 channels" in refused(strict_address, {"sound": encoded(wide.getvalue())})[1]


def test_bodies_that_are_too_large(strict_address: str) -> None:
    body = b'{"rows": [{"note": "' + b"a" * 300_000 + b'"}]}'
    answer = httpx.post(f"{strict_address}/predict", content=body, headers=JSON, timeout=60)
    assert (answer.status_code, "larger than 200,000 bytes" in answer.json()["error"]) == (413, True)

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b"a" * 10_000

    answer = httpx.post(f"{strict_address}/predict", content=chunks(), headers=JSON, timeout=60)
    assert answer.status_code == 413
    assert is_alive(strict_address)


def test_deep_and_wide_json(client: httpx.Client, address: str) -> None:
    deep = b'{"rows": [{"code": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
    answer = client.post("/predict", content=deep, headers=JSON)
    assert (answer.status_code, "nested more than 32 levels" in answer.json()["error"]) == (413, True)
    wide = b'{"rows": [{"code": [' + b"1," * 1_500_000 + b"1]}]}"
    answer = client.post("/predict", content=wide, headers=JSON)
    assert (answer.status_code, "more than 1,000,000 values" in answer.json()["error"]) == (413, True)
    hidden = b'{"rows": [{"note": "' + b"[" * 1000 + b'", "size": 1}]}'
    assert client.post("/predict", content=hidden, headers=JSON).status_code == 200
    names = b'{"rows": [{' + b",".join(b'"a%d": 1' % number for number in range(50_000)) + b', "a7": 1}]}'
    assert client.post("/predict", content=names, headers=JSON).status_code == 400
    quotes = b'{"rows": [{"note": "' + b'\\"[' * 50_000 + b'"}]}'
    assert client.post("/predict", content=quotes, headers=JSON).status_code == 200
    unended = b'{"rows": [{"note": "' + b'\\"' * 100_000
    assert client.post("/predict", content=unended, headers=JSON).status_code == 400
    nested_text = json.dumps({"rows": [{"code": "[" * 5000 + "]" * 5000}]}).encode()
    assert client.post("/predict", content=nested_text, headers=JSON).status_code == 413
    assert is_alive(address)


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_slow_clients_are_closed(strict_address: str) -> None:
    with connect(strict_address) as silent, connect(strict_address) as slow, connect(strict_address) as body:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nX-")
        body.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n")
        body.sendall(b"Content-Length: 99\r\n\r\n{")
        assert is_alive(strict_address)
        assert read_all(silent) == b""
        assert read_all(slow) == b""
        assert b" 408 " in read_all(body).split(b"\r\n")[0]


def test_a_slow_second_request_is_closed_too(strict_address: str) -> None:
    with connect(strict_address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200" in connection.recv(65536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-")
        assert b"HTTP/1.1 200" not in read_all(connection)


def test_oversized_headers_and_broken_requests(address: str) -> None:
    requests = [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # a TLS greeting
        b"\0\0\0\0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ]
    for request in requests:
        with connect(address) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            answer = read_all(connection)
            assert not answer or answer.split(b" ")[1][:1] == b"4", answer[:200]
    assert is_alive(address)


def test_headers_cannot_be_injected(client: httpx.Client) -> None:
    for given in ("a b", "a\tb", "<script>", "é", "a" * 65, ""):
        answer = client.get("/healthz", headers={"x-request-id": given.encode("utf-8")})
        assert answer.headers["x-request-id"] != given
        assert len(answer.headers["x-request-id"]) == 32
    assert client.get("/healthz", headers={"x-request-id": "mine-1.2_3"}).headers["x-request-id"] == "mine-1.2_3"
    answer = client.get("/%0d%0aset-cookie:%20a=b")
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers
    answer = client.post("/predict", json={"rows": [{"a\r\nset-cookie: b": 1}]})
    assert answer.status_code == 422
    assert "set-cookie" not in answer.headers
    assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 200


def test_keys(changed: Callable[..., ServerSettings]) -> None:
    with running(changed(api_keys=(KEY, "another-key-of-some-length"))) as address:

        def status(path: str = "/schema", **headers: str) -> int:
            return httpx.get(f"{address}{path}", headers=headers, timeout=60).status_code

        assert status() == 401
        assert status(authorization=f"Bearer {KEY}") == 200
        assert status(authorization=f"bearer  {KEY}") == 200
        assert status(**{"x-api-key": "another-key-of-some-length"}) == 200
        for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), "é", "another-key-of-some-lengt"):
            assert httpx.get(f"{address}/schema", headers={b"x-api-key": wrong.encode()}).status_code == 401
        assert status(authorization=f"Basic {KEY}") == 401
        assert status("/metrics") == 401
        assert status("/openapi.json") == 401
        assert status("/healthz") == status("/readyz") == 200
        assert status("/nothing") == 401
        refused = httpx.post(f"{address}/predict", json={"rows": [{"size": 1}]}, timeout=60)
        assert refused.status_code == 401
        assert KEY not in refused.text
        assert refused.headers["www-authenticate"] == "Bearer"


def test_origins(changed: Callable[..., ServerSettings], client: httpx.Client) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.get("/healthz", headers=asked).headers
    with running(changed(cors=("https://app.example",), api_keys=(KEY,))) as address:
        good = httpx.options(f"{address}/predict", headers=asked)
        assert good.headers["access-control-allow-origin"] == "https://app.example"
        wrong = httpx.options(f"{address}/predict", headers=asked | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in wrong.headers
        refused = httpx.get(f"{address}/schema", headers={"origin": "https://app.example"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"


def test_texts_that_are_slow_to_parse(client: httpx.Client) -> None:
    for cell in ("2024-01-01" + " " * 100_000 + "x", "1" * 100_000, "1/" * 50_000):
        assert client.post("/predict", json={"rows": [{"day": cell}]}).status_code == 422
    for cell in ("[" + "1. " * 200_000 + "]", "array(array([1]))", "1  " * 50_000 + "x", "[" * 40 + "]" * 40):
        assert client.post("/predict", json={"rows": [{"code": cell}]}).status_code in (413, 422)


def test_many_parts(client: httpx.Client) -> None:
    files = [(f"part{number}", ("a", b"x")) for number in range(300)]
    answer = client.post("/predict", files=files)
    assert (answer.status_code, "more than 200 parts" in answer.json()["error"]) == (413, True)


def test_arrow_streams_that_declare_more_than_they_hold(client: httpx.Client) -> None:
    headers = {"content-type": "application/vnd.apache.arrow.stream"}

    def status(array: pa.Array) -> int:
        table = pa.table({"code": array})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return client.post("/predict", content=sink.getvalue().to_pybytes(), headers=headers).status_code

    nulls = pa.FixedSizeListArray.from_arrays(pa.nulls(10_000_000), 10_000_000)
    assert status(nulls) == 422
    assert status(pa.array([None] * 2000)) == 413
    views = pa.array(["a" * 100_000] * 10).cast(pa.string_view())
    assert status(views) in (415, 422)
    ends = pa.RunEndEncodedArray.from_arrays(pa.array([1000], pa.int32()), pa.array([1.0]))
    assert status(ends) == 422
