from __future__ import annotations

import pytest
import torch

from polymodal.encoders.recurrent import Recurrent
from polymodal.encoders.steps import resample_steps, stack_steps
from polymodal.encoders.tabular import PiecewiseNumbers
from polymodal.nn.attention import Transformer
from polymodal.nn.layers import MaskedGroupNorm, pool_steps, sinusoidal_positions


def test_pooling_keeps_short_rows_and_averages_stretches_of_long_ones() -> None:
    values = torch.arange(8.0).reshape(1, 8, 1).repeat(3, 1, 1)
    pooled, present = pool_steps(values, torch.tensor([8, 3, 0]), max_tokens=4)
    assert pooled.squeeze(2).tolist() == [[0.5, 2.5, 4.5, 6.5], [0.0, 1.0, 2.0, 0.0], [0.0] * 4]
    assert present.tolist() == [[True] * 4, [True, True, True, False], [False] * 4]


def test_pooling_reads_every_step_and_no_padding() -> None:
    for length in range(1, 12):
        values = torch.ones(1, 12, 1)
        values[:, length:] = 100.0
        values.requires_grad_()
        pooled, present = pool_steps(values, torch.tensor([length]), max_tokens=5)
        assert torch.allclose(pooled[present], torch.ones(1))
        pooled.sum().backward()
        assert values.grad is not None
        assert (values.grad[0, :, 0] > 0).tolist() == [step < length for step in range(12)]


@pytest.mark.parametrize("length", [3, 8, 20])
def test_stretching_keeps_a_slope_and_ignores_padding(length: int) -> None:
    values = torch.arange(24.0).reshape(1, 24, 1)
    values[:, length:] = 1000.0
    stretched = resample_steps(values, torch.tensor([length]), num_frames=8).flatten()
    assert stretched.max() <= length - 1
    assert stretched.diff().min() > 0
    assert stretched.mean().item() == pytest.approx((length - 1) / 2, abs=0.05)


def test_stacking_puts_frames_side_by_side() -> None:
    steps, lengths = stack_steps(torch.arange(5.0).reshape(1, 5, 1), torch.tensor([5]), stack=2)
    assert steps.tolist() == [[[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]]
    assert lengths.tolist() == [3]


def test_group_norm_without_padding_is_the_usual_one() -> None:
    x = torch.randn(2, 8, 5, 3) + 1
    usual = torch.nn.functional.group_norm(x, 4)
    torch.testing.assert_close(MaskedGroupNorm(4, 8)(x, torch.ones(2, 1, 5, 1)), usual, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_layers_read_both_ways(cell: str) -> None:
    torch.manual_seed(0)
    layers = Recurrent(cell, 8, depth=2, dropout=0.0)  # type: ignore[arg-type]
    x = torch.randn(2, 6, 8, requires_grad=True)
    out = layers(x, torch.tensor([4, 6]))
    assert not out[0, 4:].any()
    out[0, 1].sum().backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum(dim=1).gt(0).tolist() == [True] * 4 + [False] * 2


def test_recurrent_layers_give_what_torch_gives_without_padding() -> None:
    torch.manual_seed(0)
    layers = Recurrent("lstm", 8, depth=1, dropout=0.0)
    both = torch.nn.LSTM(8, 4, batch_first=True, bidirectional=True)
    onwards, backwards = layers.forwards[0], layers.backwards[0]
    weights = dict(onwards.named_parameters())
    weights |= {f"{name}_reverse": value for name, value in backwards.named_parameters()}
    both.load_state_dict(weights)
    x = torch.randn(3, 7, 8)
    torch.testing.assert_close(layers(x, torch.tensor([7, 7, 7])), both(x)[0], atol=1e-5, rtol=1e-5)


def test_piecewise_numbers_follow_the_paper() -> None:
    numbers = PiecewiseNumbers([[0.0, 1.0, 3.0]], cell_dim=2)
    with torch.no_grad():
        numbers.weight_FQE.copy_(torch.eye(2).unsqueeze(0))
        numbers.linear.weight_FE.zero_()
        numbers.linear.bias_FE.zero_()
    encoded = numbers(torch.tensor([[-1.0], [0.5], [2.0], [9.0]]))
    assert encoded[:, 0].tolist() == [[0.0, 0.0], [0.5, 0.0], [1.0, 0.5], [1.0, 1.0]]


def test_piecewise_numbers_survive_a_constant_and_an_empty_column() -> None:
    assert PiecewiseNumbers([[2.0, 2.0], []], cell_dim=3)(torch.randn(4, 2)).isfinite().all()


def test_sinusoidal_positions_of_odd_width() -> None:
    assert sinusoidal_positions(4, 7).shape == (4, 7)


def test_a_transformer_does_not_see_absent_tokens() -> None:
    torch.manual_seed(0)
    layers = Transformer(8, depth=2, num_heads=2, dropout=0.0)
    x = torch.randn(1, 4, 8)
    present = torch.tensor([[True, True, False, True]])
    changed = x.clone()
    changed[0, 2] = 50.0
    assert torch.equal(layers(x, present)[present], layers(changed, present)[present])


def test_a_transformer_computes_only_the_tokens_that_are_wanted() -> None:
    torch.manual_seed(0)
    layers = Transformer(8, depth=2, num_heads=2, dropout=0.0)
    x, present = torch.randn(3, 4, 8), torch.tensor([[True, True, False, True]] * 3)
    torch.testing.assert_close(layers(x, present, num_queries=2), layers(x, present)[:, :2])
