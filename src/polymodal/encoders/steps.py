"""Preprocessing of ragged time steps (masking, resampling, stacking), and projection to tokens (torch).

Shape legend: B rows, T steps, F features of a step, K tokens, W width of tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.layers import Dropout, lengths_in_use, pool_steps, small_parameter, steps_present
from polymodal.tokens import ColumnBatch, Detail, Tokens

STEP_S = 0.040
"""Maximum duration of a step of ``Tokens.detail``."""


class StepTokens(nn.Module):
    """Pooling of steps to at most ``max_tokens`` tokens, a projection and learned positions.

    The detail is the same projection of every step, without positions, since clips may be longer than in training.
    """

    def __init__(self, num_features: int, width: int, max_tokens: int, dropout: float, detail: bool = False) -> None:
        """Build the projection.

        Args:
            num_features: F of a step.
            width: W.
            max_tokens: Maximum number of tokens per row.
            dropout: Dropout probability.
            detail: Whether to return every time step as ``Tokens.detail``.
        """
        super().__init__()
        self.max_tokens = max_tokens
        self.detail = detail
        self.project = nn.Linear(num_features, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.positions = small_parameter(max_tokens, width)

    def forward(self, values_BTF: Tensor, lengths: Tensor) -> Tokens:
        """Pool and project.

        Args:
            values_BTF: ``[B, T, F]``.
            lengths: int64 ``[B]``; 0 for absent rows.

        Returns:
            Tokens ``[B, K, W]``; their detail is ``[B, T, W]``.
        """
        pooled_BKF, present = pool_steps(values_BTF, lengths, self.max_tokens)
        values_BKW = self.dropout(self.norm(self.project(pooled_BKF)))
        detail = self._steps(values_BTF, lengths) if self.detail else None
        return Tokens(values_BKW + self.positions[: values_BKW.shape[1]], present, detail)

    def _steps(self, values_BTF: Tensor, lengths: Tensor) -> Detail:
        present = steps_present(lengths, values_BTF.shape[1])
        values_BTW = self.dropout(self.norm(self.project(values_BTF)))
        return Detail(torch.where(present.unsqueeze(2), values_BTW, 0.0), present)


def mask_steps(column: ColumnBatch) -> tuple[Tensor, Tensor]:
    """Convert a ragged column to float32 with zeros in padding and in absent rows.

    Args:
        column: Values ``[B, T, F]``; without lengths, all steps are in use.

    Returns:
        float32 ``[B, T, F]`` and the int64 lengths ``[B]``, 0 for absent rows.
    """
    lengths = lengths_in_use(column)
    keep = steps_present(lengths, column.values.shape[1]).unsqueeze(2)
    return torch.where(keep, column.values, 0).float(), lengths


def resample_steps(values_BTF: Tensor, lengths: Tensor, num_frames: int) -> Tensor:
    """Resample the steps of each row to a fixed number of frames (triangle filter).

    Args:
        values_BTF: ``[B, T, F]``.
        lengths: int64 ``[B]``.
        num_frames: Frames of the output.

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
    """Concatenate the features of consecutive frames, which reduces the number of steps.

    Args:
        values_BTF: ``[B, T, F]``, zero in padding.
        lengths: int64 ``[B]``.
        stack: Frames per step.

    Returns:
        ``[B, ceil(T / stack), stack * F]`` and the new lengths.
    """
    num_rows, num_steps, num_features = values_BTF.shape
    padded = functional.pad(values_BTF, (0, 0, 0, -num_steps % stack))
    stacked_BTF = padded.reshape(num_rows, padded.shape[1] // stack, stack * num_features)
    return stacked_BTF, (lengths + stack - 1) // stack


def frames_per_step(hop_s: float) -> int:
    """Choose the number of frames per step of ``Tokens.detail``.

    Args:
        hop_s: Seconds from one frame to the next.

    Returns:
        4, 2 or 1: the most that stay within 40 ms, or 1.
    """
    return next((count for count in (4, 2) if count * hop_s <= STEP_S + 1e-9), 1)
