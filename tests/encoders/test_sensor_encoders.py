"""Encoders of series and point clouds: rhythm, order and shape are learned, and padding is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polymodal.encoders import ENCODERS, build_encoder
from polymodal.encoders.temporal import levels_to_span
from polymodal.modalities import Modality, Points, Series, build_settings
from polymodal.tokens import ColumnBatch

WIDTH = 24


def rhythms(rows: int, seed: int) -> tuple[list[np.ndarray], Tensor]:
    """Return waves of two periods with random phases and lengths; their levels are alike."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    cells = []
    for label in labels:
        time = np.arange(random.integers(40, 60)) * 2 * np.pi / (5, 9)[label] + random.uniform(0, 2 * np.pi)
        cells.append(np.sin(time) + random.normal(0, 0.1, len(time)))
    return cells, torch.from_numpy(labels)


def movements(rows: int, seed: int) -> tuple[list[np.ndarray], Tensor]:
    """Return clouds that move to the right or to the left; all their points together are alike."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    path = np.linspace(-2, 2, 8)[:, None, None] * np.array([1.0, 0, 0])
    clouds = random.normal(0, 0.3, (rows, 8, 5, 3)) + np.where(labels, 1, -1)[:, None, None, None] * path
    return list(clouds), torch.from_numpy(labels)


def shapes(rows: int, seed: int) -> tuple[list[np.ndarray], Tensor]:
    """Return single clouds on a circle or in a disc."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    angle, radius = random.uniform(0, 2 * np.pi, (2, rows, 20))
    radius = np.where(labels[:, None], 1, np.sqrt(radius / (2 * np.pi)))
    return list(np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=2)), torch.from_numpy(labels)


def accuracy(modality: Modality, name: str, make: object, steps: int) -> float:
    assert callable(make)
    torch.manual_seed(0)
    cells, truth = make(48, 0)
    new_cells, new_truth = make(60, 1)
    train, test = (ColumnBatch.from_column(modality.transform(part, None)[0]) for part in (cells, new_cells))
    encoder, head = build_encoder(modality.name, name, modality, WIDTH, {}), nn.Linear(WIDTH, 2)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(encoder(train).pooled()), truth).backward()
        optimizer.step()
    with torch.inference_mode():
        return float((head(encoder.eval()(test).pooled()).argmax(dim=1) == new_truth).float().mean())


@pytest.mark.parametrize("name", list(ENCODERS["series"]))
def test_every_series_encoder_learns_a_rhythm(name: str) -> None:
    modality = Series.fit(rhythms(64, 0)[0], build_settings("series"), None)
    assert accuracy(modality, name, rhythms, steps=25) > 0.9


@pytest.mark.parametrize("name", list(ENCODERS["points"]))
def test_every_points_encoder_learns_the_order_of_frames(name: str) -> None:
    modality = Points.fit(movements(64, 0)[0], build_settings("points"), None)
    assert modality.num_frames == 8
    assert accuracy(modality, name, movements, steps=25) > 0.9


def test_a_single_cloud_is_told_by_its_shape() -> None:
    modality = Points.fit(shapes(64, 0)[0], build_settings("points"), None)
    assert accuracy(modality, "pointnet", shapes, steps=60) > 0.9


@pytest.mark.parametrize("name", list(ENCODERS["points"]))
def test_padding_points_and_the_order_of_points_change_nothing(name: str) -> None:
    modality = Points.fit(movements(4, 0)[0], build_settings("points"), None)
    torch.manual_seed(0)
    encoder = build_encoder("points", name, modality, WIDTH, {}).eval()
    batch = ColumnBatch.from_column(modality.transform(movements(4, 0)[0], None)[0])
    garbage = torch.full((4, 8, 3, 4), 9.0)
    garbage[..., -1] = 0
    order = torch.randperm(8)
    padded = ColumnBatch(torch.cat([batch.values, garbage], dim=2)[:, :, order], batch.present, batch.lengths)
    torch.testing.assert_close(encoder(padded).values, encoder(batch).values, atol=1e-5, rtol=1e-4)


def test_frames_without_points_are_no_trouble() -> None:
    modality = Points.fit(movements(4, 0)[0], build_settings("points"), None)
    batch = ColumnBatch.from_column(modality.transform(movements(4, 0)[0], None)[0])
    values = batch.values.clone()
    values[0, 2:5] = 0
    values[1] = 0
    for name in ENCODERS["points"]:
        tokens = build_encoder("points", name, modality, WIDTH, {})(ColumnBatch(values, batch.present, batch.lengths))
        tokens.pooled().sum().backward()
        assert tokens.values.isfinite().all()
        assert tokens.row_present.all()


@pytest.mark.parametrize(("num_steps", "levels"), [(1, 2), (20, 3), (128, 6), (100_000, 6)])
def test_convolutions_see_a_usual_series_as_a_whole(num_steps: int, levels: int) -> None:
    assert levels_to_span(num_steps, 3) == levels
    assert levels == 6 or 1 + 4 * (2**levels - 1) >= num_steps
