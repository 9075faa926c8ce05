from __future__ import annotations

import torch

from polymodal.fusion import build_fusion
from polymodal.fusion.base import fill, join, pool
from polymodal.fusion.feature import softmax_present
from polymodal.tokens import Tokens


def test_filling_puts_the_missing_token_first_in_absent_rows_only() -> None:
    present = torch.tensor([[True, False], [False, False]])
    filled = fill(
        Tokens(torch.full((2, 2, 3), torch.nan).index_fill(1, torch.tensor(0), 1.0), present), torch.arange(3.0)
    )
    assert filled.present.tolist() == [[True, False], [True, False]]
    assert filled.values.tolist() == [[[1.0] * 3, [0.0] * 3], [[0.0, 1.0, 2.0], [0.0] * 3]]


def test_joining_keeps_the_streams_order() -> None:
    ones, twos = (Tokens(torch.full((1, 2, 3), value), torch.ones(1, 2, dtype=torch.bool)) for value in (1.0, 2.0))
    assert join([ones, twos]).values[0, :, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert pool([ones, twos])[0, :, 0].tolist() == [1.0, 2.0]


def test_softmax_over_what_is_there() -> None:
    weights = softmax_present(torch.tensor([[0.0, 0.0, 9.0], [1.0, 2.0, 3.0]]), torch.tensor([[True, True, False]] * 2))
    assert weights[0].tolist() == [0.5, 0.5, 0.0]
    assert weights[1, 2] == 0


def test_a_fusion_learns_to_lean_on_the_stream_that_is_there() -> None:
    torch.manual_seed(0)
    fusion = build_fusion("attention", ["a", "b"], 8, {"dropout": 0.0})
    assert fusion is not None
    head = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    truth = torch.randint(0, 2, (64,)).float()
    signal = (truth * 2 - 1).reshape(-1, 1, 1) * torch.ones(8)
    absent = torch.rand(64, 2) < 0.4
    absent[:, 1] &= ~absent[:, 0]
    streams = {
        name: Tokens(signal + torch.randn(64, 1, 8), ~absent[:, index : index + 1]) for index, name in enumerate("ab")
    }
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(fusion(streams).pooled).squeeze(1), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((head(fusion(streams).pooled).squeeze(1) > 0) == (truth > 0)).float().mean() > 0.95
