"""Data augmentation of series and point clouds: small, flips and rotations by option only, padding unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from polymodal.modalities import Points, Series, build_settings
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import augment
from polymodal.training.sensor_augmentation import POINT_DROPOUT, TIME_CROP

ROWS = 60


def points(**options: Any) -> Points:
    cloud = np.random.default_rng(0).normal(size=(10, 30, 4))
    return Points.fit([cloud], build_settings("points", options), None)


def clouds(frames: int = 10, real: float = 0.8) -> ColumnBatch:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(ROWS, frames, 30, 5, generator=generator)
    values[..., -1] = (torch.rand(ROWS, frames, 30, generator=generator) < real).float()
    values[..., :-1] *= values[..., -1:]
    lengths = torch.randint(1, frames + 1, (ROWS,), generator=generator)
    return ColumnBatch(values, torch.ones(ROWS, dtype=torch.bool), lengths)


def vary(modality: Any, batch: ColumnBatch) -> ColumnBatch:
    torch.manual_seed(0)
    return augment(modality, batch)


def test_some_points_are_dropped_but_never_all_of_a_row() -> None:
    batch = clouds()
    varied = vary(points(), batch)
    assert varied.lengths is not None
    for row in range(ROWS):
        kept, had = varied.values[row, : varied.lengths[row], :, -1], batch.values[row, ..., -1]
        assert 0 < kept.sum() <= had.sum()
    share = varied.values[..., -1].sum() / batch.values[..., -1].sum()
    assert share < 1
    one = clouds(frames=1, real=0.0)
    one.values[:, 0, 0, -1] = 1
    assert (vary(points(), one).values[..., -1].sum(dim=(1, 2)) == 1).all()
    assert POINT_DROPOUT < 0.5


def test_padding_stays_zero() -> None:
    varied = vary(points(), clouds())
    assert varied.lengths is not None
    assert not varied.values[varied.values[..., -1] == 0].any()
    for row, length in enumerate(varied.lengths.tolist()):
        assert not varied.values[row, length:].any()


def test_few_frames_are_cropped_at_the_ends() -> None:
    batch = clouds(frames=40)
    batch = ColumnBatch(batch.values, batch.present, torch.full((ROWS,), 40))
    varied = vary(points(), batch)
    assert varied.lengths is not None
    assert varied.lengths.min() >= 40 * (1 - 2 * TIME_CROP)
    assert varied.lengths.max() <= 40
    assert len(varied.lengths.unique()) > 2


def test_axes_are_mirrored_and_rotated_by_option_only() -> None:
    batch = clouds(frames=1)
    plain = vary(points(), batch).values
    kept = plain[..., -1] > 0
    before = batch.values[..., :3][kept]
    assert torch.nn.functional.cosine_similarity(plain[..., :3][kept], before, dim=1).quantile(0.05) > 0.95
    mirrored = vary(points(mirror_axis=1), batch).values
    signs = (mirrored[..., 1] * batch.values[..., 1]).sum(dim=(1, 2)).sign()
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert ((mirrored[..., [0, 2]] * batch.values[..., [0, 2]]).sum(dim=(1, 2)) > 0).all()
    turned = vary(points(rotation_deg=180), batch).values[..., :3]
    alike = torch.nn.functional.cosine_similarity(turned[..., :2][kept], before[:, :2], dim=1)
    assert alike.min() < -0.9
    assert (turned[..., 2][kept] * before[:, 2] > -0.2).all()


def test_noise_and_scale_of_series_are_small_and_indicators_stay() -> None:
    modality = Series.fit([np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 1.0]])], build_settings("series"), None)
    values = torch.randn(ROWS, 20, 3)
    lengths = torch.randint(1, 21, (ROWS,))
    values *= torch.arange(20)[None, :, None] < lengths[:, None, None]
    varied = vary(modality, ColumnBatch(values, torch.ones(ROWS, dtype=torch.bool), lengths)).values
    assert torch.equal(varied[..., 2], values[..., 2])
    assert not varied[values == 0].any()
    change = (varied - values)[..., :2].abs()
    assert 0 < change.mean() < 0.1
    assert change.max() < 1
