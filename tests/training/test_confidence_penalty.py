"""The penalty on being surer without a stream than with it."""

from __future__ import annotations

import pytest
import torch

import polymodal
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


def test_a_heavy_penalty_lowers_how_often_confidence_rises(table: Table) -> None:
    def rises(weight: float) -> float:
        settings = {"train.epochs": 6, "train.confidence_penalty": weight}
        model = tiny.train(tiny.only(table, "note", "tabular" if "tabular" in table.columns else "size", "kind"),
                           settings=settings, seed=1)  # fmt: skip
        streams = model.report_data["evaluation"]["certainty"]["kind"]["streams"].values()
        return sum(entry["confidence_rises"]["mean_change"] for entry in streams)

    assert rises(20.0) <= rises(0.0)


@pytest.mark.parametrize(
    ("target", "options"), [("kind", {"fusion": "none"}), ("kind", {"fusion": "evidential"}), ("weight", {})]
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
    assert isinstance(plain, polymodal.Model)
