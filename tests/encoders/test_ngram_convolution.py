"""The n-gram convolution against convolutions over padded rows, and the pooler of pretrained encoders."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from polymodal.encoders.ngram_convolution import NgramConvolution, PackedSteps
from polymodal.encoders.pooling import NUM_QUERIES, SequencePooler
from polymodal.nn.layers import steps_present

LENGTHS = torch.tensor([7, 1, 0, 4, 7])


@pytest.mark.parametrize("sizes", [(1,), (1, 3, 5), (2, 3, 4, 5)])
def test_filters_answer_as_convolutions_do(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    filters = NgramConvolution(6, 4, sizes)
    values = torch.randn(5, 7, 6) * steps_present(LENGTHS, 7).unsqueeze(2)
    found = filters(PackedSteps.pack(values, steps_present(LENGTHS, 7), LENGTHS))
    for place, (size, layer) in enumerate(zip(sizes, filters.layers, strict=True)):
        weight = layer.weight.view(4, size, 6).transpose(1, 2)
        padded = functional.pad(values.transpose(1, 2), ((size - 1) // 2, size // 2))
        answers = functional.conv1d(padded, weight, layer.bias) * steps_present(LENGTHS, 7).unsqueeze(1)
        torch.testing.assert_close(found[:, place], answers.relu().amax(2), atol=1e-5, rtol=1e-5)


def test_a_step_that_is_left_out_counts_as_zeros() -> None:
    torch.manual_seed(0)
    filters, values, inside = NgramConvolution(6, 4, (3,)), torch.rand(5, 7, 6), steps_present(LENGTHS, 7)
    kept = inside.clone()
    kept[0, 3] = False
    emptied = values.clone()
    emptied[0, 3] = 0
    with torch.no_grad():
        found, expected = (
            filters(PackedSteps.pack(values, kept, LENGTHS)),
            filters(PackedSteps.pack(emptied, inside, LENGTHS)),
        )
        assert (found <= expected).all()
        torch.testing.assert_close(found[1:], expected[1:])
        line = filters.layers[0](torch.cat([values[0, 1], values[0, 2], emptied[0, 3]])).relu()
    assert (found[0, 0] >= line - 1e-6).all()


def test_steps_go_back_to_their_places() -> None:
    values, inside = torch.randn(5, 7, 6), steps_present(LENGTHS, 7)
    torch.testing.assert_close(PackedSteps.pack(values, inside, LENGTHS).to_padded(7), values * inside.unsqueeze(2))


def test_gradients_reach_the_steps_of_the_strongest_answers() -> None:
    values = torch.randn(5, 7, 6, requires_grad=True)
    NgramConvolution(6, 4, (1, 3))(PackedSteps.pack(values, steps_present(LENGTHS, 7), LENGTHS)).sum().backward()
    assert values.grad is not None
    assert values.grad[LENGTHS > 0].abs().sum(dim=(1, 2)).gt(0).all()
    assert not values.grad[~steps_present(LENGTHS, 7)].any()


def test_gradients_are_those_of_differences() -> None:
    torch.manual_seed(0)
    filters, inside = NgramConvolution(3, 2, (1, 3)).double(), steps_present(LENGTHS, 7)
    values = torch.randn(5, 7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda given: filters(PackedSteps.pack(given, inside, LENGTHS)).double(), values, atol=1e-2, rtol=1e-2, eps=1e-3
    )


def test_a_reader_does_not_look_beyond_the_lengths() -> None:
    torch.manual_seed(0)
    reader = SequencePooler(12, 8, dropout=0.5).eval()
    hidden = torch.randn(5, 7, 12)
    spoilt = torch.where(steps_present(LENGTHS, 7).unsqueeze(2), hidden, torch.nan)
    whole, cut = reader(hidden, LENGTHS), reader(spoilt.half(), LENGTHS)
    torch.testing.assert_close(whole.values, cut.values, atol=5e-3, rtol=5e-3)
    assert not whole.present[2].any()


def test_a_reader_leaves_out_outputs_of_long_rows_in_training_only() -> None:
    torch.manual_seed(0)
    reader = SequencePooler(12, 8, dropout=0.0)
    hidden, lengths = torch.randn(2, 60, 12), torch.tensor([60, 20])
    with torch.no_grad():
        first, second = (reader(hidden, lengths).values[:, -NUM_QUERIES:] for _ in range(2))
        assert not torch.allclose(first[0], second[0])
        torch.testing.assert_close(first[1], second[1])
        reader.eval()
        torch.testing.assert_close(reader(hidden, lengths).values, reader(hidden, lengths).values)
