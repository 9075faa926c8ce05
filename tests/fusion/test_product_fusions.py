"""Multiplicative fusions learn whether two streams match."""

from __future__ import annotations

import pytest
import torch

from polymodal.errors import ConfigError
from polymodal.fusion import build_fusion
from polymodal.fusion.product import MAX_PRODUCTS, max_factors
from polymodal.tokens import Tokens

WIDTH = 16


def matches(rows: int, seed: int) -> tuple[dict[str, Tokens], torch.Tensor]:
    """Return two streams that each name one of four things, and whether it is the same."""
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randint(0, 4, (2, rows), generator=generator)
    second = torch.where(torch.rand(rows, generator=generator) < 0.4, first, second)
    codes = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(9))
    asked, seen = codes[0][first].unsqueeze(1), codes[1][second].unsqueeze(1).repeat(1, 3, 1)
    noise = torch.randn(rows, 3, WIDTH, generator=generator)
    streams = {"question": asked, "picture": seen + 0.3 * noise}
    tokens = {name: Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool)) for name, values in streams.items()}
    return tokens, (first == second).float()


@pytest.mark.parametrize("name", ["film", "low_rank", "match", "tensor"])
def test_a_match_between_streams_is_learned(name: str) -> None:
    torch.manual_seed(0)
    fusion = build_fusion(name, ["question", "picture"], WIDTH, {"dropout": 0.0})
    assert fusion is not None
    head = torch.nn.Linear(WIDTH, 1)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    streams, truth = matches(256, seed=0)
    for _ in range(80):
        said = head(fusion(streams).pooled).squeeze(1)
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(said, truth).backward()
        optimizer.step()
    streams, truth = matches(256, seed=1)
    assert ((head(fusion(streams).pooled).squeeze(1) > 0) == (truth > 0)).float().mean() > 0.95


@pytest.mark.parametrize("num_streams", [1, 2, 3, 8])
def test_the_outer_product_stays_small(num_streams: int) -> None:
    assert (max_factors(num_streams) + 1) ** num_streams <= MAX_PRODUCTS
    assert (max_factors(num_streams) + 2) ** num_streams > MAX_PRODUCTS


def test_too_many_streams_for_the_outer_product_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'tensor' multiplies all streams and takes 8 at most. Got 9 .*low_rank"):
        build_fusion("tensor", [f"s{number}" for number in range(9)], WIDTH, {})


def test_a_question_changes_what_is_read_from_a_picture() -> None:
    torch.manual_seed(0)
    fusion = build_fusion("film", ["question", "picture"], WIDTH, {})
    assert fusion is not None
    streams, _ = matches(4, seed=0)
    asked = Tokens(streams["question"].values.roll(1, dims=0), streams["question"].present)
    before, after = (fusion.eval()(found).tokens.values[:, 1:] for found in (streams, {**streams, "question": asked}))
    assert not torch.allclose(before, after)
