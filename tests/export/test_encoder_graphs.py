"""Every encoder as an ONNX graph that ONNX Runtime runs, and as a program of ``torch.export``."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pretrained_examples
from encoder_examples import CASES, WIDTH, build, column, fitted
from polymodal.arrays import Column
from polymodal.bundle.graph_info import GraphInfo
from polymodal.encoders import PRETRAINED, build_encoder
from polymodal.export.encoder_graph import EncoderGraph, encoder_inputs, export_encoder, trace_encoder
from polymodal.tokens import ColumnBatch
from products import unless
from tiny_checkpoints import RECIPES, save_checkpoint

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
QUICK = [("tabular", "mlp"), ("text", "cnn")]
"""Encoders that ``make test`` exports too."""
QUICK_PROGRAMS = [("text", "bag")]
WITH_DETAIL = [case for case in CASES if case[0] in ("image", "audio") and case[1] != "vit" and "+" not in case[1]]
PRETRAINED_CASES = [(family, tuning) for family, ways in pretrained_examples.WAYS.items() for tuning in ways]
LONGER = 4
"""How many times as many steps a graph is tried with as its batches otherwise have."""


def cases(names: str, choices: list[tuple[str, str]], quick: list[tuple[str, str]]) -> Any:
    params = [pytest.param(*case, id="-".join(case), marks=unless(case in quick)) for case in choices]
    return pytest.mark.parametrize(names, params)


def as_column(batch: ColumnBatch) -> Column:
    lengths = None if batch.lengths is None else batch.lengths.numpy()
    return Column(batch.values.numpy(), batch.present.numpy(), lengths)


def other_batches(batch: ColumnBatch, can_grow: bool) -> Iterator[ColumnBatch]:
    """Yield the rows of a batch in other numbers and, where they are ragged, in many lengths."""
    for num_rows in (1, 2, len(batch)):
        rows = batch.take(torch.arange(num_rows))
        yield rows
        if rows.lengths is None:
            continue
        steps = rows.values.shape[1]
        yield with_lengths(rows, torch.full((num_rows,), steps))
        yield with_lengths(rows, torch.ones(num_rows, dtype=torch.int64))
        yield with_lengths(rows, torch.arange(num_rows - 1, -1, -1))
        for fewer in (1, 2, 7):
            yield with_lengths(ColumnBatch(rows.values[:, :fewer].contiguous(), rows.present), rows.lengths)
        if can_grow:
            longer = torch.cat([rows.values] * LONGER, dim=1)
            yield with_lengths(ColumnBatch(longer, rows.present), rows.lengths * LONGER - 1)


def with_lengths(batch: ColumnBatch, lengths: Tensor) -> ColumnBatch:
    return ColumnBatch(batch.values, batch.present, lengths.clamp(max=batch.values.shape[1]))


def differences(run: Any, encoder: nn.Module, batch: ColumnBatch, can_grow: bool) -> dict[str, float]:
    """Return the largest difference of each output's values; shapes, dtypes and masks must be the same."""
    found: dict[str, float] = {}
    graph = EncoderGraph(encoder)
    for other in other_batches(batch, can_grow):
        with torch.no_grad():
            expected = graph(**encoder_inputs(other))
        for index, (value, truth) in enumerate(zip(run(encoder_inputs(other)), expected, strict=True)):
            assert value.shape == truth.numpy().shape
            assert value.dtype == truth.numpy().dtype
            most = np.abs(value.astype(np.float64) - truth.numpy()).max(initial=0.0)
            found[str(index)] = max(found.get(str(index), 0.0), float(most))
    return found


def exported(encoder: nn.Module, batch: ColumnBatch, path: Path) -> tuple[Any, GraphInfo]:
    """Export an encoder with cells of which only dtype and shape are those of the batch; return a function."""
    info = export_encoder(encoder, as_column(batch.take(torch.arange(0))), path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == [one.name for one in info.inputs]
    assert tuple(one.name for one in session.get_outputs()) == info.outputs
    return lambda inputs: session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()}), info


@cases("modality,name", CASES, QUICK)
def test_a_graph_gives_the_same_tokens(modality: str, name: str, tmp_path: Path) -> None:
    encoder, batch = build(modality, name).eval(), column(modality, name, rows=5)
    run, info = exported(encoder, batch, tmp_path / "encoder.onnx")
    assert info.outputs == ("tokens", "token_present")
    assert info.inputs[0].dtype == str(batch.values.numpy().dtype)
    assert info.inputs[0].shape[0] == "rows"
    assert (info.inputs[0].shape[1] == "steps") == (batch.lengths is not None)
    assert info.num_bytes == (tmp_path / "encoder.onnx").stat().st_size
    assert max(differences(run, encoder, batch, modality != "text").values()) < 2e-5
    assert GraphInfo.model_validate_json(info.model_dump_json()) == info
    assert b".py" not in (tmp_path / "encoder.onnx").read_bytes()  # no trace of the code that it was made from


@cases("modality,name", WITH_DETAIL, [("image", "cnn")])
def test_a_graph_gives_the_same_detail(modality: str, name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(modality, name, fitted(modality, name), WIDTH, {"detail": True}).eval()
    batch = column(modality, name, rows=5)
    run, info = exported(encoder, batch, tmp_path / "encoder.onnx")
    assert info.outputs == ("tokens", "token_present", "detail", "detail_present")
    assert info.detail_shape == encoder(batch).detail.shape
    assert max(differences(run, encoder, batch, True).values()) < 5e-5


@cases("modality,name", [case for case in WITH_DETAIL if case[0] == "audio"], [("audio", "cnn")])
@pytest.mark.exhaustive
def test_a_graph_splits_long_clips_into_segments(modality: str, name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    steps = 2048 if name == "waveform" else 16
    long = replace(fitted(modality, name), segment_steps=steps, max_segments=9, num_segments=3)
    encoder = build_encoder(modality, name, long, WIDTH, {"detail": True}).eval()
    nn.init.normal_(encoder.attention.score.weight)
    batch = column(modality, name, rows=5)
    run, _ = exported(encoder, batch, tmp_path / "encoder.onnx")
    for other in other_batches(batch, True):
        with torch.no_grad():
            expected = EncoderGraph(encoder)(**encoder_inputs(other))
        values, present, detail, detail_present = run(encoder_inputs(other))
        assert (present == expected[1].numpy()).all()
        assert (detail_present == expected[3].numpy()).all()
        np.testing.assert_allclose(values[present], expected[0].numpy()[present], atol=5e-5)
        np.testing.assert_allclose(detail[detail_present], expected[2].numpy()[detail_present], atol=5e-5)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("family", "tuning"), PRETRAINED_CASES, ids=["-".join(case) for case in PRETRAINED_CASES])
def test_a_graph_of_a_checkpoint_gives_the_same_tokens(family: str, tuning: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    encoder, cells = pretrained_examples.build(family, tuning, {family: save_checkpoint(family, tmp_path / family)})
    for parameter in getattr(encoder, "adapters", nn.Module()).parameters():
        nn.init.normal_(parameter, std=0.1)
    batch = ColumnBatch.from_column(cells.take(np.flatnonzero(cells.present)))
    run, _ = exported(encoder.eval(), batch, tmp_path / "encoder.onnx")
    assert max(differences(run, encoder, batch, True).values()) < 2e-5


@pytest.mark.exhaustive
@pytest.mark.parametrize("modality", list(PRETRAINED))
def test_a_frozen_checkpoint_keeps_its_dtype_and_the_state_its_keys(modality: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    family = next(name for name, recipe in RECIPES.items() if recipe.modality == modality)
    encoder, cells = pretrained_examples.build(family, "frozen", {family: save_checkpoint(family, tmp_path / family)})
    batch = ColumnBatch.from_column(cells)
    before, keys = encoder.eval()(batch).values, list(encoder.state_dict())
    export_encoder(encoder, cells, tmp_path / "encoder.onnx")
    assert torch.equal(encoder(batch).values, before)
    assert list(encoder.state_dict()) == keys


@cases("modality,name", CASES, QUICK_PROGRAMS)
def test_a_program_of_torch_gives_the_same_tokens(modality: str, name: str) -> None:
    encoder, batch = build(modality, name).eval(), column(modality, name, rows=5)
    program, file = trace_encoder(encoder, as_column(batch)), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # weights that are views of one tensor
        torch.export.save(program, file)
    file.seek(0)
    module = torch.export.load(file).module(check_guards=False)

    def run(inputs: dict[str, Tensor]) -> list[Any]:
        return [output.detach().numpy() for output in module(**inputs)]

    assert max(differences(run, encoder, batch, modality != "text").values()) < 2e-5
