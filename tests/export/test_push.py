"""``polymodal push`` against a stand-in of the hub on the loopback, in a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import polymodal
from hub_stand_in import TOKEN, Hub, running_hub
from polymodal.cli.main import app

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of the hub's own client


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


def push_in_a_process(hub: Hub, home: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Push as a user does, with the address of the hub in the environment."""
    command = [sys.executable, "-m", "polymodal", "push", *arguments, "-q"]
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = {**kept, **settings, "HF_HUB_DISABLE_TELEMETRY": "1", **variables}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def push(hub: Hub, home: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Push in this process, which is quicker."""
    constants = importlib.import_module("huggingface_hub.constants")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(constants, "ENDPOINT", hub.address)
        patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        result = CliRunner().invoke(app, ["push", *arguments, "-q"])
    return result.exit_code, result.stdout, result.stderr


def test_what_was_pushed_is_loaded_and_nothing_else_was_sent(
    hub: Hub, bundle: Path, table: Path, tmp_path: Path
) -> None:
    (bundle / "secret.txt").write_text("mine")
    try:
        arguments = (str(bundle), "me/animals", "--private", "--json", "--token-env", "MINE")
        code, output, told = push_in_a_process(hub, tmp_path, *arguments, MINE=TOKEN)
    finally:
        (bundle / "secret.txt").unlink()
    assert code == 0, told
    files = hub.repositories["me/animals"]["main"]
    assert json.loads(output)["files"] == sorted(files)
    assert {".gitattributes", "README.md", "bundle.json", "manifest.json", "graphs/fusion.onnx"} <= files.keys()
    assert "secret.txt" not in files
    assert hub.private["me/animals"]
    for name, content in files.items():
        (tmp_path / "got" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "got" / name).write_bytes(content)
    assert polymodal.load(tmp_path / "got").predict(table) == polymodal.load(bundle).predict(table)


def test_a_second_push_replaces_the_graphs_of_a_branch(hub: Hub, bundle: Path, tmp_path: Path) -> None:
    old = {"graphs/encoder-9.onnx": b"old", "notes.md": b"mine"}
    hub.repositories["me/animals"] = {"main": dict(old)}
    arguments = (str(bundle), "me/animals", "--revision", "next", "--message", "Second try")
    code, _, told = push(hub, tmp_path, *arguments, HF_TOKEN=TOKEN)
    assert code == 0, told
    assert hub.repositories["me/animals"]["main"] == old
    files = hub.repositories["me/animals"]["next"]
    assert "graphs/encoder-9.onnx" not in files
    assert files["notes.md"] == b"mine"
    assert hub.messages == ["Second try"]


@pytest.mark.usefixtures("written")
def test_a_run_is_exported_first(hub: Hub, run: Path, tmp_path: Path) -> None:
    code, _, told = push(hub, tmp_path, str(run), "me/animals", "--license", "mit", HF_TOKEN=TOKEN)
    assert code == 0, told
    files = hub.repositories["me/animals"]["main"]
    assert files["README.md"].startswith(b"---\nlicense: mit\n")
    assert b"*.onnx filter=lfs" in files[".gitattributes"]
    assert not hub.private["me/animals"]


def test_refusals_are_one_sentence_without_the_token(hub: Hub, bundle: Path, run: Path, tmp_path: Path) -> None:
    cases = {
        "refused the token": ([str(bundle), "me/animals"], {"HF_TOKEN": "hf_wrongful"}),
        "MINE holds no token": ([str(bundle), "me/animals", "--token-env", "MINE"], {}),
        "no token of the hub": ([str(run), "me/animals"], {}),
        "no name of the hub": ([str(bundle), "a/b/c"], {"HF_TOKEN": TOKEN}),
    }
    for sentence, (arguments, variables) in cases.items():
        code, _, told = push(hub, tmp_path, *arguments, **variables)
        assert code == 2, told
        assert sentence in told
        assert told.count("\n") == 1
        assert "hf_" not in told
    assert not hub.repositories


def test_a_hub_that_is_away(bundle: Path, tmp_path: Path) -> None:
    with running_hub() as away:
        pass
    code, _, told = push(away, tmp_path, str(bundle), "me/animals", HF_TOKEN=TOKEN)
    assert code == 2
    assert "The hub did not take me/animals: ConnectError" in told
