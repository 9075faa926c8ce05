"""The trainer: seeds, learning rates, the best epochs, early stopping and time limits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import polymodal
import polymodal.training.trainer
import tiny
from polymodal.config import TrainConfig
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.batches import epoch_batches
from polymodal.model.build import EPOCHS, resolve_training
from polymodal.model.network import Network
from polymodal.targets import RowContext, fit_target
from polymodal.targets.transcript import MIN_STEPS
from polymodal.training.lr_schedule import lr_factor
from polymodal.training.optimizers import parameter_groups
from polymodal.training.trainer import average_weights, snapshot
from polymodal.training.validation import Validation, validate


@pytest.fixture(scope="module")
def model(table: Table) -> polymodal.Model:
    return tiny.train(table, seed=4)


def test_the_same_seed_gives_the_same_model_and_metrics_whatever_was_trained_before(
    table: Table, model: polymodal.Model
) -> None:
    torch.rand(7)
    tiny.train(tiny.numbers_table(), seed=1)
    again = tiny.train(table, seed=4)
    assert tiny.same(tiny.weights_of(again), tiny.weights_of(model))
    assert tiny.scores_of(again) == tiny.scores_of(model)


@pytest.mark.exhaustive
def test_another_seed_gives_other_weights(table: Table, model: polymodal.Model) -> None:
    other = tiny.weights_of(tiny.train(table, seed=5))
    assert not any((other[name] == values).all() for name, values in tiny.weights_of(model).items() if values.ndim > 1)


def test_test_rows_never_influence_the_weights(table: Table) -> None:
    data, labels = tiny.numbers_table(60), tiny.numbers_table(20, seed=1)
    test = labels | {"size": [9.0] * 20, "colour": ["green"] * 20}
    first, second = (tiny.train(data, test=rows) for rows in (labels, test))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(second))


def test_absent_values_never_influence_the_weights(table: Table) -> None:
    """A cell that cannot be decoded trains like an absent one."""
    hole = tiny.with_cell(tiny.with_cell(table, "photo", 3, None), "size", 9, None)
    broken = tiny.with_cell(tiny.with_cell(table, "photo", 3, "photos/none.png"), "size", 9, "large")
    first, second = (tiny.train(rows, settings={"train.epochs": 1}) for rows in (hole, broken))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(second))
    assert tiny.scores_of(first) == tiny.scores_of(second)


def test_every_epoch_is_in_the_history(model: polymodal.Model) -> None:
    (entry,) = model.report_data["history"]
    assert entry["epoch"] == 1
    assert set(entry["stream_scores"]["kind"]) == set(tiny.STREAMS)
    assert entry["validation_score"]["kind"] >= 0
    assert entry["train_loss"] > 0
    assert entry["evaluated_train_loss"] > 0


def test_losses_decrease() -> None:
    history = tiny.train(tiny.numbers_table(), settings={"train.epochs": 8}).report_data["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    assert history[-1]["learning_rate"] < max(entry["learning_rate"] for entry in history)


def test_training_stops_when_patience_ends() -> None:
    data = tiny.numbers_table() | {"kind": ["cat", "dog", "dog", "cat", "cat", "dog"] * 10}
    found = tiny.train(data, settings={"train.epochs": 60, "train.patience": 2, "train.learning_rate": 0.03})
    assert found.report_data["best_epoch"] + 2 == len(found.report_data["history"]) < 60


def test_training_stops_when_its_time_ends() -> None:
    found = tiny.train(tiny.numbers_table(), time_limit=1e-6, settings={"train.epochs": 50})
    assert len(found.report_data["history"]) == 1
    assert found.predict(tiny.numbers_table())["kind"]


def test_the_learning_rate_warms_up_and_decays_to_almost_zero() -> None:
    rates = [lr_factor(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert all(first >= second for first, second in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.02
    assert lr_factor(0, 1, 0.0) == 1.0


def test_batches_hold_every_row_once_and_change_with_the_epoch() -> None:
    first, second = (list(epoch_batches(10, 4, 0, epoch)) for epoch in (0, 1))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(int(row) for batch in first for row in batch) == list(range(10))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in epoch_batches(10, 4, 0, 0)]


def test_only_matrices_have_weight_decay_and_every_parameter_is_trained(model: polymodal.Model) -> None:
    network = model.trained.network
    groups = parameter_groups(network, TrainConfig(weight_decay=0.3, learning_rate=2e-3))
    assert all(p.ndim >= 2 for group in groups for p in group["params"] if group["weight_decay"] > 0)
    assert {group["peak_lr"] for group in groups} == {2e-3}
    trained = [id(p) for group in groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_the_average_is_the_mean_of_the_weights() -> None:
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    first.register_buffer("count", torch.tensor(3))
    second.register_buffer("count", torch.tensor(5))
    mean = average_weights([snapshot(first), snapshot(second)])
    torch.testing.assert_close(mean["weight"], (first.weight + second.weight).detach() / 2)
    assert mean["count"] == 3


@pytest.mark.parametrize("rows", [10, 1000, 50_000, 10_000_000])
def test_epochs_and_batches_follow_the_number_of_rows(rows: int) -> None:
    found = resolve_training(TrainConfig(), "balanced", rows)
    assert EPOCHS[0] <= (found.epochs or 0) <= EPOCHS[1]
    assert found.batch_size in (32, 64, 128)
    fast, best = (resolve_training(TrainConfig(), preset, rows).epochs for preset in ("fast", "best"))
    assert fast < found.epochs < best
    assert resolve_training(TrainConfig(epochs=3, batch_size=5), "best", rows).epochs == 3


def test_a_target_that_needs_many_steps_gets_them_however_few_the_rows() -> None:
    target = fit_target("transcript", ["one two", "two"], RowContext(), {})
    for rows in (20, 300, 644):
        found = resolve_training(TrainConfig(), "balanced", rows, [target])
        steps = (found.epochs or 0) * math.ceil(rows / (found.batch_size or 1))
        assert MIN_STEPS <= steps <= 2 * MIN_STEPS
    assert resolve_training(TrainConfig(), "balanced", 100_000, [target]) == resolve_training(
        TrainConfig(), "balanced", 100_000
    )
    assert resolve_training(TrainConfig(epochs=2, batch_size=4), "best", 20, [target]).epochs == 2


@pytest.mark.parametrize("rows", [7, 17])
def test_very_small_tables_and_last_batches_of_one_row_train(rows: int) -> None:
    data = tiny.numbers_table(rows)
    validation: Any = tiny.numbers_table(12, seed=1)
    found = tiny.train(data, validation=validation, test=False, settings={"train.batch_size": 4})
    assert len(found.predict(data)["kind"]) == rows


def test_training_that_diverges_at_once_says_so_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"diverged in its first epoch.*train\.learning_rate, which is 1e\+30"):
        tiny.train(tiny.numbers_table(), settings={"train.learning_rate": 1e30, "train.clip_norm": 1e30})


def test_training_that_diverges_later_keeps_the_epochs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_nan_weights(network: Network, *rest: Any) -> Validation:
        calls.append(1)
        if len(calls) == 3:
            for parameter in network.parameters():
                parameter.data.fill_(math.nan)
        return validate(network, *rest)

    calls: list[int] = []
    settings = {"train.epochs": 4, "train.patience": 9}
    before = tiny.train(tiny.numbers_table(), settings=settings)
    monkeypatch.setattr(polymodal.training.trainer, "validate", with_nan_weights)
    model = tiny.train(tiny.numbers_table(), settings=settings)
    losses, wanted = ([epoch["validation_loss"] for epoch in m.report_data["history"]] for m in (model, before))
    assert losses == wanted[:2]
    assert any("ended in epoch 3, where it diverged" in notice for notice in model.report_data["notices"])
    assert np.isfinite(model.predict_proba(tiny.numbers_table(5))["kind"][1]).all()
