"""The penalty on being surer without a stream than with it."""

from __future__ import annotations

import pytest
import torch

import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.training.confidence_penalty import confidence_penalty, hide_one_more


def test_one_more_stream_is_hidden_where_two_or_more_are_left() -> None:
    torch.manual_seed(0)
    present = torch.rand(5_000, 3) < 0.7
    hidden = present & (torch.rand(5_000, 3) < 0.3)
    fewer = hide_one_more(present, hidden)
    left, then = (present & ~hidden).sum(dim=1), (present & ~fewer).sum(dim=1)
    assert (then == torch.where(left >= 2, left - 1, left)).all()
    assert not (hidden & ~fewer).any()
    share = (fewer & ~hidden)[present.all(dim=1) & ~hidden.any(dim=1)].float().mean(dim=0)
    assert (share - 1 / 3).abs().max() < 0.05


def test_only_a_confidence_that_rises_costs() -> None:
    more = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    fewer = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 0.0]])
    penalty = confidence_penalty(more, fewer, torch.tensor([True, True, False]))
    rise = fewer[1].softmax(0)[0] - 0.5
    torch.testing.assert_close(penalty, rise / 2)
    assert confidence_penalty(more, fewer, torch.zeros(3, dtype=torch.bool)) == 0.0


@pytest.mark.exhaustive
def test_a_heavy_penalty_makes_the_network_less_sure_without_a_stream(table: Table) -> None:
    def mean_rise(weight: float) -> float:
        settings = {"train.epochs": 8, "train.confidence_penalty": weight}
        trained = tiny.train(tiny.only(table, "note", "size", "colour", "kind"), settings=settings).trained
        columns, _ = trained.preprocessor.transform(table)
        full, *without = trained.network.run(columns, [frozenset(), frozenset({"note"}), frozenset({"tabular"})])
        more, *fewer = (torch.from_numpy(found.fused["kind"]).softmax(1).amax(1) for found in (full, *without))
        return float(sum((less - more).clamp(min=0).mean() for less in fewer))

    assert mean_rise(30.0) < mean_rise(0.0)


@pytest.mark.parametrize(
    ("target", "options"), [("kind", {"fusion": "vote"}), ("kind", {"fusion": "evidential"}), ("weight", {})]
)
def test_what_cannot_work_is_refused(table: Table, target: str, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="confidence_penalty"):
        tiny.train(
            tiny.only(table, "note", "size", target), target, settings={"train.confidence_penalty": 1.0}, **options
        )


def test_without_the_penalty_nothing_changes(table: Table) -> None:
    columns = tiny.only(table, "note", "size", "kind")
    plain, zero = (tiny.train(columns, settings=extra) for extra in ({}, {"train.confidence_penalty": 0.0}))
    assert tiny.same(tiny.weights_of(plain), tiny.weights_of(zero))
