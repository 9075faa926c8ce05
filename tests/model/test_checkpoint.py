"""Saved models: whole, readable without running code, and exact."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import CheckpointError, ConfigError

PLAIN = {".safetensors", ".json", ".txt"}


@pytest.fixture(scope="module")
def saved(model: polymodal.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_model_predicts_the_same_bits_after_loading(model: polymodal.Model, saved: Path, table: Table) -> None:
    loaded = polymodal.load(saved)
    first, second = (m.predictions(table) for m in (model, loaded))
    assert tiny.same(first.values, second.values)
    assert first.labels == second.labels
    assert loaded.targets == model.targets
    assert loaded.classes == model.classes
    assert loaded.evaluate(table)["targets"] == model.evaluate(table)["targets"]


def test_loading_in_another_process_predicts_the_same(
    model: polymodal.Model, saved: Path, table: Table, tmp_path: Path
) -> None:
    data = tiny.write_csv(table, (table.folder or tmp_path) / "again.csv")
    code = (
        "import sys, json, torch, polymodal; torch.set_num_threads(1); "
        "print(json.dumps(polymodal.load(sys.argv[1]).predictions(sys.argv[2]).values['weight'].tolist()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(saved), str(data)], capture_output=True, text=True, check=True, timeout=900
    )
    assert json.loads(found.stdout) == model.predictions(data).values["weight"].tolist()


def test_a_model_saves_again_to_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    polymodal.load(saved).save(tmp_path / "again")
    names = sorted(path.relative_to(saved) for path in files_in(saved))
    assert sorted(path.relative_to(tmp_path / "again") for path in files_in(tmp_path / "again")) == names
    for name in names:
        if name.suffix != ".safetensors":
            assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_a_model_holds_only_plain_files(saved: Path) -> None:
    files = files_in(saved)
    assert {path.suffix for path in files} <= PLAIN
    assert {path.name for path in files} >= {
        "manifest.json",
        "model.json",
        "network.safetensors",
        "baselines.safetensors",
    }
    assert any(path.parent.name == "baselines" and path.suffix == ".txt" for path in files)
    for path in files:
        assert not path.read_bytes().startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04"))
        assert not path.stat().st_mode & stat.S_IXUSR
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".txt":
            path.read_text(encoding="utf-8")


def test_loading_unpickles_and_fetches_nothing(saved: Path, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    import torch

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("loading a model must not do this")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load"), (os, "system")):
        monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert len(polymodal.load(saved).predictions(table)) == table.num_rows


def _without(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def _cut(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:200])


def _edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def edit(folder: Path) -> None:
        plain = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        change(plain)
        (folder / "model.json").write_text(json.dumps(plain), encoding="utf-8")
        (folder / "manifest.json").unlink(missing_ok=True)  # as an earlier version saved it

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("model.json"), "There is no model in .*: .*model.json is missing. Expected a run folder"),
        (_without("network.safetensors"), "The model .* is damaged: .*network.safetensors"),
        (_without("baselines.safetensors"), "The model .* is damaged: .*baselines.safetensors"),
        (_cut("network.safetensors"), "The model .* is damaged: .*Train or copy it again."),
        (_cut("baselines.safetensors"), "The model .* is damaged: "),
        (_cut("model.json"), "The model .* is damaged: "),
        (_edited(lambda plain: plain.update(format=99)), "has format 99; this version reads format 1. Train it again"),
        (_edited(lambda plain: plain.pop("targets")), "The model .* is damaged: "),
        (_edited(lambda plain: plain["config"].update(width=24)), "The model .* is damaged: "),
        (_edited(lambda plain: plain["config"].update(secret=1)), "The model .* is damaged: "),
        (_edited(lambda plain: plain["targets"]["kind"].update(kind="oracle")), "The model .* is damaged: "),
        (lambda folder: (folder / "model.json").write_text("[1]"), "The model .* is damaged: "),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe\x00"), "The model .* is damaged: "),
    ],
    ids=range(13),
)
def test_a_damaged_model_is_one_sentence(copy: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(copy)
    with pytest.raises(CheckpointError, match=message):
        polymodal.load(copy)


def test_paths_inside_a_model_never_lead_out_of_it(copy: Path, tmp_path: Path) -> None:
    def climb(plain: dict[str, Any]) -> None:
        for baselines in plain["baselines"].values():
            for baseline in baselines:
                baseline["name"] = f"../../../{baseline['name']}"

    expected = polymodal.load(copy).trained.report_data
    _edited(climb)(copy)
    assert polymodal.load(copy).trained.report_data == expected


def test_what_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no model in .*Expected a run folder or its model/ folder"):
        polymodal.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(CheckpointError):
        polymodal.load(tmp_path / "file")


def test_saving_replaces_an_older_model_and_nothing_else(model: polymodal.Model, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.save(folder)
    (folder / "baselines" / "old.txt").write_text("of the older model")
    (folder / "notes.txt").write_text("of the user")
    (tmp_path / "model.new").mkdir()
    model.save(folder)
    assert not (folder / "baselines" / "old.txt").exists()
    assert (folder / "notes.txt").read_text() == "of the user"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "polymodal-cache") == [
        "model",
        "model.new",
    ]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("precious")
    with pytest.raises(ConfigError, match="holds something else than a model"):
        model.save(tmp_path / "photos")
    assert (tmp_path / "photos" / "holiday.jpg").exists()


def test_saving_into_an_empty_or_new_folder_works(model: polymodal.Model, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        model.save(folder)
        assert polymodal.load(folder).targets == model.targets
