"""Variation of training inputs: enough to matter, never enough to lose the meaning, never touching what is absent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from modality_examples import example_column, fit_example
from polymodal.modalities import (
    Audio,
    Category,
    Image,
    Modality,
    Number,
    Points,
    Series,
    Tabular,
    Text,
    Vector,
    Video,
    build_settings,
)
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import (
    AUGMENTATIONS,
    LENGTH_STEP,
    MASKING_NOISE_FRACTION,
    TOKEN_DROPOUT,
    add_masking_noise,
    augment,
    identity,
)

ROWS = 6
every_modality = pytest.mark.parametrize(
    "name", [n for n, row in AUGMENTATIONS.items() if row.transform is not identity]
)


def audio(features: str = "log_mel") -> Modality:
    settings = build_settings("audio", {"features": features, "num_mels": 16})
    return Audio.fit([(np.sin(np.arange(size)), 8000) for size in (4000, 6000)], settings, None)


def tabular() -> Tabular:
    number = Number(mean=0.0, std=1.0, quantiles=[-1.0, 1.0])
    return Tabular(members={"size": number, "colour": Category(values=["a", "b", "c"]), "age": number})


MODALITIES: dict[str, Any] = {name: fit_example(name) for name in AUGMENTATIONS} | {
    "tabular": tabular(),
    "text": Text(tokenizer="", num_ids=50, max_length=40),
    "image": Image(height=20, width=16, channels=3, mean=[0.5] * 3, std=[0.25] * 3),
    "audio": audio(),
    "video": Video(height=20, width=16, channels=3, frames=24, rate_hz=None, mean=[0.5] * 3, std=[0.25] * 3),
    "vector": Vector(dim=3, mean=[0.0] * 3, std=[1.0] * 3),
    "series": Series.fit([np.arange(24.0).reshape(12, 2)], build_settings("series"), None),
    "points": Points.fit([np.random.default_rng(0).normal(size=(4, 6, 3))], build_settings("points"), None),
}


def column(name: str, rows: int = ROWS) -> ColumnBatch:
    generator = torch.Generator().manual_seed(0)
    present = torch.ones(rows, dtype=torch.bool)
    lengths = torch.arange(rows) * 3 + 5
    if name == "tabular":
        values = torch.randn(rows, 3, generator=generator)
        values[:, 1] = torch.randint(0, 4, (rows,), generator=generator).float()
        return ColumnBatch(values, torch.ones(rows, 3, dtype=torch.bool))
    if name == "text":
        return ColumnBatch(torch.randint(1, 50, (rows, 30), generator=generator, dtype=torch.int32), present, lengths)
    if name == "image":
        smooth = torch.rand(rows, 5, 4, 3, generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
        return ColumnBatch((smooth * 255).to(torch.uint8), present)
    if name == "audio":
        return ColumnBatch(torch.randn(rows, 24, 16, generator=generator).half(), present, lengths)
    if name == "video":
        pixels = torch.randint(0, 256, (rows, 24, 20, 16, 3), generator=generator, dtype=torch.uint8)
        return ColumnBatch(pixels, present, lengths)
    if name == "series":
        return ColumnBatch(torch.randn(rows, 30, 2, generator=generator), present, lengths)
    if name == "points":
        points = torch.randn(rows, 24, 6, 4, generator=generator)
        points[..., -1] = (torch.rand(rows, 24, 6, generator=generator) < 0.7).float()
        return ColumnBatch(points, present, lengths)
    if name == "vector":
        return ColumnBatch(torch.randn(rows, 3, generator=generator), present)
    return ColumnBatch.from_column(example_column(name, rows, MODALITIES[name]))


def vary(name: str, batch: ColumnBatch, seed: int = 0) -> ColumnBatch:
    torch.manual_seed(seed)
    return augment(MODALITIES[name], batch)


@every_modality
def test_presence_and_layout_stay(name: str) -> None:
    batch = column(name)
    varied = vary(name, batch)
    assert torch.equal(varied.present, batch.present)
    assert varied.values.ndim == batch.values.ndim
    assert len(varied) == len(batch)
    if batch.lengths is None or name == "text":
        assert varied.values.shape == batch.values.shape
    assert varied.values.float().isfinite().all()


@every_modality
def test_the_seed_fixes_the_variation(name: str) -> None:
    batch = column(name, rows=40)
    assert torch.equal(vary(name, batch, 1).values, vary(name, batch, 1).values)
    first, second = vary(name, batch, 1).values, vary(name, batch, 2).values
    assert first.shape != second.shape or not torch.equal(first, second)


@every_modality
def test_rows_are_varied_each_by_itself(name: str) -> None:
    batch = column(name, rows=40)
    same = ColumnBatch(
        batch.values[:1].expand_as(batch.values),
        batch.present,
        None if batch.lengths is None else batch.lengths[-1:].clamp(max=30 if name == "text" else 20).expand(40),
    )
    assert len(vary(name, same).values.float().reshape(40, -1).unique(dim=0)) > 2


@every_modality
def test_absent_rows_move_nothing(name: str) -> None:
    batch = column(name)
    present = batch.present.clone()
    present[2] = False
    outputs = []
    for garbage in (False, True):
        values = batch.values.clone()
        if garbage:
            values[2] = torch.nan if values.is_floating_point() else 7
        outputs.append(vary(name, ColumnBatch(values, present, batch.lengths)).values)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(outputs[0][others], outputs[1][others])


@every_modality
def test_no_rows(name: str) -> None:
    batch = column(name, rows=1)
    none = batch.take(torch.zeros(0, dtype=torch.long))
    assert len(vary(name, none)) == 0


def test_pictures_stay_recognisable() -> None:
    batch = column("image", rows=30)
    before, after = batch.values.float(), vary("image", batch).values
    assert after.dtype == torch.float32
    assert 0 <= after.min() < after.max() <= 255
    flat = [values.reshape(30, -1) - values.reshape(30, -1).mean(1, keepdim=True) for values in (before, after)]
    alike = torch.nn.functional.cosine_similarity(flat[0][:, None], flat[1][None], dim=2)
    assert (alike.argmax(dim=0) == torch.arange(30)).all()


def test_pictures_are_never_mirrored() -> None:
    values = torch.zeros(200, 16, 16, 1, dtype=torch.uint8)
    values[:, :, 10:] = 255
    varied = vary("image", ColumnBatch(values, torch.ones(200, dtype=torch.bool))).values
    assert (varied[:, :, 10:].mean(dim=(1, 2, 3)) > varied[:, :, :6].mean(dim=(1, 2, 3))).all()


def test_clips_change_their_length_a_little_and_padding_stays_silent() -> None:
    batch = column("audio", rows=7)
    varied = vary("audio", batch)
    assert varied.lengths is not None
    assert batch.lengths is not None
    assert ((varied.lengths - batch.lengths).abs() <= batch.lengths * 0.1 + 1).all()
    assert varied.values.shape[1] % LENGTH_STEP == 0
    assert varied.values.shape[1] >= int(varied.lengths.max())
    for row, length in enumerate(varied.lengths.tolist()):
        assert not varied.values[row, length:].any()
        assert varied.values[row, :length].any()


def test_samples_keep_one_band() -> None:
    batch = ColumnBatch(torch.randn(3, 400, 1).half(), torch.ones(3, dtype=torch.bool), torch.tensor([400, 30, 1]))
    torch.manual_seed(0)
    varied = augment(audio("waveform"), batch)
    assert varied.values.shape[2] == 1
    assert varied.values.isfinite().all()


def test_both_channels_of_a_sound_are_varied_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymodal.training.augmentation.NOISE", 0.0)
    mono = column("audio")
    both = ColumnBatch(torch.cat([mono.values, mono.values], dim=2), mono.present, mono.lengths)
    torch.manual_seed(0)
    varied = augment(dataclasses.replace(audio(), channels=2), both)
    assert torch.equal(varied.values, vary("audio", mono).values.repeat(1, 1, 2))


def test_categories_stay_and_numbers_move_a_little() -> None:
    batch = column("tabular", rows=50)
    change = (vary("tabular", batch).values - batch.values).abs()
    assert not change[:, 1].any()
    assert (change[:, [0, 2]] > 0).all()
    assert change.max() < 0.6


def test_a_tenth_of_the_tokens_is_blanked_and_none_changed() -> None:
    batch = column("text", rows=500)
    varied = vary("text", batch).values
    assert varied.dtype == batch.values.dtype
    blank = varied == 0
    assert torch.equal(varied[~blank], batch.values[~blank])
    assert abs(float(blank.float().mean()) - TOKEN_DROPOUT) < 0.02


def test_short_texts_lose_no_word() -> None:
    values = torch.randint(1, 50, (40, 30), dtype=torch.int32)
    batch = ColumnBatch(values, torch.ones(40, dtype=torch.bool), torch.full((40,), 6))
    assert torch.equal(vary("text", batch).values, values)


@pytest.mark.parametrize("features", ["samples", "whisper", "kaldi"])
def test_sound_that_keeps_its_loudness_gets_no_noise(features: str) -> None:
    width = 1 if features == "samples" else 16
    batch = ColumnBatch(torch.full((2, 30, width), 0.5), torch.ones(2, dtype=torch.bool), torch.tensor([30, 20]))
    torch.manual_seed(0)
    varied = augment(audio(features), batch)
    assert varied.values[0, : int(varied.lengths[0])].unique().tolist() in ([0.5], [0.0, 0.5])


@every_modality
def test_outputs_of_a_frozen_encoder_are_not_varied(name: str) -> None:
    batch = ColumnBatch(torch.randn(2, 4, 8), torch.ones(2, dtype=torch.bool), torch.tensor([4, 2]), is_encoded=True)
    assert vary(name, batch) is batch


def test_all_frames_of_a_video_move_together_and_keep_their_order() -> None:
    place = torch.linspace(0, 200, 16).reshape(1, 1, 16, 1) + torch.arange(12).reshape(12, 1, 1, 1) * 4
    values = place.expand(12, 16, 16, 3).to(torch.uint8).expand(30, 12, 16, 16, 3)  # lighter from left to right
    batch = ColumnBatch(values, torch.ones(30, dtype=torch.bool), torch.full((30,), 12))
    varied = vary("video", batch)
    assert varied.lengths is not None
    assert set(varied.lengths.tolist()) <= {9, 10, 11, 12}
    assert len(set(varied.lengths.tolist())) > 1
    for pixels, length in zip(varied.values, varied.lengths.tolist(), strict=True):
        middle = pixels[:length, 4:12, 4:12]
        assert (middle.mean(dim=(1, 2, 3)).diff() > 0).all()
        steps = middle.diff(dim=0)
        assert float((steps - steps.mean(dim=(1, 2, 3), keepdim=True)).abs().max()) < 2
        assert (middle[:, :, -1].mean(dim=(1, 2)) > middle[:, :, 0].mean(dim=(1, 2))).all()


@every_modality
def test_a_corrupted_batch_keeps_its_layout_and_loses_a_third_of_its_places(name: str) -> None:
    batch = column(name, rows=200)
    torch.manual_seed(0)
    holes = add_masking_noise(MODALITIES[name], batch)
    assert holes.values.shape == batch.values.shape
    assert holes.present is batch.present
    assert holes.lengths is batch.lengths
    there = batch.values != 0
    assert torch.equal(holes.values[holes.values != 0], batch.values[holes.values != 0])
    assert float((holes.values[there] == 0).float().mean()) == pytest.approx(MASKING_NOISE_FRACTION, abs=0.05)


def test_points_are_corrupted_one_by_one_and_whole() -> None:
    batch = column("points", rows=50)
    kept = add_masking_noise(MODALITIES["points"], batch).values[..., :-1] != 0
    assert torch.equal(kept.any(dim=3), kept.all(dim=3))
    assert bool((kept.any(dim=3).any(dim=2) & ~kept.any(dim=3).all(dim=2)).any()), "a frame loses some of its points"


def test_corrupted_outputs_of_a_frozen_encoder_stay_outputs() -> None:
    batch = ColumnBatch(torch.randn(2, 4, 8), torch.ones(2, dtype=torch.bool), torch.tensor([4, 2]), is_encoded=True)
    holes = add_masking_noise(MODALITIES["image"], batch)
    assert holes.is_encoded
    assert holes.values.shape == batch.values.shape
