"""Tables and cells by address: only where the user's own call allows it, with limits, each failure one sentence."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image
from typer.testing import CliRunner

import polymodal
from polymodal.cli.main import app
from polymodal.data.cache.keys import cell_keys
from polymodal.data.inspection import inspect_table
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table, iterate_table, read_table
from polymodal.errors import SchemaError, TableError
from polymodal.modalities import remote_files
from polymodal.modalities.base import CellReadError
from polymodal.modalities.media import read_media


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


class Site(BaseHTTPRequestHandler):
    """Serves a few files, and some that fail in a way of their own."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = self.files.get(self.path.split("?")[0])
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif content is None:
            self.send_error(404)
        else:
            self.send_response(200)
            if not self.path.startswith("/endless"):
                self.send_header("Content-Length", str(len(content) + 9 * self.path.startswith("/cut")))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Site.files = {f"/data/images/{row}.png": png(row) for row in range(3)}
    Site.files |= {"/cut.png": png(1), "/endless.png": png(2) * 100, "/empty.png": b"", "/gone/t.csv": b""}
    rows = "".join(f"images/{row}.png,{'aba'[row]}\n" for row in range(3))
    Site.files["/data/t.csv"] = f"image,label\n{rows}".encode()
    Site.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def test_nothing_is_fetched_without_leave(site: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"is an address, which is not fetched; --allow-remote allows it"):
        read_table(f"{site}/data/t.csv")
    with pytest.raises(CellReadError, match="--allow-remote allows it"):
        read_media(f"{site}/data/images/0.png", tmp_path)
    table = Table({"image": [f"{site}/data/images/0.png"] * 2, "y": ["a", "b"]}, folder=tmp_path)
    with pytest.raises(SchemaError, match=r"holds URLs .* --allow-remote allows it .* or download"):
        infer_schema(table, targets=["y"])
    assert Site.asked == []


def test_requests_never_fetch_even_where_the_process_may(site: str) -> None:
    with polymodal.allow_remote(), pytest.raises(CellReadError, match="paths are not opened here"):
        read_media(f"{site}/data/images/0.png", None)
    assert Site.asked == []


def test_a_table_and_its_media_are_fetched_once_each(site: str) -> None:
    with polymodal.allow_remote():
        table = read_table(f"{site}/data/t.csv?token=x")
        assert table.name == "t.csv"
        assert [read_media(cell, table.folder) for cell in table.columns["image"]] == [png(row) for row in range(3)]
        found = inspect_table(table, targets=["label"])["columns"][0]
        assert (found["modality"], found["broken"], found["supported"]) == ("image", 0, True)
        assert [part.num_rows for part in iterate_table(f"{site}/data/t.csv", 2)] == [2, 1]
    assert sorted(Site.asked).count("/data/images/0.png") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.png", "cannot be fetched: the server answers 404"),
        ("cut.png", "is cut off|cannot be fetched"),
        ("endless.png", "has more than 5,000 bytes, the limit"),
        ("empty.png", r"is empty \(0 bytes\)"),
        ("elsewhere.png", "cannot be fetched"),
    ],
)
def test_what_fails_is_a_broken_cell_that_is_named(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.setattr("polymodal.modalities.media.MAX_FILE_BYTES", 5000)
    good = f"{site}/data/images/1.png"
    table = Table({"image": [good, f"{site}/{name}", good], "y": [1.5, 2.5, 3.5]}, folder=tmp_path)
    with polymodal.allow_remote():
        found = inspect_table(table, targets=["y"])["columns"][0]
        with pytest.raises(CellReadError, match=sentence):
            read_media(f"{site}/{name}", tmp_path)
    (broken,) = found["broken_examples"]
    assert broken["row"] == 2
    assert name in broken["reason"]
    assert Site.asked.count(f"/{name}") == 1


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("{site}/absent.csv", r"absent\.csv cannot be fetched: the server answers 404 Not Found\.$"),
        ("http://127.0.0.1:9/t.csv", r"t\.csv cannot be fetched: "),
        ("ftp://127.0.0.1/t.csv", "is an address of a kind that is not fetched; expected https"),
        ("memory::http://127.0.0.1/t.csv", "There is no file"),
        ("{site}/data.zip", "is an archive, which is not read by its address. Download it"),
        ("s3://bucket/t.csv", r"needs the package s3fs|cannot be fetched"),
    ],
)
def test_a_table_that_cannot_be_fetched_is_one_sentence(site: str, address: str, sentence: str) -> None:
    with polymodal.allow_remote(), pytest.raises(TableError, match=sentence) as caught:
        read_table(address.replace("{site}", site))
    assert "\n" not in str(caught.value)


def test_fsspec_reads_the_other_schemes() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/set/t.csv", b"image,y\n1.png,a\n../2.png,b\n/etc/3.png,c\n")
    memory.pipe("/set/1.png", png(1))
    try:
        with polymodal.allow_remote():
            table = read_table("memory://set/t.csv")
            assert table.columns["image"] == ["memory://set/1.png", "memory://set/2.png", "memory://set/etc/3.png"]
            assert read_media(table.columns["image"][0], table.folder) == png(1)
            with pytest.raises(CellReadError, match="there is no such file"):
                read_media(table.columns["image"][1], table.folder)
    finally:
        memory.rm("/set", recursive=True)


def test_what_was_fetched_is_removed_and_not_taken_for_the_same_later(tmp_path: Path) -> None:
    address = "http://127.0.0.1:9/1.png"
    refused = cell_keys("image", {}, [address], tmp_path).name
    with polymodal.allow_remote():
        folder = remote_files._folders[-1]
        first = cell_keys("image", {}, [address], tmp_path).name
        assert folder.is_dir()
    assert not folder.exists()
    with polymodal.allow_remote():
        second = cell_keys("image", {}, [address], tmp_path).name
    assert len({refused, first, second}) == 3


def test_the_command_line_fetches_only_with_the_option(site: str) -> None:
    runner, arguments = CliRunner(), ["inspect", f"{site}/data/t.csv", "--target", "label", "--json", "-q"]
    refused = runner.invoke(app, arguments)
    assert refused.exit_code == 2
    assert "--allow-remote" in refused.output
    assert Site.asked == []
    found = runner.invoke(app, [*arguments, "--allow-remote"])
    assert found.exit_code == 0
    assert '"modality": "image"' in found.output
    assert not remote_files.is_remote_allowed()
