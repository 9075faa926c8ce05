"""Data augmentation of speech for transcripts: no word becomes inaudible, padding stays zero."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from polymodal.modalities import Audio, build_settings
from polymodal.tokens import ColumnBatch
from polymodal.training.speech_augmentation import MASK_S, MAX_MASKED_BANDS, SPEED, augment_speech

ROWS, FRAMES, BANDS = 40, 120, 16


def audio(features: str) -> Audio:
    settings = build_settings("audio", {"features": features, "num_mels": BANDS, "num_mfcc": BANDS // 2})
    return Audio.fit([(np.sin(np.arange(size)), 8000) for size in (4000, 6000)], settings, None)


def clips(features: str, value: float | None = None) -> ColumnBatch:
    generator = torch.Generator().manual_seed(0)
    shape = (ROWS, FRAMES, 1 if features == "waveform" else BANDS)
    values = torch.randn(shape, generator=generator) if value is None else torch.full(shape, value)
    lengths = torch.randint(60, FRAMES + 1, (ROWS,), generator=generator)
    return ColumnBatch(values.half(), torch.ones(ROWS, dtype=torch.bool), lengths)


def vary(features: str, batch: ColumnBatch) -> ColumnBatch:
    torch.manual_seed(0)
    return augment_speech(audio(features), batch)


@pytest.mark.parametrize("features", ["log_mel", "mfcc", "waveform"])
def test_lengths_follow_the_speed_and_padding_stays_empty(features: str) -> None:
    batch = clips(features)
    varied = vary(features, batch)
    assert varied.lengths is not None
    ratio = varied.lengths / batch.lengths
    assert ((ratio >= 1 - SPEED - 0.02) & (ratio <= 1 + SPEED + 0.02)).all()
    assert ratio.std() > 0.02
    assert varied.values.shape[1] >= int(varied.lengths.max())
    padding = torch.arange(varied.values.shape[1]) >= varied.lengths.unsqueeze(1)
    assert not varied.values[padding].any()
    assert varied.values.isfinite().all()
    assert torch.equal(varied.present, batch.present)


def test_masked_stretches_are_shorter_than_a_word() -> None:
    varied = vary("log_mel", clips("log_mel", 1.0))
    assert varied.lengths is not None
    whole = (varied.values == 0).all(dim=2)
    inside = torch.arange(varied.values.shape[1]) < varied.lengths.unsqueeze(1)
    masked = (whole & inside).sum(dim=1)
    assert 0 < masked.max() <= 2 * MASK_S / 0.01
    bands = (varied.values == 0).sum(dim=1) == varied.values.shape[1]
    assert 0 < bands.sum(dim=1).max() <= MAX_MASKED_BANDS * BANDS


def test_speakers_and_rooms_change() -> None:
    batch = clips("log_mel", 0.5)
    varied = vary("log_mel", batch)
    slopes = [float(row[:20, -4:].mean() - row[:20, :4].mean()) for row in varied.values]
    assert min(slopes) < -0.2
    assert max(slopes) > 0.2


def test_the_seed_fixes_the_variation_and_an_empty_batch_passes() -> None:
    batch = clips("log_mel")
    assert torch.equal(vary("log_mel", batch).values, vary("log_mel", batch).values)
    nothing: Any = batch.take(torch.tensor([], dtype=torch.int64))
    assert len(vary("log_mel", nothing)) == 0


def test_both_channels_of_a_sound_are_varied_alike_but_for_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.training.speech_augmentation.NOISE", 0.0)
    batch = clips("log_mel")
    both = ColumnBatch(torch.cat([batch.values, batch.values], dim=2), batch.present, batch.lengths)
    torch.manual_seed(0)
    varied = augment_speech(dataclasses.replace(audio("log_mel"), channels=2), both)
    assert varied.values.shape[2] == 2 * BANDS
    assert torch.equal(varied.values[..., :BANDS], varied.values[..., BANDS:])
    assert not torch.equal(varied.values[:, : batch.values.shape[1], :BANDS], batch.values)


def test_what_a_frozen_encoder_gave_passes_unchanged() -> None:
    batch = dataclasses.replace(clips("log_mel"), is_encoded=True)
    assert vary("log_mel", batch) is batch
