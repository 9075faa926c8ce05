"""Damaged models, indexes and training checkpoints: one sentence at loading, no crash, no hang, no prediction."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import polymodal
import tiny
from fuzzing import QUICK, examples
from polymodal.data.tables.table import Table
from polymodal.errors import CheckpointError, PolymodalError
from polymodal.model import search_index
from polymodal.nn.allocation import AllocationLimit

ODD: list[Any] = [None, "x", "", True, -1, 0, 3, 0.5, 10**9, 10**30, 1e308, math.nan, math.inf, [], {}, [[]], ["x"]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model with number, category and text columns, boosted trees included."""
    table = tiny.numbers_table() | {"note": [f"it is {number % 7} of {number % 5}" for number in range(60)]}
    folder = tmp_path_factory.mktemp("small") / "model"
    tiny.train(table, settings={"baselines": True}).save(folder)
    return folder


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "copy"))


ROWS = {"size": [0.5, None], "colour": ["red", None], "note": ["it is 3 of 4", None]}


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    (folder / "manifest.json").unlink(missing_ok=True)
    plain = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    change(plain)
    (folder / "model.json").write_text(json.dumps(plain), encoding="utf-8")


def test_a_model_without_a_manifest_loads(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    assert len(polymodal.load(copy).predict(ROWS)["kind"]) == 2


def test_a_change_of_any_file_is_found(copy: Path) -> None:
    for path in sorted(path for path in copy.rglob("*") if path.is_file() and path.name != "manifest.json"):
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(CheckpointError, match=rf"damaged: the content of .*{path.name} is not what was saved"):
            polymodal.load(copy)
        path.write_bytes(content[:-1])
        with pytest.raises(CheckpointError, match=rf"damaged: .*{path.name} has [\d,]+ bytes, saved were"):
            polymodal.load(copy)
        path.write_bytes(content)
    polymodal.load(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "manifest.json is not JSON"),
        ("[]", "manifest.json holds no JSON object"),
        ('{"format": 2, "files": {}}', "manifest.json, format: input should be 1"),
        ('{"format": 1, "files": {}}', "manifest.json does not name model.json"),
        ('{"format": 1, "files": {"model.json": {"size": -1, "sha256": "0"}}}', "greater than or equal to 0"),
    ],
)
def test_a_damaged_manifest_is_one_sentence(copy: Path, text: str, message: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        polymodal.load(copy)


def test_a_manifest_never_leads_out_of_the_folder(copy: Path) -> None:
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["../secret"] = {"size": 1, "sha256": "0" * 64}
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"'../secret', which lies outside"):
        polymodal.load(copy)


@pytest.mark.parametrize("name", ["network.safetensors", "baselines.safetensors", "manifest.json"])
@pytest.mark.parametrize("has_manifest", [True, False])
def test_what_is_no_file_is_not_opened(copy: Path, name: str, has_manifest: bool) -> None:
    for make, kind in ((os.mkfifo, "a named pipe"), (os.mkdir, "a folder"), (_link_to_itself, "cannot be found")):
        if not has_manifest:
            (copy / "manifest.json").unlink(missing_ok=True)
        (copy / name).unlink(missing_ok=True)
        make(copy / name)
        if name != "manifest.json" or kind != "a folder":
            with pytest.raises(CheckpointError, match=rf"damaged: {name} (is )?{kind}"):
                polymodal.load(copy)
        shutil.rmtree(copy / name) if kind == "a folder" else (copy / name).unlink()


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["network.safetensors", "baselines.safetensors"])
def test_weights_that_are_not_finite_are_refused(copy: Path, name: str, value: float) -> None:
    (copy / "manifest.json").unlink()
    tensors = load_file(copy / name)
    changed = {key: t.clone().fill_(value) if t.is_floating_point() else t for key, t in tensors.items()}
    save_file(changed, copy / name)
    with pytest.raises(CheckpointError, match=rf"damaged: {name} holds numbers that are not finite"):
        polymodal.load(copy)


def test_weights_of_other_shapes_and_kinds_are_refused(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    path = copy / "network.safetensors"
    tensors = load_file(path)
    first = next(key for key, tensor in tensors.items() if tensor.ndim == 2)
    for changed, message in (
        ({first: tensors[first].to(torch.int64)}, rf"'{first}' is int64 .*, expected float32"),
        ({first: tensors[first][:1].clone()}, rf"'{first}' is float32 \[1, "),
        ({"more": torch.zeros(1)}, "it has 'more'"),
    ):
        save_file({**tensors, **changed}, path)
        with pytest.raises(CheckpointError, match=f"network.safetensors does not fit the configuration: {message}"):
            polymodal.load(copy)
    save_file({key: value for key, value in tensors.items() if key != first}, path)
    with pytest.raises(CheckpointError, match=f"it lacks '{first}'"):
        polymodal.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["config"].update(width=10**9),
        lambda plain: plain["config"]["fusion"].update(hyperparameters={"depth": 10**9}),
        lambda plain: plain["config"].update(encoder={"note": {"hyperparameters": {"filters": 10**9}}}),
    ],
    ids=["width", "fusion", "encoder"],
)
def test_absurd_sizes_are_refused_before_they_take_memory(copy: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    _edit(copy, change)
    with pytest.raises(CheckpointError, match=r"model.json asks for a network that is larger than its weights"):
        polymodal.load(copy)


def test_an_allocation_limit_counts_bytes_and_tensors() -> None:
    with AllocationLimit(max_bytes=1000, max_tensors=2):
        torch.zeros(100)
        with pytest.raises(MemoryError):
            torch.empty(10**12)
    with AllocationLimit(max_bytes=10**6, max_tensors=2), pytest.raises(MemoryError):
        [torch.nn.Linear(2, 2) for _ in range(10**9)]


@pytest.mark.parametrize("length", ["4", 0])
def test_wrong_types_and_values_in_json_name_their_place(copy: Path, length: object) -> None:
    _edit(copy, lambda plain: plain["preprocessor"]["modalities"]["note"]["state"].update(max_length=length))
    with pytest.raises(CheckpointError, match=r"model.json"):
        polymodal.load(copy)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all fields of a model but its report."""
    inner = value.items() if isinstance(value, dict) else list(enumerate(value))[:2] if isinstance(value, list) else ()
    for key, content in inner:
        if place or key != "record":
            yield (*place, key)
            yield from _places(content, (*place, key))


def _check_swap(small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Swap the value of a field for another: the model is refused, or predicts as any model does."""
    folder = Path(shutil.copytree(small, tmp_path_factory.mktemp("swap") / "model"))
    plain = json.loads((small / "model.json").read_text(encoding="utf-8"))
    *path, last = data.draw(st.sampled_from(list(_places(plain))))

    def change(content: Any) -> None:
        for key in path:
            content = content[key]
        content[last] = data.draw(st.sampled_from(ODD))

    _edit(folder, change)
    _load_and_predict(folder)


def _check_bytes(small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut a file or change some of its bytes, with and without a manifest."""
    folder = Path(shutil.copytree(small, tmp_path_factory.mktemp("bytes") / "model"))
    names = sorted(path.relative_to(small).as_posix() for path in small.rglob("*") if path.is_file())
    path = folder / data.draw(st.sampled_from(names))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    if data.draw(st.booleans()):
        (folder / "manifest.json").unlink()
    _load_and_predict(folder)


def _load_and_predict(folder: Path) -> None:
    message = ""
    try:
        model = polymodal.load(folder)
        assert len(model.predict(ROWS)["kind"]) == 2
    except PolymodalError as error:
        message = str(error)
    finally:
        shutil.rmtree(folder.parent)
    assert "\n" not in message
    assert not message or str(folder) in message


@QUICK
@given(data=st.data())
def test_swapped_values_are_one_sentence(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    _check_swap(small, tmp_path_factory, data)


@QUICK
@given(data=st.data())
def test_damaged_bytes_are_one_sentence(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    _check_bytes(small, tmp_path_factory, data)


@pytest.mark.exhaustive
@examples(1_000)
@given(data=st.data())
def test_many_damaged_models_are_one_sentence(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    check = data.draw(st.sampled_from([_check_swap, _check_bytes]))
    check(small, tmp_path_factory, data)


def test_an_index_without_a_manifest_compares_every_vector(
    model: polymodal.Model, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "EXACT_ROWS", 10)
    search_index.save_index(model.index(table)[0], tmp_path / "index")
    assert search_index.load_index(tmp_path / "index").graph is not None
    (tmp_path / "index" / "graph.usearch").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"damaged: graph.usearch has 3 bytes"):
        search_index.load_index(tmp_path / "index")
    (tmp_path / "index" / "manifest.json").unlink()
    assert search_index.load_index(tmp_path / "index").graph is None
