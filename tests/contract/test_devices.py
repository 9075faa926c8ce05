"""Whatever learns and answers, on another device than the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_encoders
import test_models
import test_pretrained
import torch

import polymodal
import polymodal.model.checkpoint
import polymodal.training.trainer
import tiny
from elsewhere import Elsewhere, elsewhere, noting_waits
from polymodal.data.tables.table import Table
from polymodal.progress import SilentProgress
from polymodal.targets import TARGETS, StructuredTarget
from polymodal.tokens import ColumnBatch
from polymodal.training.training_step import training_step
from quick import quick
from tiny_checkpoints import save_checkpoint

FEW = ("photo", "note", "size")
"""Columns of three streams; all eight learn in one way of training, and each encoder by itself."""
STRUCTURED = [kind for kind, entry in TARGETS.items() if issubclass(entry.target, StructuredTarget)]
WAYS: dict[str, dict[str, Any]] = {
    "mixup": {"settings": {"train.mixup": 0.3}},
    "focal": {"settings": {"train.loss": "focal"}},
    "logit_adjusted": {"settings": {"train.loss": "logit_adjusted"}, "target": "kind"},
    "balanced": {"settings": {"train.sampling": "balanced"}, "target": "kind"},
    "accumulate": {"settings": {"train.accumulate": 3}},
    "flip": {"settings": {"train.flip": True}},
    "pretrain": {"settings": {"train.pretrain_epochs": 1}},
    "ogm_ge": {"settings": {"train.balance": "ogm_ge"}, "target": "kind"},
    "mmpareto": {"settings": {"train.balance": "mmpareto"}},
    "blending": {"settings": {"train.balance": "blending", "train.epochs": 3}},
    "reconstruct": {"settings": {"reconstruct": True}, "features": tiny.FEATURES},
    "time limit": {"settings": {"train.time_limit_s": 60}, "target": "kind"},
    "baselines": {"settings": {"baselines": True}},
}


@pytest.fixture(autouse=True)
def quiet(recwarn: Any) -> None:
    """Torch warns that tensors without values are loaded; these have some."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny.write_table(tmp_path_factory.mktemp("cells"), rows=32)


def check(model: polymodal.Model, table: Table, folder: Path) -> None:
    """A model that was trained elsewhere is judged and predicts there, and the same on the CPU when it was saved."""
    assert all(isinstance(parameter, Elsewhere) for parameter in model.trained.network.parameters())
    assert model.evaluate(table)["rows"]
    found = model.predictions(table)
    model.save(folder / "model")
    again = polymodal.load(folder / "model").predictions(table)
    for name, values in found.values.items():
        np.testing.assert_allclose(again.values[name], values, rtol=1e-3, atol=1e-5)
    words = {name for name, cells in found.labels.items() if isinstance(cells[0], str)}
    assert {name: again.labels[name] for name in words} == {name: found.labels[name] for name in words}


@test_models.every_pair
def test_every_fusion_with_every_flat_target(fusion: str, kind: str, table: Table, tmp_path: Path) -> None:
    target = test_models.TARGET_OF_KIND[kind]
    given = tiny.only(table, *FEW, target)
    with elsewhere():
        check(tiny.train(given, target, fusion=fusion), given, tmp_path)


@pytest.mark.parametrize("kind", quick(STRUCTURED, "boxes"))
def test_every_structured_target(kind: str, tmp_path: Path) -> None:
    table = tiny.only(tiny.write_structured_table(tmp_path, kind, rows=32), *FEW, "sound", "answer")
    with elsewhere():
        check(tiny.train(table, "answer", modality={"answer": kind}), table, tmp_path)


@pytest.mark.parametrize("way", quick(WAYS, "mixup", "accumulate", "ogm_ge", "baselines"))
def test_every_way_of_training(way: str, table: Table, tmp_path: Path) -> None:
    options = dict(WAYS[way])
    target = options.pop("target", list(tiny.TARGETS))
    features = options.pop("features", FEW)
    given = tiny.only(table, *features, *([target] if isinstance(target, str) else target))
    with elsewhere():
        check(tiny.train(given, target, **options), given, tmp_path)


def test_distillation(table: Table, tmp_path: Path) -> None:
    given = tiny.only(table, *FEW, "kind")
    tiny.train(given, "kind", output=tmp_path / "teacher")
    with elsewhere():
        check(tiny.train(given, "kind", teacher=tmp_path / "teacher"), given, tmp_path)


def test_a_loaded_model_predicts_on_the_device(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tiny.only(table, *FEW, "kind")
    found = tiny.train(given, "kind", output=tmp_path).predictions(given)
    with elsewhere() as device:
        monkeypatch.setattr(polymodal.model.checkpoint, "choose_device", lambda _: device)
        check(polymodal.load(tmp_path), given, tmp_path)
        there = polymodal.load(tmp_path).predictions(given)
        np.testing.assert_allclose(there.values["kind"], found.values["kind"], rtol=1e-3, atol=1e-5)


def test_without_a_target(table: Table) -> None:
    given = tiny.only(table, "photo", "note")
    with elsewhere():
        model = tiny.train(given, [])
        assert np.isfinite(model.embed(given).streams["photo"]).all()


@test_encoders.every_encoder
def test_every_encoder(modality: str, name: str) -> None:
    with elsewhere() as device:
        encoder = test_encoders.build(modality, name).to(device).train()
        tokens = encoder(test_encoders.column(modality, name, rows=4).to(device))
        (tokens.values * torch.randn(tokens.values.shape).to(device)).sum().backward()
        assert isinstance(tokens.values, Elsewhere)
        assert isinstance(tokens.present, Elsewhere)
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@test_pretrained.every_case
def test_every_checkpoint(family: str, tuning: str, tmp_path: Path) -> None:
    with elsewhere() as device:
        checkpoint = {family: save_checkpoint(family, tmp_path / family)}
        encoder, cells = test_pretrained.build(family, tuning, checkpoint)
        encoder = encoder.to(device).train()
        if encoder.is_frozen:
            cells = replace(cells, outputs=encoder.precompute(cells, SilentProgress()))
        tokens = encoder(ColumnBatch.from_column(cells).to(device))
        tokens.pooled().sum().backward()
        assert isinstance(tokens.values, Elsewhere)
        learnt = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
        assert learnt
        assert all(isinstance(gradient, Elsewhere) for gradient in learnt)


def test_no_step_waits_for_the_device(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which rows are there is counted before they go there; only texts and point clouds are packed on the device."""
    waits: list[str] = []

    def step(*given: Any) -> None:
        with noting_waits(waits):
            training_step(*given)

    monkeypatch.setattr(polymodal.training.trainer, "training_step", step)
    streams = [name for name in tiny.FEATURES if name not in ("note", "cloud")]
    with elsewhere():
        tiny.train(tiny.only(table, *streams, *tiny.TARGETS), list(tiny.TARGETS))
        assert not waits
        tiny.train(tiny.only(table, "note", "kind"))
        assert waits
