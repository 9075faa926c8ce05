"""Starting, stopping, reloading and replacing: no request is lost, and errors are one sentence."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from loopback import running
from polymodal.serving.settings import ServerSettings

LONGEST_S = 120.0


def until(is_done: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        if found := is_done():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "polymodal", "serve", *map(str, arguments)]


@contextmanager
def serving(log: Path, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command in a process, its log in a file: a full pipe would stop it; yields it and its address."""
    with log.open("w") as errors:
        process = subprocess.Popen(command(*arguments, "--port", 0), stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        assert found, line + log.read_text()
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=LONGEST_S)


def fails(*arguments: object) -> str:
    """Run the command that cannot start; returns its sentence."""
    from polymodal.cli.main import app

    result = CliRunner().invoke(app, ["serve", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.stderr


def test_what_cannot_start_says_so_in_one_sentence(numbers_run: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "is taken by another program" in fails(numbers_run, "--port", taken.getsockname()[1])
    assert "There is no" in fails(tmp_path / "nothing", "--port", 0)
    damaged = tmp_path / "damaged"
    shutil.copytree(numbers_run, damaged)
    weights = damaged / "model" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "network.safetensors" in fails(damaged, "--port", 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tls-cert", "cert.pem"), "give both --tls-cert and --tls-key"),
        (("--tls-cert", "no.pem", "--tls-key", "no.pem"), "There is no file no.pem"),
        (("--api-key-file", "no.txt"), "no.txt cannot be read"),
        (("--queue", "5"), "cannot hold a request of 1,000 rows"),
        (("--max-body", "many"), "a size such as 500KB or 32MB"),
        (("--host", "no.such.host.invalid"), "no address"),
        (("--record-columns", "size"), "--record names no folder"),
        (("--timeout", "0"), "must be above 0 seconds"),
    ],
)
def test_options_that_cannot_work(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in fails(tmp_path, *arguments)


def test_keys_of_a_file_and_short_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polymodal.errors import ConfigError
    from polymodal.serving.settings import read_api_keys

    path = tmp_path / "keys"
    path.write_text("# of the shop\n0123456789abcdef\n\n", encoding="utf-8")
    monkeypatch.setenv("KEYS", "fedcba9876543210, 0000000000000000")
    assert read_api_keys(path, "KEYS") == ("fedcba9876543210", "0000000000000000", "0123456789abcdef")
    monkeypatch.setenv("KEYS", "short")
    with pytest.raises(ConfigError, match="shorter than 16"):
        read_api_keys(None, "KEYS")
    path.write_text("# none\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no key"):
        read_api_keys(path, "NOT_SET")


class Asking(threading.Thread):
    """Asks for predictions without a pause until it is told to stop, and remembers what came back."""

    def __init__(self, address: str, row: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.address, self.row = address, row
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=LONGEST_S) as client:
            while not self.is_over.is_set():
                try:
                    answer = client.post(f"{self.address}/predict", json={"rows": [self.row]})
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.failures.append(answer.text)

    def stop(self) -> None:
        self.is_over.set()
        self.join(LONGEST_S)


@pytest.fixture(scope="module")
def other_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model of the same columns."""
    import tiny

    folder = tmp_path_factory.mktemp("other")
    tiny.train(tiny.numbers_table(seed=3), "kind", output=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def numbers_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that loads in a moment."""
    import tiny

    folder = tmp_path_factory.mktemp("numbers")
    tiny.train(tiny.numbers_table(), "kind", output=folder / "run")
    return folder / "run"


ROW = {"size": 1.0, "age": 0.0, "colour": "red"}


def test_a_replaced_model_is_loaded_without_a_lost_request(
    changed: Callable[..., ServerSettings], numbers_run: Path, other_run: Path, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    shutil.copytree(numbers_run / "model", served)
    with running(changed(model=served, index=None)) as address:
        version = httpx.get(f"{address}/schema").json()["version"]
        asking = Asking(address, ROW)
        asking.start()
        until(lambda: asking.answers, "a first answer")
        shutil.copytree(other_run / "model", tmp_path / "new")
        os.rename(served, tmp_path / "old")
        os.rename(tmp_path / "new", served)
        until(lambda: httpx.get(f"{address}/readyz").json()["version"] != version, "the reload")
        seen = len(asking.answers)
        until(lambda: len(asking.answers) > seen + 3, "answers of the new model")
        asking.stop()
        metrics = httpx.get(f"{address}/metrics").text
    assert asking.failures == []
    assert {answer["version"] for answer in asking.answers} >= {version}
    assert asking.answers[-1]["version"] != version
    assert 'polymodal_reloads_total{result="loaded"} 1.0' in metrics


def test_a_damaged_replacement_changes_nothing(
    changed: Callable[..., ServerSettings], numbers_run: Path, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    shutil.copytree(numbers_run / "model", served)
    with running(changed(model=served, index=None)) as address:
        (served / "manifest.json").write_text("{}", encoding="utf-8")
        failed = 'polymodal_reloads_total{result="failed"} 1.0'
        until(lambda: failed in httpx.get(f"{address}/metrics").text, "the failed reload")
        assert httpx.post(f"{address}/predict", json={"rows": [ROW]}).status_code == 200


def test_in_flight_requests_are_answered_and_logs_hold_no_cells(numbers_run: Path, tmp_path: Path) -> None:
    secret = "secret-of-a-client"
    with serving(tmp_path / "log", numbers_run, "--device", "cpu") as (process, address):
        httpx.post(f"{address}/predict", json={"rows": [ROW | {"colour": secret}]})
        httpx.post(f"{address}/predict", json={"rows": [{"size": secret}]})
        httpx.get(f"{address}/{secret}", headers={"x-request-id": "id-of-the-client"})
        rows = [ROW | {"size": float(size), "colour": secret} for size in range(1000)]
        answers: list[httpx.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(address, rows))) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: is_busy(address), "the requests' arrival")
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(LONGEST_S)
        process.wait(LONGEST_S)
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert all(len(answer.json()["rows"]) == 1000 for answer in answers if answer.status_code == 200)
    assert secret not in log
    assert '"request_id": "id-of-the-client"' in log
    assert '"route": "other", "status": 404' in log


def ask(address: str, rows: list[dict[str, Any]]) -> httpx.Response:
    return httpx.post(f"{address}/predict", json={"rows": rows}, timeout=LONGEST_S)


def is_busy(address: str) -> bool:
    """Tell whether a request is being answered: another one would not fit into the queue, or one was counted."""
    metrics = httpx.get(f"{address}/metrics").text
    waiting = float(metrics.split("\npolymodal_waiting_rows ")[1].split()[0])
    rows = float(metrics.split("\npolymodal_batch_rows_sum ")[1].split()[0])
    return waiting > 0 or rows > 100


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_workers_are_replaced_and_reloaded_and_stop_together(numbers_run: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "log", numbers_run, "--device", "cpu", "--workers", 2) as (process, address):
        pids = until(lambda: children(process.pid) if len(children(process.pid)) == 2 else None, "two workers")
        asking = Asking(address, ROW)
        asking.start()
        until(lambda: asking.answers, "a first answer")
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: len(set(children(process.pid)) - set(pids)) == 1, "another worker")
        seen = len(asking.answers)
        until(lambda: len(asking.answers) > seen + 3, "answers of those that are left")
        process.send_signal(signal.SIGHUP)
        loaded = re.compile(r'polymodal_reloads_total{result="loaded"} [1-9]')
        until(lambda: loaded.search(httpx.get(f"{address}/metrics").text), "the reload")
        asking.stop()
        assert len(asking.failures) <= 1  # the one that the killed worker had
        left = children(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(LONGEST_S)
        assert process.returncode == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in left)


def children(pid: int) -> list[int]:
    """Process numbers of the workers of a server."""
    found = subprocess.run(["ps", "-eww", "-o", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    fields = [line.split(None, 2) for line in found.splitlines()[1:]]
    return [int(own) for own, parent, args in fields if int(parent) == pid and "spawn_main" in args]


def test_tls(changed: Callable[..., ServerSettings], numbers_run: Path, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    names = {"-keyout": tmp_path / "key.pem", "-out": tmp_path / "cert.pem"}
    options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
    subprocess.run(
        [openssl, "req", "-x509", *options, "subjectAltName=IP:127.0.0.1", *(str(a) for p in names.items() for a in p)],
        check=True,
        capture_output=True,
    )
    settings = changed(model=numbers_run, index=None, tls_cert=names["-out"], tls_key=names["-keyout"])
    with running(settings) as address:
        context = ssl.create_default_context(cafile=str(names["-out"]))
        secure = address.replace("http://", "https://")
        assert httpx.post(f"{secure}/predict", json={"rows": [ROW]}, verify=context).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{address}/healthz")


@pytest.mark.exhaustive
def test_a_bundle_is_served_without_torch(numbers_run: Path, tmp_path: Path) -> None:
    import tiny
    from polymodal.data.tables.table import read_table
    from polymodal.export.export_bundle import export_bundle
    from polymodal.progress import SilentProgress
    from polymodal.runs.model import load

    table = read_table(tiny.numbers_table())
    export_bundle(load(numbers_run, "cpu").trained, tmp_path / "bundle", table, SilentProgress())
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'scipy', 'sklearn', 'sacrebleu', 'lightgbm', 'onnx'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from polymodal.cli.main import main; main()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, "serve", str(tmp_path / "bundle"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        try:
            assert found is not None, process.stderr
            assert httpx.get(f"{found[0]}/schema").json()["format"] == "bundle"
            predicted = httpx.post(f"{found[0]}/predict", json={"rows": [ROW], "coverage": 0.9}, timeout=LONGEST_S)
            assert predicted.json()["rows"][0]["predictions"]["kind"]["value"] in ("cat", "dog")
            assert httpx.post(f"{found[0]}/explain", json={"row": ROW}, timeout=LONGEST_S).status_code == 200
            assert httpx.post(f"{found[0]}/embed", json={"row": ROW}, timeout=LONGEST_S).status_code == 200
        finally:
            process.terminate()
            process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0


def test_serving_needs_no_torch_of_its_own() -> None:
    code = "import sys; import polymodal.serving.server, polymodal.cli.serve_command; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
