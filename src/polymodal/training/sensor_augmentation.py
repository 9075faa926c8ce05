"""Variation of sensor series and point clouds in training (torch); see ``augment`` for the other modalities.

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
TIME_CUT = 0.1
"""Up to this share of a sequence's frames is cut off at either end."""


def _uniform(shape: tuple[int, ...], reach: float) -> Tensor:
    return torch.empty(shape).uniform_(-reach, reach)


def vary_series(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Scale each channel a little and add noise; indicators of missing samples stay (Um et al. 2017, arXiv 1706.00527).

    Args:
        modality: The fitted series modality.
        column: float32 ``[B, T, F]`` with lengths.

    Returns:
        The same layout.
    """
    assert isinstance(modality, Series)
    values_BTF = column.values.clone()
    measured = values_BTF[..., : modality.channels]
    scale = 1 + _uniform((len(column), 1, modality.channels), SERIES_SCALE)
    varied = measured * scale + SERIES_JITTER * torch.randn_like(measured)
    inside = steps_present(lengths_in_use(column), values_BTF.shape[1]).unsqueeze(2)
    values_BTF[..., : modality.channels] = torch.where(inside, varied, measured)
    return ColumnBatch(values_BTF, column.present, column.lengths)


def vary_points(modality: Modality, column: ColumnBatch) -> ColumnBatch:
    """Leave out points and frames at the ends, move and scale clouds and their points a little.

    Axes keep their meaning: clouds are mirrored or turned only where the modality's settings say so.

    Args:
        modality: The fitted points modality.
        column: float32 ``[B, T, P, F + 1]`` with lengths.

    Returns:
        The same layout, with other lengths.
    """
    assert isinstance(modality, Points)
    values, lengths = _cut_ends(column)
    axes = modality.num_axes
    size = len(column)
    turned = _turned(values[..., :axes], modality)
    scale, shift = 1 + _uniform((size, 1, 1, 1), POINT_SCALE), _uniform((size, 1, 1, axes), POINT_SHIFT)
    moved = torch.cat([turned * scale + shift, values[..., axes:-1]], dim=3)
    moved = moved + POINT_JITTER * torch.randn_like(moved)
    real = values[..., -1:] * _spared(values[..., -1:])
    return ColumnBatch(torch.cat([torch.where(real > 0, moved, 0), real], dim=3), column.present, lengths)


def _cut_ends(column: ColumnBatch) -> tuple[Tensor, Tensor]:
    """Leave out frames at both ends, at least one remains; returns values and lengths."""
    lengths = lengths_in_use(column)
    num_frames = column.values.shape[1]
    start, stop = ((torch.rand(len(column)) * (TIME_CUT * lengths + 1)).long().clamp(max=num_frames) for _ in range(2))
    left = torch.where(lengths > start + stop, lengths - start - stop, lengths)
    start = torch.where(lengths > start + stop, start, 0)
    place = (start.unsqueeze(1) + torch.arange(num_frames)).clamp(max=num_frames - 1)
    values = column.values[torch.arange(len(column)).unsqueeze(1), place]
    inside = steps_present(left, num_frames)[..., None, None]
    return torch.where(inside, values, 0), left


def _turned(xyz: Tensor, modality: Points) -> Tensor:
    """Mirror and turn clouds ``[B, T, P, A]``, each row by itself."""
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


def _spared(real: Tensor) -> Tensor:
    """Choose the points ``[B, T, P, 1]`` that stay; a row that would lose all keeps all."""
    share = torch.rand(len(real), 1, 1, 1) * POINT_DROPOUT
    spared = (torch.rand_like(real) >= share).to(real.dtype)
    emptied = (real * spared).sum(dim=(1, 2), keepdim=True) == 0
    return torch.where(emptied, torch.ones_like(spared), spared)
