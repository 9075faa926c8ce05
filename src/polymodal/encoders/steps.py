"""Ragged steps made ready for encoders: cleaned, stretched, stacked (torch).

Shape legend: B rows, T frames, F features of a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.layers import lengths_in_use, steps_present
from polymodal.tokens import ColumnBatch


def clean_steps(column: ColumnBatch) -> tuple[Tensor, Tensor]:
    """Return a ragged column as floats with zeros in padding and in absent rows.

    Args:
        column: Values ``[B, T, F]``; without lengths, all steps are in use.

    Returns:
        float32 ``[B, T, F]`` and the int64 lengths ``[B]``, 0 for absent rows.
    """
    lengths = lengths_in_use(column)
    keep = steps_present(lengths, column.values.shape[1]).unsqueeze(2)
    return torch.where(keep, column.values, 0).float(), lengths


def stretch_steps(values_BTF: Tensor, lengths: Tensor, num_frames: int) -> Tensor:
    """Resample each row's steps in use to the same number of frames (triangle filter).

    Args:
        values_BTF: ``[B, T, F]``.
        lengths: int64 ``[B]``.
        num_frames: Frames that come out.

    Returns:
        ``[B, num_frames, F]``.
    """
    scale = (lengths / num_frames).unsqueeze(1)
    centre = (torch.arange(num_frames, device=lengths.device) + 0.5) * scale - 0.5
    last = (lengths - 1).clamp(min=0).unsqueeze(1)
    centre = torch.minimum(centre.clamp(min=0), last)
    step = torch.arange(values_BTF.shape[1], device=lengths.device)
    distance = (step - centre.unsqueeze(2)).abs() / scale.clamp(min=1).unsqueeze(2)
    weights = (1 - distance).clamp(min=0) * (step <= last).unsqueeze(1)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6)
    return weights @ values_BTF


def stack_steps(values_BTF: Tensor, lengths: Tensor, stack: int) -> tuple[Tensor, Tensor]:
    """Put neighbouring frames side by side, so that there are fewer steps.

    Args:
        values_BTF: ``[B, T, F]``, zero in padding.
        lengths: int64 ``[B]``.
        stack: Frames per step.

    Returns:
        ``[B, ceil(T / stack), stack * F]`` and the new lengths.
    """
    padded = functional.pad(values_BTF, (0, 0, 0, -values_BTF.shape[1] % stack))
    return padded.reshape(len(padded), padded.shape[1] // stack, stack * padded.shape[2]), (
        lengths + stack - 1
    ) // stack
