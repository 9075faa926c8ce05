"""Every fusion with every flat target, on streams of every modality, through the same checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import polymodal
import tiny
from polymodal.config import TrainConfig, build_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.fusion import FUSIONS
from polymodal.model.build import build_network
from polymodal.model.collate import collate_examples, truth_batch
from polymodal.model.network import Batch, Network, NetworkOutput
from polymodal.nn.precision import autocast
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import DataModule, Tables, build_data_module
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import augment
from polymodal.training.losses import LossInputs, loss_terms, sample_modality_dropout, stream_presence
from products import pairwise

TARGET_OF_KIND = dict(zip(("category", "categories", "number"), tiny.TARGETS, strict=True))
every_pair = pairwise("fusion,kind", {name: tuple(FUSIONS[name].kinds or TARGET_OF_KIND) for name in FUSIONS})
every_fusion = pytest.mark.parametrize("fusion", list(FUSIONS))
ROWS = np.arange(12)
HOLES = {"photo": [0, 1], "sound": [1, 2], "clip": [1, 5], "note": [1, 3], "code": [1], "tabular": [1, 4]}
HOLES |= {"trace": [1, 2], "cloud": [1, 6]}
"""Stream to rows in which it is made absent; row 1 has nothing."""


@pytest.fixture(scope="module")
def data_module(table: Table) -> DataModule:
    config = build_config({"target": list(TARGET_OF_KIND.values())})
    return build_data_module(Tables(train=table), config, ArrayCache(None), SilentProgress())


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.exhaustive)])
def models(request: Any, table: Table) -> dict[str, polymodal.Model]:
    """Return one model a fusion, each with all targets that it can answer; from three streams, in turn, or from all."""
    turns = {"few": few_features, "all": lambda _: tiny.FEATURES}[request.param]
    features = {fusion: turns(turn) for turn, fusion in enumerate(FUSIONS)}
    return {
        fusion: tiny.train(tiny.only(table, *features[fusion], *targets_of(fusion)), targets_of(fusion), fusion=fusion)
        for fusion in FUSIONS
    }


def few_features(turn: int) -> list[str]:
    """Two media streams, others in each turn, and the columns that make one stream."""
    return [tiny.MEDIA_STREAMS[(turn + step) % len(tiny.MEDIA_STREAMS)] for step in (0, 3)] + ["size", "colour", "day"]


def streams_of(model: polymodal.Model) -> list[str]:
    return [stream.name for stream in model.trained.schema.streams]


def targets_of(fusion: str) -> list[str]:
    return [TARGET_OF_KIND[kind] for kind in FUSIONS[fusion].kinds or TARGET_OF_KIND]


def build(data_module: DataModule, fusion: str, kind: str) -> Network:
    torch.manual_seed(0)
    name = TARGET_OF_KIND[kind]
    config = build_config({"target": [name], "width": 16, "fusion": {"name": fusion}})
    return build_network(config, data_module.preprocessor.modalities, {name: data_module.targets[name]})


def batch_with_holes(data_module: DataModule, rows: np.ndarray = ROWS) -> dict[str, ColumnBatch]:
    batch = collate_examples(data_module.splits["train"], rows)
    for stream, absent in HOLES.items():
        column = batch[stream]
        present = column.present.clone()
        present[[row for row in absent if row < len(rows)]] = False
        batch[stream] = ColumnBatch(column.values, present, column.lengths)
    return batch


def with_garbage(batch: Batch) -> dict[str, ColumnBatch]:
    """Write other values into every absent cell."""
    changed = {}
    for stream, column in batch.items():
        absent = ~column.present
        values = column.values.clone()
        values[absent] = torch.nan if values.is_floating_point() else 7
        changed[stream] = ColumnBatch(values, column.present, column.lengths)
    return changed


def tensors_of(outputs: NetworkOutput) -> list[Tensor]:
    streams = [output for found in outputs.streams.values() for output in found.values()]
    weights = None if outputs.fusion_output is None else outputs.fusion_output.weights
    return [*outputs.fused.values(), *streams, *([] if weights is None else [weights])]


def loss_of(network: Network, data_module: DataModule, batch: Batch, kind: str, rows: np.ndarray = ROWS) -> Tensor:
    """Return the loss of a training step, with varied inputs and hidden streams."""
    name = TARGET_OF_KIND[kind]
    torch.manual_seed(3)
    network.train()
    varied = {stream: augment(data_module.preprocessor.modalities[stream], column) for stream, column in batch.items()}
    present = stream_presence(varied, network.streams)
    outputs = network(varied, sample_modality_dropout(present, 0.3))
    truth = {name: truth_batch(data_module.splits["train"], rows)[name]}
    targets = {name: data_module.targets[name]}
    return loss_terms(
        network, outputs, LossInputs(targets=targets, truth=truth, present=present, settings=TrainConfig())
    ).total


def test_the_table_is_understood(data_module: DataModule) -> None:
    assert {column.name: column.modality for column in data_module.schema.columns} == tiny.MODALITY_OF
    assert [target.kind for target in data_module.targets.values()] == list(TARGET_OF_KIND)


@every_pair
def test_shapes(data_module: DataModule, fusion: str, kind: str) -> None:
    network, name = build(data_module, fusion, kind).eval(), TARGET_OF_KIND[kind]
    outputs = network(batch_with_holes(data_module))
    expected = (len(ROWS), data_module.targets[name].output_dim)
    assert all(output.shape == expected for output in outputs.fused.values())
    assert list(outputs.fused) == ([] if FUSIONS[fusion].build is None else [name])
    assert {stream: output.shape for stream, output in outputs.streams[name].items()} == dict.fromkeys(
        tiny.STREAMS, expected
    )
    assert all(output.isfinite().all() for output in tensors_of(outputs))


@every_pair
def test_every_parameter_gets_a_finite_gradient(data_module: DataModule, fusion: str, kind: str) -> None:
    network = build(data_module, fusion, kind)
    loss_of(network, data_module, batch_with_holes(data_module), kind).backward()
    unused = {"log_variances"}
    if FUSIONS[fusion].level == "decision":
        unused |= {name for name, _ in network.named_parameters() if name.startswith("heads.")}
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without <= unused
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@every_pair
def test_the_loss_in_bfloat16_is_nearly_the_same(data_module: DataModule, fusion: str, kind: str) -> None:
    batch, losses = batch_with_holes(data_module), []
    for precision in ("float32", "bfloat16"):
        network = build(data_module, fusion, kind)
        with autocast(precision, torch.device("cpu")):
            losses.append(loss_of(network, data_module, batch, kind))
    losses[1].backward()
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=0.03, atol=0.03)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@every_pair
@pytest.mark.parametrize("row", [0, 1], ids=["some-cells", "no-cell"])
def test_a_batch_of_one_row_trains(data_module: DataModule, fusion: str, kind: str, row: int) -> None:
    network, rows = build(data_module, fusion, kind), ROWS[row : row + 1]
    whole = batch_with_holes(data_module)
    batch = {stream: column.take(torch.tensor([row])) for stream, column in whole.items()}
    loss = loss_of(network, data_module, batch, kind, rows)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@every_pair
def test_no_rows_give_no_rows(data_module: DataModule, fusion: str, kind: str) -> None:
    network = build(data_module, fusion, kind).eval()
    outputs = network(collate_examples(data_module.splits["train"], ROWS[:0]))
    assert all(len(output) == 0 for output in tensors_of(outputs))


@every_pair
def test_values_of_absent_cells_are_never_read(data_module: DataModule, fusion: str, kind: str) -> None:
    network = build(data_module, fusion, kind).eval()
    batch = batch_with_holes(data_module)
    for first, second in zip(tensors_of(network(batch)), tensors_of(network(with_garbage(batch))), strict=True):
        assert torch.equal(first, second)


@every_pair
def test_values_of_absent_cells_never_move_training(data_module: DataModule, fusion: str, kind: str) -> None:
    gradients = []
    batch = batch_with_holes(data_module)
    for variant in (batch, with_garbage(batch)):
        network = build(data_module, fusion, kind)
        loss = loss_of(network, data_module, variant, kind)
        loss.backward()
        gradients.append([loss.detach()] + [p.grad for p in network.parameters() if p.grad is not None])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


@every_pair
def test_an_absent_cell_never_moves_another_row(data_module: DataModule, fusion: str, kind: str) -> None:
    network = build(data_module, fusion, kind).eval()
    full, holes = collate_examples(data_module.splits["train"], ROWS), batch_with_holes(data_module)
    untouched = [row for row in range(len(ROWS)) if not any(row in absent for absent in HOLES.values())]
    for first, second in zip(tensors_of(network(full)), tensors_of(network(holes)), strict=True):
        torch.testing.assert_close(first[untouched], second[untouched], atol=1e-6, rtol=1e-5)


@every_pair
def test_other_rows_change_nothing(data_module: DataModule, fusion: str, kind: str) -> None:
    network = build(data_module, fusion, kind).eval()
    batch = batch_with_holes(data_module)
    alone = {stream: column.take(torch.tensor([5])) for stream, column in batch.items()}
    for among, single in zip(tensors_of(network(batch)), tensors_of(network(alone)), strict=True):
        torch.testing.assert_close(among[5:6], single, atol=1e-6, rtol=1e-5)


@every_fusion
def test_a_row_without_any_cell_gets_exactly_the_prior(models: Any, table: Table, fusion: str) -> None:
    model = models[fusion]
    found = model.predictions(tiny.all_absent(table))
    for name, target in model.trained.targets.items():
        assert len(found.values[name]) == table.num_rows
        assert (found.values[name] == target.prior).all()


@every_fusion
def test_the_prior_comes_from_the_training_rows(models: Any, data_module: DataModule, fusion: str) -> None:
    cells, rows = data_module.tables["train"].columns, data_module.splits["train"].rows
    weights = [float(cells["weight"][row]) for row in rows]
    kinds = [cells["kind"][row] for row in rows]
    priors = {name: target.prior for name, target in models[fusion].trained.targets.items()}
    if "weight" in targets_of(fusion):
        assert priors["weight"] == pytest.approx(np.mean(weights))
    assert priors["kind"] == pytest.approx([kinds.count(kind) / len(kinds) for kind in tiny.KINDS])


@every_fusion
def test_an_empty_table_gets_an_empty_answer(models: Any, table: Table, fusion: str) -> None:
    found = models[fusion].predictions(table.take(np.arange(0)), weights=True)
    assert len(found) == 0
    assert all(cells == [] for cells in found.to_columns().values())
    assert list(found.to_columns()) == list(models[fusion].predictions(table, weights=True).to_columns())


@every_fusion
def test_a_row_alone_gets_the_answer_it_gets_among_others(models: Any, table: Table, fusion: str) -> None:
    whole = models[fusion].predictions(table)
    alone = models[fusion].predictions(table.take(np.array([7])))
    for name, values in whole.values.items():
        np.testing.assert_allclose(alone.values[name], values[7:8], atol=1e-5, rtol=1e-4)


@every_fusion
def test_taking_cells_from_a_row_never_moves_another(models: Any, table: Table, fusion: str) -> None:
    whole = models[fusion].predictions(table)
    gone = tiny.with_cell(tiny.with_cell(table, streams_of(models[fusion])[0], 4, None), "size", 4, None)
    fewer = models[fusion].predictions(gone)
    others = [row for row in range(table.num_rows) if row != 4]
    for name, values in whole.values.items():
        np.testing.assert_allclose(fewer.values[name][others], values[others], atol=1e-5, rtol=1e-4)


@every_fusion
def test_save_load_predict_is_bit_identical(models: Any, table: Table, fusion: str, tmp_path: Path) -> None:
    model = models[fusion]
    model.save(tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    before, after = (m.predictions(table, weights=True) for m in (model, loaded))
    assert tiny.same(before.values, after.values)
    assert tiny.same(before.weights, after.weights)
    assert before.labels == after.labels
    assert tiny.same(tiny.weights_of(model), tiny.weights_of(loaded))
    assert json.dumps(loaded.report_data) == json.dumps(model.report_data)


@every_fusion
def test_weights_sum_to_one_and_are_zero_for_absent_streams(models: Any, table: Table, fusion: str) -> None:
    found = models[fusion].predictions(table, weights=True).weights
    if fusion != "attention":
        assert found == {}
        return
    assert list(found) == streams_of(models[fusion])
    total = np.sum(list(found.values()), axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    for stream in streams_of(models[fusion])[:-1]:
        absent = np.array([cell is None for cell in table.columns[stream]])
        assert absent.any()
        assert (found[stream][absent] == 0).all()
        assert (found[stream][~absent] > 0).any()


@every_fusion
def test_every_target_has_scores_beside_its_streams(models: Any, fusion: str) -> None:
    summary = models[fusion].summary()
    for name in targets_of(fusion):
        assert set(summary["streams"][name]) == set(streams_of(models[fusion])) == set(summary["missing"][name])
        assert "prior" in summary["baselines"][name]
        scores = [summary["targets"][name], *summary["streams"][name].values(), *summary["missing"][name].values()]
        assert all(isinstance(value, float) and np.isfinite(value) for found in scores for value in found.values())
