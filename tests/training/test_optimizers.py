"""Optimizers and schedules that can be chosen, and rows weighted by the frequency of their class."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from polymodal.config import TrainConfig
from polymodal.errors import ConfigError, PolymodalError
from polymodal.model.build import resolve_training
from polymodal.model.network import Network
from polymodal.runs import run
from polymodal.targets import CategoryTarget
from polymodal.training.losses import row_losses
from polymodal.training.lr_schedule import SCHEDULES, lr_factor
from polymodal.training.optimizers import OPTIMIZERS, build_optimizer, parameter_groups
from polymodal.training.state import TrainingState
from polymodal.training.strategy import Strategy
from polymodal.training.training_checkpoint import load_checkpoint, save_checkpoint

KIND = CategoryTarget.fit(["a"] * 9 + ["b"])
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def network_of() -> Network:
    torch.manual_seed(0)
    return Network({"x": nn.Sequential(nn.Linear(3, 4), nn.Embedding(3, 4))}, None, {"kind": KIND}, 4)


def strategy_of(name: str) -> Strategy:
    network = network_of()
    groups = parameter_groups(network, TrainConfig(optimizer=name, learning_rate=0.01))
    return Strategy(network=network, optimizer=build_optimizer(name, groups, 0.01), device=torch.device("cpu"))


def step(strategy: Strategy) -> None:
    strategy.zero_grad()
    sum(parameter.square().sum() + parameter.sum() for parameter in strategy.network.parameters()).backward()
    strategy.optimizer_step(1.0)


@every_optimizer
def test_an_interrupted_run_goes_on_with_the_state_of_its_optimizer(name: str, tmp_path: Path) -> None:
    whole, saved, resumed = strategy_of(name), strategy_of(name), strategy_of(name)
    for _ in range(3):
        step(whole)
    step(saved)
    save_checkpoint(tmp_path / "state", saved, TrainingState(width=4))
    load_checkpoint(tmp_path / "state", resumed, TrainingState(width=4))
    for _ in range(2):
        step(resumed)
    for expected, found in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


@every_optimizer
def test_a_run_learns_with_a_rate_that_fits_the_optimizer(name: str) -> None:
    settings = {"train.optimizer": name, "train.epochs": 6}
    history = tiny.train(tiny.numbers_table(), settings=settings).report_data["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_muon_updates_hidden_matrices_and_adamw_all_else() -> None:
    found = {name: network_of() for name in ("muon", "adamw")}
    for name, network in found.items():
        groups = parameter_groups(network, TrainConfig(optimizer=name))
        step(Strategy(network=network, optimizer=build_optimizer(name, groups, 1e-3), device=torch.device("cpu")))
    pairs = zip(found["muon"].named_parameters(), found["adamw"].parameters(), strict=True)
    assert [name for (name, own), other in pairs if not torch.equal(own, other)] == ["own_encoders.0.0.weight"]


def test_muon_leaves_frozen_weights_as_they_are() -> None:
    network = network_of()
    network.own_encoders.requires_grad_(False)
    before = [parameter.clone() for parameter in network.own_encoders.parameters()]
    groups = parameter_groups(network, TrainConfig(optimizer="muon"))
    step(Strategy(network=network, optimizer=build_optimizer("muon", groups, 1e-3), device=torch.device("cpu")))
    for expected, found in zip(before, network.own_encoders.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"train.optimizer": "lion"}, r"pip install 'polymodal\[lion\]'"),
        ({"train.optimizer": "muon", "train.shard": True}, "Leave out train.shard"),
    ],
)
def test_what_an_optimizer_lacks_is_said_before_cells_are_read(
    settings: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lion_pytorch", None)
    monkeypatch.setattr(run, "build_data_module", None)
    with pytest.raises(PolymodalError, match=sentence):
        tiny.train(tiny.numbers_table(), settings=settings)


def test_a_rate_that_is_given_is_kept() -> None:
    given = TrainConfig(optimizer="sgd", learning_rate=0.2)
    assert resolve_training(given, "fast", 100).learning_rate == 0.2
    names = ("adamw", "sgd", "lion", "muon")
    adamw, sgd, lion, muon = (
        resolve_training(TrainConfig(optimizer=name), "fast", 100).learning_rate for name in names
    )
    assert adamw == muon == 1e-3
    assert sgd > adamw
    assert adamw / 10 <= lion <= adamw / 3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_warms_up_and_never_rises_again(schedule: str) -> None:
    rates = [lr_factor(step, 100, 0.1, schedule) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert all(first >= second > 0 for first, second in itertools.pairwise(rates[10:]))
    ends = {"cosine": 0.02, "linear": 0.03, "inverse_sqrt": 0.33, "constant": 1.0}
    assert rates[-1] <= ends[schedule]
    assert rates[-1] >= ends[schedule] / 3


def test_rare_classes_weigh_more_and_all_classes_the_same_together() -> None:
    truth = torch.tensor([0] * 9 + [1])
    output = torch.zeros(10, 2)
    plain = row_losses(KIND, output, truth, TrainConfig(label_smoothing=0.0))
    weighted = row_losses(KIND, output, truth, TrainConfig(label_smoothing=0.0, loss="class_weighted"))
    torch.testing.assert_close(weighted[:9].sum(), weighted[9:].sum())
    torch.testing.assert_close(weighted.mean(), plain.mean())


def test_labels_follow_the_weights_and_probabilities_the_table() -> None:
    table = tiny.numbers_table(90)
    settings = {"train.loss": "class_weighted", "train.epochs": 2}
    found = tiny.train(table, settings=settings)
    assert any("train.loss=class_weighted" in notice for notice in found.report_data["notices"])
    assert found.trained.targets["kind"].label_weights is not None


def test_weights_of_classes_need_classes() -> None:
    with pytest.raises(ConfigError, match="class_weighted"):
        tiny.train(tiny.numbers_table(), "age", settings={"train.loss": "class_weighted"})
