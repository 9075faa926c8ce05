"""Modality balancing, kinds of losses, sampling and mixup."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import polymodal
import tiny
from polymodal.config import TrainConfig
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.batches import epoch_batches
from polymodal.model.network import NetworkOutput
from polymodal.model.summary import run_notices
from polymodal.targets import CategoriesTarget, CategoryTarget, NumberTarget
from polymodal.training.losses import LossInputs, row_losses
from polymodal.training.modality_balance import _pareto, blending_weights, modulation_factors
from quick import quick

OPTIONS: dict[str, dict[str, Any]] = {
    "ogm_ge": {"train.balance": "ogm_ge"},
    "mmpareto": {"train.balance": "mmpareto"},
    "blending": {"train.balance": "blending", "train.epochs": 4},
    "focal": {"train.loss": "focal"},
    "logit_adjusted": {"train.loss": "logit_adjusted"},
    "balanced": {"train.sampling": "balanced"},
    "mixup": {"train.mixup": 0.3},
    "flip": {"train.flip": True},
}


@pytest.fixture(scope="module")
def few(table: Table) -> Table:
    """Three streams with absent cells."""
    return tiny.only(table, "photo", "note", "size", *tiny.TARGETS)


@pytest.fixture(scope="module")
def plain(few: Table) -> dict[int, polymodal.Model]:
    return {epochs: tiny.train(few, settings={"train.epochs": epochs}) for epochs in (1, 4)}


@pytest.mark.parametrize("option", quick(OPTIONS, "ogm_ge", "focal", "balanced", "mixup"))
def test_every_option_changes_the_weights_and_is_reproducible(
    few: Table, plain: dict[int, polymodal.Model], option: str
) -> None:
    first, second = (tiny.train(few, settings=OPTIONS[option]) for _ in range(2))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(second))
    usual = plain[OPTIONS[option].get("train.epochs", 1)]
    assert not tiny.same(tiny.weights_of(first), tiny.weights_of(usual))
    assert all(np.isfinite(values).all() for values in tiny.weights_of(first).values())


@pytest.mark.parametrize("option", quick(OPTIONS, "mmpareto", "balanced"))
def test_several_targets_and_absent_cells_are_fine(few: Table, option: str) -> None:
    model = tiny.train(few, tiny.TARGETS, settings=OPTIONS[option])
    assert set(model.summary()["targets"]) == set(tiny.TARGETS)


def spots(rows: int, right: bool | None, seed: int) -> dict[str, list[Any]]:
    """Pictures of a bright spot: whether it is high, whether it is right; ``right`` None means either."""
    random = np.random.default_rng(seed)
    places = [(int(random.integers(2)), int(random.integers(2)) if right is None else int(right)) for _ in range(rows)]
    pictures = random.integers(0, 60, (rows, 16, 16, 3)).astype(np.uint8)
    for picture, (high, side) in zip(pictures, places, strict=True):
        picture[8 * (1 - high) :, 8 * side :][:8, :8] = 250
    names = [("low", "high")[high] for high, _ in places], [("left", "right")[side] for _, side in places]
    return {"picture": list(pictures), "height": names[0], "side": names[1]}


@pytest.mark.parametrize(
    ("target", "right", "helps"),
    quick([("height", False, True), ("side", None, False)]),
)
def test_flips_are_chosen_by_validation(target: str, right: bool | None, helps: bool) -> None:
    """Flips help to recognise what is the same on both sides, and prevent telling the sides apart."""
    other = "side" if target == "height" else "height"
    settings = {"train.flip": "auto", "train.epochs": 40, "train.batch_size": 8, "train.augment": False}
    model = tiny.train(
        spots(64, right, 0), target, validation=spots(32, None, 1), test=False, drop=[other], settings=settings
    )
    assert model.report_data["config"]["train"]["flip"] is helps
    assert [notice.split(":")[0] for notice in run_notices(model.report_data)] == [
        f"Pictures are {'' if helps else 'not '}mirrored"
    ]


def test_flips_are_chosen_for_pictures_only(table: Table) -> None:
    with pytest.raises(ConfigError, match=r"train\.flip=auto"):
        tiny.train(tiny.only(table, "note", "kind"), settings={"train.flip": "auto"})


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({"train.balance": "ogm_ge"}, "weight"),
        ({"train.loss": "focal"}, "weight"),
        ({"train.loss": "logit_adjusted"}, "tags"),
        ({"train.sampling": "balanced"}, "weight"),
    ],
)
def test_an_option_that_cannot_work_is_one_sentence(table: Table, settings: dict[str, Any], target: str) -> None:
    with pytest.raises(ConfigError, match="must be"):
        tiny.train(table, target, settings=settings)


def test_one_stream_has_nothing_to_balance(table: Table) -> None:
    with pytest.raises(ConfigError, match="no fusion joins several streams"):
        tiny.train(tiny.only(table, "note", "kind"), settings={"train.balance": "mmpareto"})


def test_only_the_better_stream_has_a_factor_below_one() -> None:
    target = CategoryTarget.fit(["a", "b"])
    sure, unsure = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.zeros(2, 2)
    outputs = NetworkOutput({}, {"kind": {"x": sure, "y": unsure}}, None, {})
    truth = {"kind": (torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool))}
    loss_inputs = LossInputs(
        targets={"kind": target}, truth=truth, present=torch.ones(2, 2, dtype=torch.bool), settings=TrainConfig()
    )
    ahead, behind = modulation_factors(outputs, loss_inputs)
    assert ahead == pytest.approx(1 - np.tanh(0.3 * 2), abs=1e-3)
    assert behind == 1.0


def test_agreeing_gradients_are_added_and_conflicting_ones_increase_neither_loss() -> None:
    one, alike, against = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]), torch.tensor([-0.5, 1.0])
    assert torch.equal(_pareto([one], [alike])[0], torch.tensor([2.0, 1.0]))
    joined = _pareto([one], [against])[0]
    assert joined @ one > 0
    assert joined @ against > 0
    assert joined.norm() >= (one + against).norm() - 1e-6


def test_a_loss_that_generalises_weighs_more_than_one_that_overfits() -> None:
    history = [
        {"part_losses": {"train": [1.0, 1.0, 1.0], "validation": [1.0, 1.0, 1.0]}},
        {"part_losses": {"train": [0.4, 0.1, 0.5], "validation": [0.5, 0.9, 0.6]}},
    ]
    assert blending_weights(history[:1], 2) == [1.0, 1.0, 1.0]
    fused, overfitting, fine = blending_weights(history, 2)
    assert overfitting < fused
    assert overfitting < fine
    assert fused + overfitting + fine == pytest.approx(3)


def test_focal_loss_weights_hard_rows_more() -> None:
    target = CategoryTarget.fit(["a", "b"])
    logits, truth = torch.tensor([[4.0, 0.0], [0.0, 0.1]]), torch.tensor([0, 0])
    plain = functional.cross_entropy(logits, truth, reduction="none")
    focal = row_losses(target, logits, truth, TrainConfig(loss="focal", label_smoothing=0.0))
    right = logits.softmax(dim=1)[:, 0]
    torch.testing.assert_close(focal, (1 - right) ** 2 * plain)
    labels = CategoriesTarget.fit(["a|b", "b"])
    found = row_losses(labels, torch.zeros(2, 2), torch.ones(2, 2), TrainConfig(loss="focal"))
    assert found.shape == (2,)


def test_logit_adjustment_raises_the_loss_of_rare_classes() -> None:
    target = CategoryTarget.fit(["a"] * 9 + ["b"])
    found = row_losses(target, torch.zeros(2, 2), torch.tensor([0, 1]), TrainConfig(loss="logit_adjusted"))
    assert found[1] > found[0]
    number = NumberTarget.fit([0.0, 2.0])
    settings = TrainConfig(loss="logit_adjusted")
    assert torch.equal(
        row_losses(number, torch.ones(1, 1), torch.ones(1), settings), number.loss(torch.ones(1, 1), torch.ones(1), 0.0)
    )


def test_balanced_batches_hold_classes_equally_often() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    chances = np.where(labels == 0, 1 / 90, 1 / 10) / 2
    drawn = np.concatenate([batch for epoch in range(20) for batch in epoch_batches(100, 32, 0, epoch, chances)])
    assert labels[drawn].mean() == pytest.approx(0.5, abs=0.04)
