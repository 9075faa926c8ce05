"""Long clips: encoded in segments, pooled, the same in a graph; short ones as ever."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from encoder_examples import SOUND_ENCODERS, fitted
from polymodal.encoders import build_encoder
from polymodal.encoders.segments import SegmentAttention, pool_segments, split_segments
from polymodal.tokens import ColumnBatch, Tokens

WIDTH, STEPS = 16, 64
encoders = pytest.mark.parametrize("name", [name for _, name in SOUND_ENCODERS])


def build(name: str, num_segments: int, steps: int = STEPS) -> Any:
    torch.manual_seed(0)
    steps = 16 * steps if name == "waveform" else steps
    long = dataclasses.replace(fitted("audio", name), segment_steps=steps, max_segments=9, num_segments=num_segments)
    return build_encoder("audio", name, long, WIDTH, {}).eval()


def clips(name: str, lengths: list[int]) -> ColumnBatch:
    factor, features = (16, 1) if name == "waveform" else (1, 16)
    counts = factor * torch.tensor(lengths)
    values = torch.randn(len(lengths), int(counts.max()), features, generator=torch.Generator().manual_seed(0))
    return ColumnBatch(values.half(), torch.ones(len(lengths), dtype=torch.bool), counts)


def one(batch: ColumnBatch, row: int) -> ColumnBatch:
    assert batch.lengths is not None
    length = int(batch.lengths[row])
    return ColumnBatch(batch.values[row : row + 1, :length], batch.present[row : row + 1], batch.lengths[row : row + 1])


@encoders
def test_a_short_clip_is_encoded_as_if_there_were_no_segments(name: str) -> None:
    whole, split = build(name, 1, steps=0), build(name, 1)
    batch = clips(name, [STEPS, 40])
    assert torch.equal(whole(batch).values, split(batch).values)
    assert whole.state_dict().keys() == split.state_dict().keys()


@encoders
def test_a_long_clip_is_the_mean_of_its_segments_by_their_lengths(name: str) -> None:
    encoder, batch = build(name, 1), clips(name, [2 * STEPS + 32])
    segments, lengths_BN = split_segments(batch, encoder.segment_steps)
    assert (lengths_BN / lengths_BN.max()).tolist() == [[1, 1, 0.5]]
    found = encoder.encode(segments)
    weights = torch.tensor([1, 1, 0.5])[:, None] * found.present
    expected = (weights[..., None] * found.values).sum(0) / weights.sum(0)[:, None]
    torch.testing.assert_close(encoder(batch).values[0], expected)


@encoders
def test_segments_of_other_rows_do_not_matter(name: str) -> None:
    encoder, batch = build(name, 3), clips(name, [2 * STEPS + 9, 20, 3 * STEPS])
    torch.nn.init.normal_(encoder.attention.score.weight)
    together: Tokens = encoder(batch)
    for row in range(3):
        alone = encoder(one(batch, row))
        present = alone.present[0]
        torch.testing.assert_close(together.values[row][: len(present)][present], alone.values[0][present])


def test_attention_finds_the_segment_that_counts() -> None:
    torch.manual_seed(0)
    attention, present = SegmentAttention(4), torch.ones(1, 5, 1, dtype=torch.bool)
    values = torch.randn(1, 5, 1, 4)
    lengths = torch.full((1, 5), 7)
    torch.testing.assert_close(
        pool_segments(values, present, lengths, attention(values, present)).values, values.mean(1)
    )
    scores = torch.tensor([[0.0, 0.0, 50.0, 0.0, 0.0]])
    torch.testing.assert_close(pool_segments(values, present, lengths, scores).values, values[:, 2])
