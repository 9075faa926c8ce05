from __future__ import annotations

import pytest
import torch

import tiny
from polymodal.errors import ConfigError
from polymodal.fusion import EvidentialFusion
from polymodal.fusion.decision import combine_opinions, opinion_of


def test_two_opinions_combine_as_dempster_says() -> None:
    belief, doubt = combine_opinions(
        (torch.tensor([[0.6, 0.2]]), torch.tensor([[0.2]])), (torch.tensor([[0.5, 0.0]]), torch.tensor([[0.5]]))
    )
    conflict = 0.2 * 0.5
    torch.testing.assert_close(belief, torch.tensor([[0.6 * 0.5 + 0.6 * 0.5 + 0.5 * 0.2, 0.2 * 0.5]]) / (1 - conflict))
    torch.testing.assert_close(doubt, torch.tensor([[0.2 * 0.5]]) / (1 - conflict))
    torch.testing.assert_close(belief.sum() + doubt.sum(), torch.tensor(1.0))


def test_an_absent_stream_leaves_the_opinion_of_the_others() -> None:
    fusion = EvidentialFusion()
    outputs = [torch.randn(3, 4), torch.full((3, 4), torch.nan)]
    present = torch.tensor([[True, False]]).expand(3, 2)
    first = fusion.opinions(outputs[0])
    torch.testing.assert_close(fusion([first, fusion.opinions(outputs[1])], present), first)


def test_nothing_present_is_no_evidence_at_all() -> None:
    combined = EvidentialFusion()([torch.full((2, 3), 5.0)] * 2, torch.zeros(2, 2, dtype=torch.bool))
    assert combined.abs().max() < 1e-6


def test_agreement_is_surer_than_each_stream() -> None:
    fusion = EvidentialFusion()
    opinion = fusion.opinions(torch.tensor([[3.0, -2.0, -2.0]]))
    together = fusion([opinion, opinion], torch.ones(1, 2, dtype=torch.bool))
    alone, both = (opinion_of(found.expm1())[1].item() for found in (opinion, together))
    assert both < alone
    assert together.softmax(dim=1)[0, 0] > opinion.softmax(dim=1)[0, 0]


def test_much_evidence_of_many_streams_stays_finite() -> None:
    opinion = torch.log1p(torch.tensor([[1e4, 0.0, 1e4]], requires_grad=True))
    combined = EvidentialFusion()([opinion] * 12, torch.ones(1, 12, dtype=torch.bool))
    assert combined.isfinite().all()


def test_other_targets_are_refused_with_what_to_choose_instead() -> None:
    table = tiny.numbers_table()
    with pytest.raises(ConfigError, match=r"'evidential' predicts .*category only.*'size' .*'number'.*'stacking'"):
        tiny.train(table, target=["kind", "size"], fusion="evidential")


def test_it_learns_and_its_fused_score_is_reported() -> None:
    settings = {"train.epochs": 12, "train.learning_rate": 0.01}
    streams = {"measures": ["size", "age"], "look": ["colour"]}
    model = tiny.train(tiny.numbers_table(200), fusion="evidential", stream=streams, settings=settings)
    summary = model.summary()
    assert summary["fusion"]["kind"]["accuracy"] > 0.85
    assert "fusion" in summary["decision"]["kind"]["weights"]
