"""A small run in a folder, and its bundle as the command line exports it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from polymodal.cli.main import app

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
INPUTS = ("size", "colour", "note")
ROWS = 40


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    return tiny.write_csv(tiny.only(tiny.write_table(folder, ROWS), *INPUTS, "kind"), folder / "animals.csv")


@pytest.fixture(scope="session")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("shipped_run") / "run"
    with tiny.decode_cache(folder.parent):
        options = {"baselines": True, "test_share": 0.2}
        tiny.train(str(table), "kind", settings=options, modality={"note": "text"}, output=folder, command="c /a/b.csv")
        yield folder


@pytest.fixture(scope="session")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped_bundle") / "bundle"
    result = CliRunner().invoke(app, ["export", str(run), "-o", str(folder), "-q", "--format", "huggingface"])
    assert result.exit_code == 0, result.output
    return folder
