"""A small run in a folder, and its bundle as the command line exports it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tiny
from polymodal.bundle.load_bundle import read_bundle_info
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
        told = {"modality": {"note": "text"}, "command": "c /a/b.csv"}
        tiny.train(str(table), "kind", settings=options, fusion="attention", share="all", output=folder, **told)
        yield folder


@pytest.fixture(scope="session")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped_bundle") / "bundle"
    result = CliRunner().invoke(app, ["export", str(run), "-o", str(folder), "-q", "--format", "huggingface"])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def written(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``polymodal export`` take graphs that are there: to make them takes most of its time."""

    def write_bundle(model: Any, columns: Any, folder: Path, progress: Any) -> Any:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        return read_bundle_info(folder)

    monkeypatch.setattr("polymodal.export.export_bundle.write_bundle", write_bundle)
