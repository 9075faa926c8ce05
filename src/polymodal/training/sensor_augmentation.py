"""Data augmentation of sensor series and point clouds (torch); see ``augmentation`` for the other modalities.

Shape legend: B rows, T steps or frames, P points of a frame, F features, A axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polymodal.modalities import Modality
from polymodal.modalities.points import Points
from polymodal.modalities.series import Series
from polymodal.nn.layers import lengths_in_use, steps_present
from polymodal.tokens import ColumnBatch

SERIES_JITTER = 0.05
SERIES_SCALE = 0.10
POINT_JITTER = 0.02
POINT_SCALE = 0.05
POINT_SHIFT = 0.02
POINT_DROPOUT = 0.2
TIME_CROP = 0.1
"""Largest fraction of a sequence's frames that is cropped at either end."""


def _uniform(shape: tuple[int, ...], limit: float) -> Tensor:
    return torch.empty(shape).uniform_(-limit, limit)


def augment_series(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Scale each channel and add noise; indicators of missing samples are unchanged (Um et al. 2017, arXiv 1706.00527).

    Args:
        modality: The fitted series modality.
        column: float32 ``[B, T, F]`` with lengths.

    Returns:
        The same layout.
    """
    assert isinstance(modality, Series)
    values_BTF = column.values.clone()
    samples = values_BTF[..., : modality.channels]
    scale = 1 + _uniform((len(column), 1, modality.channels), SERIES_SCALE)
    augmented = samples * scale + SERIES_JITTER * torch.randn_like(samples)
    inside = steps_present(lengths_in_use(column), values_BTF.shape[1]).unsqueeze(2)
    values_BTF[..., : modality.channels] = torch.where(inside, augmented, samples)
    return ColumnBatch(values_BTF, column.present, column.lengths)


def augment_points(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Drop points, crop in time, shift and scale clouds, and jitter their points.

    Clouds are mirrored or rotated only if the modality's settings say so, as axes may have a meaning.

    Args:
        modality: The fitted points modality.
        column: float32 ``[B, T, P, F + 1]`` with lengths.

    Returns:
        The same layout, with other lengths.
    """
    assert isinstance(modality, Points)
    values, lengths = _crop_time(column)
    axes = modality.num_axes
    size = len(column)
    rotated = _mirror_and_rotate(values[..., :axes], modality)
    scale, shift = 1 + _uniform((size, 1, 1, 1), POINT_SCALE), _uniform((size, 1, 1, axes), POINT_SHIFT)
    moved = torch.cat([rotated * scale + shift, values[..., axes:-1]], dim=3)
    moved = moved + POINT_JITTER * torch.randn_like(moved)
    real = values[..., -1:] * _sample_kept_points(values[..., -1:])
    return ColumnBatch(torch.cat([torch.where(real > 0, moved, 0), real], dim=3), column.present, lengths)


def _crop_time(column: ColumnBatch) -> tuple[Tensor, Tensor]:
    """Crop frames at both ends, at least one remains; returns values and lengths."""
    lengths = lengths_in_use(column)
    num_frames = column.values.shape[1]
    start, stop = ((torch.rand(len(column)) * (TIME_CROP * lengths + 1)).long().clamp(max=num_frames) for _ in range(2))
    new_lengths = torch.where(lengths > start + stop, lengths - start - stop, lengths)
    start = torch.where(lengths > start + stop, start, 0)
    index = (start.unsqueeze(1) + torch.arange(num_frames)).clamp(max=num_frames - 1)
    values = column.values[torch.arange(len(column)).unsqueeze(1), index]
    inside = steps_present(new_lengths, num_frames)[..., None, None]
    return torch.where(inside, values, 0), new_lengths


def _mirror_and_rotate(xyz: Tensor, modality: Points) -> Tensor:
    """Mirror and rotate clouds ``[B, T, P, A]``, each row independently."""
    if 0 <= modality.mirror_axis < xyz.shape[3]:
        sign = torch.ones(len(xyz), 1, 1, xyz.shape[3])
        sign[..., modality.mirror_axis] = torch.randint(0, 2, (len(xyz), 1, 1)) * 2.0 - 1
        xyz = xyz * sign
    if not modality.rotation_deg or xyz.shape[3] < 2:
        return xyz
    angle = _uniform((len(xyz), 1, 1), math.radians(modality.rotation_deg))
    x, y = xyz[..., 0], xyz[..., 1]
    first, second = angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y
    return torch.cat([first.unsqueeze(3), second.unsqueeze(3), xyz[..., 2:]], dim=3)


def _sample_kept_points(real: Tensor) -> Tensor:
    """Sample the points ``[B, T, P, 1]`` that are kept; a row that would lose all points keeps all."""
    dropout = torch.rand(len(real), 1, 1, 1) * POINT_DROPOUT
    kept = (torch.rand_like(real) >= dropout).to(real.dtype)
    all_dropped = (real * kept).sum(dim=(1, 2), keepdim=True) == 0
    return torch.where(all_dropped, torch.ones_like(kept), kept)
