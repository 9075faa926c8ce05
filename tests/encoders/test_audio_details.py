"""The detail of audio encoders: duration of a step, length, and that the tokens do not depend on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from polymodal.encoders import ENCODERS, build_encoder
from polymodal.encoders.steps import frames_per_step
from polymodal.errors import ConfigError
from polymodal.modalities import Audio
from polymodal.nn.builders import hyperparameters_of
from polymodal.tokens import ColumnBatch, Detail

WIDTH = 32
RATE_HZ, HOP = 8000, 80
STEPPED = [name for name, entry in ENCODERS["audio"].items() if "detail" in hyperparameters_of(entry.build)]
every_encoder = pytest.mark.parametrize("name", STEPPED)


def fitted(name: str) -> Audio:
    return Audio(
        features="waveform" if name == "waveform" else "log_mel",
        sample_rate_hz=RATE_HZ,
        num_mels=16,
        num_mfcc=20,
        window_length=200,
        hop_length=HOP,
        fft_length=256,
        max_frames=3000,
        max_duration_s=30.0,
        median_duration_s=0.5,
    )


def build(name: str, **hyperparameters: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_encoder("audio", name, fitted(name), WIDTH, hyperparameters).eval()


def clips(name: str, seconds: list[float]) -> ColumnBatch:
    rate, features = (RATE_HZ, 1) if name == "waveform" else (RATE_HZ / HOP, 16)
    lengths = torch.tensor([int(s * rate) for s in seconds])
    values = torch.randn(len(seconds), int(lengths.max()), features, generator=torch.Generator().manual_seed(0))
    return ColumnBatch(values.half(), torch.ones(len(seconds), dtype=torch.bool), lengths)


def detail_of(name: str, batch: ColumnBatch) -> Detail:
    detail = build(name, detail=True)(batch).detail
    assert detail is not None
    return detail


@every_encoder
def test_steps_are_at_most_40_ms_and_follow_the_clip(name: str) -> None:
    seconds = [0.4, 1.2, 6.0]
    detail = detail_of(name, clips(name, seconds))
    steps = detail.present.sum(dim=1)
    assert detail.shape is None
    assert detail.values.shape == (*detail.present.shape, WIDTH)
    for length_s, count in zip(seconds, steps.tolist(), strict=True):
        assert 0.025 <= length_s / count <= 0.0401
    assert not detail.values[~detail.present].any()


@every_encoder
def test_without_details_there_are_none_and_a_short_clip_is_stretched_as_ever(name: str) -> None:
    plain, spelling = build(name), build(name, detail=True)
    batch = clips(name, [0.4, 0.9])
    assert plain(batch).detail is None
    assert {
        key: value.shape for key, value in plain.state_dict().items() if name not in ("transformer", "waveform")
    } == {key: value.shape for key, value in spelling.state_dict().items() if name not in ("transformer", "waveform")}
    if name == "cnn":
        assert plain.frames == 64
        assert spelling.frames == 0


@every_encoder
def test_steps_depend_on_their_own_clip_alone(name: str) -> None:
    batch = clips(name, [0.5, 1.0])
    whole = detail_of(name, batch)
    alone = detail_of(
        name, ColumnBatch(batch.values[:1, : int(batch.lengths[0])], batch.present[:1], batch.lengths[:1])
    )
    count = int(alone.present.sum())
    assert int(whole.present[0].sum()) == count
    torch.testing.assert_close(whole.values[0, :count], alone.values[0, :count], atol=1e-4, rtol=1e-4)


@every_encoder
def test_gradients_reach_every_parameter_through_the_steps_or_the_tokens(name: str) -> None:
    encoder = build(name, detail=True).train()
    tokens = encoder(clips(name, [0.5, 1.0]))
    (tokens.detail.values * torch.randn_like(tokens.detail.values)).sum().backward(retain_graph=True)
    (tokens.pooled() * torch.randn(2, WIDTH)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@every_encoder
def test_an_empty_batch_gives_no_steps(name: str) -> None:
    batch = clips(name, [0.5])
    assert len(detail_of(name, batch.take(torch.tensor([], dtype=torch.int64))).values) == 0


def test_clips_cannot_be_stretched_where_steps_are_read() -> None:
    with pytest.raises(ConfigError, match="'frames' parameter of an audio encoder whose steps a target reads"):
        build("cnn", frames=64, detail=True)


@pytest.mark.parametrize(("hop_s", "frames"), [(0.01, 4), (0.014, 2), (0.02, 2), (0.03, 1), (0.2, 1), (0.005, 4)])
def test_a_step_has_as_many_frames_as_fit_into_40_ms(hop_s: float, frames: int) -> None:
    assert frames_per_step(hop_s) == frames


def test_a_long_hop_still_gives_steps() -> None:
    modality = dataclasses.replace(fitted("cnn"), hop_length=240)
    batch = clips("cnn", [1.0])
    detail = build_encoder("audio", "cnn", modality, WIDTH, {"detail": True})(batch).detail
    assert detail.present.sum() == int(batch.lengths[0])


@every_encoder
def test_both_channels_of_a_sound_make_one_row_of_steps(name: str) -> None:
    batch = clips(name, [0.5, 1.0])
    both = ColumnBatch(torch.cat([batch.values, batch.values.flip(0)], dim=2), batch.present, batch.lengths)
    encoder = build_encoder("audio", name, dataclasses.replace(fitted(name), channels=2), WIDTH, {"detail": True})
    assert torch.equal(encoder.eval()(both).detail.present, detail_of(name, batch).present)
