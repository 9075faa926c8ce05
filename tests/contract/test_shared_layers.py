"""Layers that streams of several modalities share, with every fusion and kind of target, through the whole of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polymodal
import tiny
from polymodal.compression.student_plan import plan_student
from polymodal.config import build_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.encoders.shared_layers import SharedLayers
from polymodal.errors import ConfigError
from polymodal.fusion import FUSIONS
from polymodal.model.build import build_network, num_parameters
from polymodal.model.collate import collate_examples
from polymodal.model.network import Network
from polymodal.nn.pruning import prune, resize
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import DataModule, Tables, build_data_module
from polymodal.targets import TARGETS
from polymodal.tokens import ColumnBatch
from products import unless

ROWS = np.arange(8)
FEATURES = ("photo", "note", "trace", "size")
STREAMS = ("photo", "note", "trace", "tabular")
STRUCTURED = [kind for kind in TARGETS if kind not in ("category", "categories", "number")]
CHEAP = ("vote", "sum")
"""Fusions that every check takes; both need no tokens, the one not even a fused vector."""
every_fusion = pytest.mark.parametrize("fusion", [pytest.param(name, marks=unless(name in CHEAP)) for name in FUSIONS])


@pytest.fixture(scope="module")
def data_module(table: Table) -> DataModule:
    few = tiny.only(table, *FEATURES, "kind")
    return build_data_module(Tables(train=few), build_config({"target": ["kind"]}), ArrayCache(None), SilentProgress())


@pytest.fixture(scope="module")
def numbers() -> dict[str, list[Any]]:
    return tiny.numbers_table()


@pytest.fixture(scope="module")
def model(numbers: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> polymodal.Model:
    """Return a run in which two streams of numbers and categories share layers."""
    return train(numbers, output=tmp_path_factory.mktemp("shared") / "run")


def train(table: Any, **options: Any) -> polymodal.Model:
    options = {"share": "all", "fusion": "sum", "stream": {"body": ["size"], "rest": ["age", "colour"]}} | options
    return tiny.train(table, **options)


def build(data_module: DataModule, fusion: str = "sum", **options: Any) -> Network:
    torch.manual_seed(0)
    values = {"target": ["kind"], "width": 16, "fusion": {"name": fusion}, "share": "all"} | options
    return build_network(build_config(values), data_module.preprocessor.modalities, data_module.targets).eval()


def batch_of(data_module: DataModule, **absent: list[int]) -> dict[str, ColumnBatch]:
    batch = collate_examples(data_module.splits["train"], ROWS)
    for stream, column in batch.items():
        present = column.present.clone()
        present[absent.get(stream, [])] = False
        batch[stream] = ColumnBatch(column.values, present, column.lengths)
    return batch


def layers_of(network: Network) -> SharedLayers:
    (layers,) = network.layer_groups
    return layers


@every_fusion
def test_values_of_absent_cells_are_never_read(data_module: DataModule, fusion: str) -> None:
    network, batch = build(data_module, fusion), batch_of(data_module, photo=[0, 1], note=[1, 2], trace=[1])
    other = {}
    for stream, column in batch.items():
        values = column.values.clone()
        values[~column.present] = 7
        other[stream] = ColumnBatch(values, column.present, column.lengths)
    first, second = network(batch), network(other)
    for name, output in first.fused.items():
        assert torch.equal(output, second.fused[name])
        assert output.isfinite().all()
    for stream, output in first.streams["kind"].items():
        assert torch.equal(output, second.streams["kind"][stream])


@every_fusion
def test_the_layers_learn_from_each_stream_and_each_own_head_reads_them(data_module: DataModule, fusion: str) -> None:
    network, batch = build(data_module, fusion).train(), batch_of(data_module)
    layers = layers_of(network)
    assert layers.streams == STREAMS
    for number, stream in enumerate(STREAMS):
        network.zero_grad()
        network(batch).streams["kind"][stream].square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layers.parameters())
        assert any(p.grad.any() for p in layers.layers.parameters() if p.grad is not None)
        assert layers.stream_EW.grad is not None
        assert layers.stream_EW.grad.any(dim=1).nonzero().flatten().tolist() == [number]


def test_a_stream_that_is_absent_in_all_rows_costs_nothing(data_module: DataModule) -> None:
    network, seen = build(data_module), list[int]()
    layers_of(network).register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0].values)))
    batch = batch_of(data_module, photo=list(ROWS), note=[0, 1, 2])
    tokens = network.encode(batch)
    assert seen == [len(batch[stream].rows_there) for stream in STREAMS if len(batch[stream].rows_there)]
    assert len(seen) == 3
    assert not tokens["photo"].present.any()
    assert torch.equal(tokens["note"].row_present, batch["note"].present)


def test_streams_do_not_meet_before_the_fusion(data_module: DataModule) -> None:
    network = build(data_module)
    whole, without = (network.encode(batch_of(data_module, **absent)) for absent in ({}, {"photo": list(ROWS)}))
    assert torch.equal(whole["note"].values, without["note"].values)


def test_depth_and_group_decide_what_is_shared(data_module: DataModule) -> None:
    plain, one, two = (
        num_parameters(build(data_module, **options))
        for options in ({"share": {}}, {"share_depth": 1}, {"share": {"said": ["photo", "note"]}, "share_depth": 2})
    )
    of_layer = two - plain - (one - plain) - (2 - 4) * 16
    assert 0 < of_layer < one - plain
    network = build(data_module, share={"said": ["photo", "note"]})
    assert layers_of(network).streams == ("photo", "note")
    assert network.stream_encoder(2) is network.own_encoders[2]


def test_pruned_layers_can_be_built_again(data_module: DataModule) -> None:
    network, again = build(data_module), build(data_module)
    kept = prune(network, 0.5)
    assert {
        "shared_layers.0.layers.layers.0.attention.heads",
        "shared_layers.0.layers.layers.1.feed_forward.1.hidden",
    } <= set(kept)
    resize(again, kept)
    again.load_state_dict(network.state_dict())
    batch = batch_of(data_module)
    assert torch.equal(network(batch).fused["kind"], again(batch).fused["kind"])


def test_a_run_says_what_is_shared_and_is_loaded_bit_identical(model: polymodal.Model, numbers: Any) -> None:
    (said,) = model.report_data["shared_layers"]
    assert said == {"name": "all", "streams": ["body", "rest"], "depth": 2, "parameters": said["parameters"]}
    assert said["parameters"] == num_parameters(layers_of(model.trained.network))
    assert model.folder is not None
    assert "body, rest share 2 layers behind their encoders (all)" in (model.folder / "report.html").read_text()
    assert "body, rest share 2 layers behind their own encoders (all)" in (model.folder / "log.txt").read_text()
    loaded = polymodal.load(model.folder)
    assert tiny.same(model.predictions(numbers).values, loaded.predictions(numbers).values)


@pytest.mark.exhaustive
def test_a_bundle_answers_the_same(model: polymodal.Model, numbers: Any, tmp_path: Path) -> None:
    assert max(model.export(tmp_path / "bundle", table=Table(numbers)).largest.values()) <= 1e-4
    bundle = polymodal.load(tmp_path / "bundle")
    assert bundle.predict(numbers) == model.predict(numbers)
    assert np.abs(bundle.embed(numbers).rows - model.embed(numbers).rows).max() < 1e-4
    assert "The streams body, rest share 2 layers" in (tmp_path / "bundle" / "README.md").read_text()


def test_students_share_what_is_left(model: polymodal.Model) -> None:
    small, alone = plan_student(model.trained, 2), plan_student(model.trained, 2, without=["rest"])
    assert small is not None
    assert alone is not None
    assert small.config.share == {"all": ("body", "rest")}
    assert alone.config.share == {}


def test_a_later_run_starts_from_the_layers(model: polymodal.Model, numbers: Any) -> None:
    still = {"init_frozen": True, "train.learning_rate": 0.1}
    frozen = train(numbers, init_from=model.folder, settings=still)
    first, second = (tiny.weights_of(found) for found in (model, frozen))
    shared = [name for name in first if name.startswith("shared_layers.")]
    assert shared
    assert all(np.array_equal(first[name], second[name]) for name in shared)
    assert notices(frozen, "share come from .* and are frozen")
    assert notices(train(numbers, init_from=model.folder, settings={"share_depth": 1}), "share start anew: in ")
    assert notices(train(numbers, init_from=model.folder, share=None), "are left behind: --share does not name them")


def notices(model: polymodal.Model, pattern: str) -> list[str]:
    return [notice for notice in model.report_data["notices"] if re.search(pattern, notice)]


def test_a_comparison_judges_it(numbers: Any) -> None:
    variants = {"shared": {"share": "all"}, "one layer": {"share": "all", "share_depth": 1}}
    settings = tiny.QUICK | {"fusion.name": "sum"}
    streams = {"body": ["size"], "rest": ["age", "colour"]}
    found = polymodal.compare(numbers, target="kind", variants=variants, stream=streams, settings=settings)
    parameters = {row.variant: row.parameters for row in found.rows}
    assert parameters["as given"] < parameters["one layer"] < parameters["shared"]
    with pytest.raises(ConfigError, match="'all' of --share needs two streams or more"):
        polymodal.compare(numbers, target="kind", variants={"shared": {"share": "all"}}, settings=settings)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fusion", [fusion for fusion, entry in FUSIONS.items() if entry.exports])
def test_every_fusion_is_exported(fusion: str, table: Table, tmp_path: Path) -> None:
    few = tiny.only(table, "photo", "note", "size", "kind")
    check_bundle(train(few, modality={"note": "text"}, fusion=fusion, stream=None), few, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", STRUCTURED)
def test_every_structured_target_is_learned_and_exported(kind: str, tmp_path: Path) -> None:
    few = tiny.only(tiny.write_structured_table(tmp_path, kind, 36), "photo", "sound", "size", "answer")
    model = tiny.train(few, "answer", modality={"answer": kind}, share="all", output=tmp_path / "run")
    loaded = polymodal.load(tmp_path / "run")
    assert loaded.predict(few) == model.predict(few)
    check_bundle(model, few, tmp_path)


def check_bundle(model: polymodal.Model, table: Table, folder: Path) -> None:
    assert max(model.export(folder / "bundle", table=table, format="torch").largest.values()) <= 1e-4
    bundle = polymodal.load(folder / "bundle")
    assert np.abs(bundle.embed(table).rows - model.embed(table).rows).max() < 1e-3


@pytest.mark.exhaustive
def test_without_a_target_rows_are_embedded_and_found(table: Table) -> None:
    few = tiny.only(table, "photo", "note")
    model = tiny.train(few, (), modality={"note": "text"}, share="all")
    index, _ = model.index(few)
    assert model.search(index, {"note": few.columns["note"][0]}, top=1)


@pytest.mark.exhaustive
def test_gradients_reach_the_cells_through_the_layers(table: Table) -> None:
    few = tiny.only(table, "photo", "note", "size", "kind")
    model = tiny.train(few, modality={"note": "text"}, share="all", settings={"train.epochs": 4})
    for row in model.explain(few, rows=range(1, 4), method="gradients", passes=16).rows:
        assert all(np.isfinite([part.value for part in cell.parts]).all() for cell in row.cells)
        assert any(part.value for cell in row.cells for part in cell.parts)


@pytest.mark.exhaustive
def test_a_teacher_pretraining_and_balancing_go_with_it(table: Table, tmp_path: Path) -> None:
    few = tiny.only(table, "photo", "note", "size", "kind")
    kinds = {"note": "text"}
    teacher = tiny.train(few, modality=kinds, share="all", output=tmp_path / "run")
    settings = {"train.pretrain_epochs": 1, "train.balance": "mmpareto"}
    student = tiny.train(few, modality=kinds, share="all", teacher=teacher.folder, settings=settings)
    assert student.report_data["pretraining"]
