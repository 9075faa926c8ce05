"""A bundle that is not what was exported ends in one sentence, before it answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import polymodal
from polymodal.errors import CheckpointError
from polymodal.model.manifest import MANIFEST_FILE, write_manifest

SECRET = b"nobody is to read this"


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def sentence_of(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        polymodal.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["graphs/fusion.onnx", "graphs/encoder-0.onnx", "bundle.json", "model.json"])
def test_files_that_were_cut_changed_or_lost(copy: Path, name: str) -> None:
    path, content = copy / name, (copy / name).read_bytes()
    path.write_bytes(content[:-7])
    assert f"{name} has {len(content) - 7:,} bytes" in sentence_of(copy)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"content of {name}" in sentence_of(copy)
    path.unlink()
    assert f"{path.name} is missing" in sentence_of(copy)


def test_another_format_and_unknown_content(copy: Path) -> None:
    edit_json(copy / "bundle.json", lambda content: content.update(format=99))
    write_manifest(copy)
    assert "has format 99" in sentence_of(copy)
    edit_json(copy / "bundle.json", lambda content: content.update(format=1, opset="many"))
    write_manifest(copy)
    assert "bundle.json, opset" in sentence_of(copy)


def test_streams_without_an_encoder(copy: Path) -> None:
    edit_json(copy / "bundle.json", lambda content: content["encoders"].update(note=7))
    write_manifest(copy)
    assert "names no encoder of the stream 'note'" in sentence_of(copy)


def test_graphs_that_were_exchanged(copy: Path) -> None:
    first, second = copy / "graphs" / "encoder-0.onnx", copy / "graphs" / "fusion.onnx"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    write_manifest(copy)
    assert "encoder-0.onnx reads 'tokens:0', which bundle.json does not name" in sentence_of(copy)
    first.write_bytes(content)
    second.write_bytes(content)
    write_manifest(copy)
    assert "fusion.onnx reads 'values', which bundle.json does not name" in sentence_of(copy)


def test_a_file_that_is_no_graph(copy: Path) -> None:
    (copy / "graphs" / "fusion.onnx").write_bytes(b"\x80\x04pickle")
    write_manifest(copy)
    assert "fusion.onnx is no graph that ONNX Runtime reads" in sentence_of(copy)


@pytest.mark.parametrize("location", ["../../secret.bin", "absolute", "link"])
def test_a_graph_reads_no_file_outside_of_its_folder(copy: Path, location: str) -> None:
    secret = copy.parent / "secret.bin"
    secret.write_bytes(SECRET)
    if location == "link":
        (copy / "graphs" / "link").symlink_to(secret)
    place = str(secret) if location == "absolute" else location
    (copy / "graphs" / "encoder-0.onnx").write_bytes(external(place, len(SECRET)))
    write_manifest(copy)
    assert "encoder-0.onnx is no graph that ONNX Runtime reads" in sentence_of(copy)


def external(location: str, size: int) -> bytes:
    """Return a graph whose weights lie in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[size], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        weights.external_data.add(key=key, value=value)
    outputs = [helper.make_tensor_value_info("y", TensorProto.UINT8, [size])]
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], outputs, [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def test_a_graph_that_asks_for_more_memory_than_there_is(copy: Path) -> None:
    path = copy / "graphs" / "fusion.onnx"
    model = onnx.load(path)
    size = helper.make_tensor("size", TensorProto.INT64, [1], [2**50])
    model.graph.initializer.append(size)
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["old" if output == name else output for output in node.output]
        node.input[:] = ["old" if given == name else given for given in node.input]
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], [name]))
    path.write_bytes(model.SerializeToString())
    write_manifest(copy)
    assert "damaged" in sentence_of(copy)


def test_a_manifest_that_names_files_outside(copy: Path) -> None:
    edit_json(copy / MANIFEST_FILE, lambda content: content["files"].update({"../x": content["files"]["bundle.json"]}))
    assert "lies outside" in sentence_of(copy)
