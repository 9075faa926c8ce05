"""Training steps with gradient accumulation, and batches that do not fit into memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.network import Network
from polymodal.training.gradient_accumulation import (
    PEAK_FACTOR,
    USABLE_FRACTION,
    available_memory_bytes,
    saved_activation_bytes,
)

TRAINER = "polymodal.training.trainer"
PLAIN = {"train.epochs": 3, "train.precision": "float32", "train.batch_size": 24}


@pytest.fixture(autouse=True)
def without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is sampled for each micro-batch; everything else for the full batch."""
    monkeypatch.setattr("torch.nn.Dropout.forward", lambda _, x: x)
    monkeypatch.setattr("polymodal.nn.layers.Dropout.forward", lambda _, x: x)


def history_of(table: Any, accumulation_steps: int | None, **settings: Any) -> list[dict[str, Any]]:
    targets = tiny.TARGETS if isinstance(table, Table) else "kind"
    model = tiny.train(table, targets, settings=PLAIN | {"train.accumulate": accumulation_steps} | settings)
    history: list[dict[str, Any]] = model.report_data["history"]
    return history


@pytest.mark.parametrize("accumulation_steps", [2, 5])
def test_micro_batches_give_the_gradient_of_the_full_batch(table: Table, accumulation_steps: int) -> None:
    """Some cells and truths are missing, so that micro-batches have unequal numbers of rows in each loss."""
    holed = tiny.with_cells(
        table, weight=[None if row % 3 else cell for row, cell in enumerate(table.columns["weight"])]
    )
    small = tiny.only(holed, "note", "size", "colour", "code", *tiny.TARGETS)
    whole, cut = history_of(small, 1), history_of(small, accumulation_steps)
    for first, second in zip(whole, cut, strict=True):
        assert second["train_loss"] == pytest.approx(first["train_loss"], abs=1e-4)
        assert second["validation_loss"] == pytest.approx(first["validation_loss"], abs=1e-3)
        assert second["part_losses"]["train"] == pytest.approx(first["part_losses"]["train"], abs=1e-4)


def limited(monkeypatch: pytest.MonkeyPatch, max_rows: int) -> list[int]:
    """Make a network raise an out-of-memory error above a number of rows; return the batch sizes of its calls."""
    sizes, forward = [], Network.forward

    def out_of_memory(self: Network, batch: Any, *rest: Any, **named: Any) -> Any:
        rows = len(next(iter(batch.values())))
        if self.training:
            sizes.append(rows)
            if rows > max_rows:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, batch, *rest, **named)

    monkeypatch.setattr(Network, "forward", out_of_memory)
    return sizes


def test_a_batch_that_does_not_fit_is_split_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = history_of(tiny.numbers_table(), None)
    sizes = limited(monkeypatch, 7)
    cut = history_of(tiny.numbers_table(), None)
    assert sizes[:4] == [4, 24, 12, 6]  # the measurement of memory, then the batch
    assert max(sizes[4:]) <= 7
    assert [entry["validation_loss"] for entry in cut] == pytest.approx(
        [entry["validation_loss"] for entry in whole], abs=1e-3
    )


def test_a_batch_that_would_not_fit_is_split_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = history_of(tiny.numbers_table(), None)
    row_bytes: list[float] = []
    monkeypatch.setattr(f"{TRAINER}.accumulation_steps_that_fit", lambda size, *_: row_bytes.append(size) or 2)
    history_of(tiny.numbers_table(), None)
    monkeypatch.undo()
    monkeypatch.setattr(
        f"{TRAINER}.available_memory_bytes",
        lambda: int(PEAK_FACTOR * row_bytes[-1] * 24 / USABLE_FRACTION / 2.5),
    )
    model = tiny.train(tiny.numbers_table(), "kind", settings=PLAIN | {"train.accumulate": None})
    assert any("in 4 micro-batches" in notice for notice in model.report_data["notices"])
    assert [entry["validation_loss"] for entry in model.report_data["history"]] == pytest.approx(
        [entry["validation_loss"] for entry in whole], abs=0.05
    )


def test_each_saved_activation_is_counted_once() -> None:
    weight = torch.ones(100, 100, requires_grad=True)
    x = torch.ones(50, 100)
    with saved_activation_bytes() as found:
        (x @ weight).relu().exp().sum()
    assert sum(found) == 4 * (50 * 100 + 2 * 50 * 100)  # x, and what relu and exp give; the weight needs no x.grad


def test_available_memory_is_known_here() -> None:
    free = available_memory_bytes()
    assert free is None or 2**20 < free < 2**50


def test_one_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0)
    with pytest.raises(torch.OutOfMemoryError):
        history_of(tiny.numbers_table(), None)


def test_requested_accumulation_steps_are_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 3)
    with pytest.raises(torch.OutOfMemoryError):
        history_of(tiny.numbers_table(), 2)


def test_balancing_methods_that_need_the_full_gradient_refuse_micro_batches(table: Table) -> None:
    small = tiny.only(table, "note", "size", "kind")
    with pytest.raises(ConfigError, match=r"'balance' parameter of training with micro-batches or several processes"):
        polymodal.fit(small, target="kind", settings=tiny.QUICK | {"train.accumulate": 2, "train.balance": "mmpareto"})
