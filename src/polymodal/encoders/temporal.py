"""Layers over time steps, for series and sequences of point clouds (torch).

Layers map ``[B, T, W]`` and lengths to the same number of steps; padding does not affect the output.
Shape legend: B rows of the batch, T steps, D features of a step, K tokens, W width, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from polymodal.nn.attention import Transformer
from polymodal.nn.convolution import Conv1d
from polymodal.nn.layers import Dropout, MaskedGroupNorm, num_groups, sinusoidal_positions, steps_present
from polymodal.tokens import Tokens

MAX_LEVELS = 6
EPSILON = 1e-6
"""Added before a square root, whose gradient is infinite at 0."""


class TemporalConvolutions(nn.Module):
    """A temporal convolutional network: Bai, Kolter and Koltun 2018, arXiv 1803.01271, figure 1.

    Differs from the source: the convolutions are not causal; group norm in place of weight norm.
    """

    def __init__(self, width: int, levels: int, kernel_size: int, dropout: float) -> None:
        """Build the levels; the dilation doubles from one to the next.

        Args:
            width: W, also the channels of all layers.
            levels: Number of residual blocks.
            kernel_size: Kernel size, odd.
            dropout: Dropout probability.
        """
        super().__init__()
        self.blocks = nn.ModuleList(DilatedBlock(width, kernel_size, 2**level, dropout) for level in range(levels))

    def forward(self, x_BTW: Tensor, lengths: Tensor) -> Tensor:
        """Run all levels.

        Args:
            x_BTW: ``[B, T, W]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, W]``, zero in padding.
        """
        keep_B1T = steps_present(lengths, x_BTW.shape[1]).to(x_BTW.dtype).unsqueeze(1)
        x_BCT = x_BTW.transpose(1, 2) * keep_B1T
        for block in self.blocks:
            x_BCT = block(x_BCT, keep_B1T)
        return x_BCT.transpose(1, 2)


class DilatedBlock(nn.Module):
    """Two dilated convolutions with a residual connection: Bai et al. 2018, figure 1 (b)."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        """Build the block.

        Args:
            channels: C.
            kernel_size: Kernel size, odd.
            dilation: Dilation of the convolutions.
            dropout: Dropout probability.
        """
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.convolutions = nn.ModuleList(
            Conv1d(channels, channels, kernel_size, padding=padding, dilation=dilation, bias=False) for _ in range(2)
        )
        self.norms = nn.ModuleList(MaskedGroupNorm(num_groups(channels), channels) for _ in range(2))
        self.dropout = Dropout(dropout)

    def forward(self, x_BCT: Tensor, keep_B1T: Tensor) -> Tensor:
        """Run the block.

        Args:
            x_BCT: ``[B, C, T]``, zero in padding.
            keep_B1T: float; 1 where a step is in use, else 0.

        Returns:
            ``[B, C, T]``, zero in padding.
        """
        y_BCT = x_BCT
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y_BCT = self.dropout(norm(convolution(y_BCT), keep_B1T).relu_())
        return x_BCT + y_BCT


class TemporalTransformer(nn.Module):
    """A pre-norm transformer with sinusoidal positions."""

    def __init__(self, width: int, depth: int, num_heads: int, dropout: float) -> None:
        """Build the layers.

        Args:
            width: W.
            depth: Number of layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__()
        self.layers = Transformer(width, depth, num_heads, dropout)

    def forward(self, x_BTW: Tensor, lengths: Tensor) -> Tensor:
        """Run all layers.

        Args:
            x_BTW: ``[B, T, W]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, T, W]``.
        """
        num_steps, width = x_BTW.shape[1:]
        positions_TW = sinusoidal_positions(num_steps, width).to(x_BTW.device)
        steps: Tensor = self.layers(x_BTW + positions_TW, steps_present(lengths, num_steps))
        return steps


class StatisticsPooling(nn.Module):
    """One token by statistics pooling over time: Snyder et al. 2018 (X-vectors).

    Differs from the source: the mean absolute difference of consecutive steps is added to mean and standard deviation.
    """

    def __init__(self, num_features: int, width: int, dropout: float) -> None:
        """Build the projection.

        Args:
            num_features: D of a step.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__()
        self.project = nn.Sequential(nn.Linear(3 * num_features, width), nn.LayerNorm(width), Dropout(dropout))

    def forward(self, steps_BTD: Tensor, lengths: Tensor) -> Tensor:
        """Compute the statistics and project them.

        Args:
            steps_BTD: ``[B, T, D]``.
            lengths: int64 ``[B]``.

        Returns:
            ``[B, 1, W]``.
        """
        keep_BT1 = steps_present(lengths, steps_BTD.shape[1]).unsqueeze(2).to(steps_BTD.dtype)
        mean = _mean_over_time(steps_BTD, keep_BT1)
        square = _mean_over_time((steps_BTD - mean.unsqueeze(1)).square(), keep_BT1)
        change = _mean_over_time(steps_BTD.diff(dim=1).abs(), keep_BT1[:, 1:])
        token: Tensor = self.project(torch.cat([mean, (square + EPSILON).sqrt(), change], dim=1))
        return token.unsqueeze(1)


def _mean_over_time(values_BTD: Tensor, keep_BT1: Tensor) -> Tensor:
    return (values_BTD * keep_BT1).sum(dim=1) / keep_BT1.sum(dim=1).clamp(min=1)


def prepend_token(token_B1W: Tensor, tokens: Tokens) -> Tokens:
    """Prepend a token of the whole row to the tokens of its steps.

    Args:
        token_B1W: ``[B, 1, W]``.
        tokens: ``[B, K, W]``.

    Returns:
        Tokens ``[B, 1 + K, W]``; the first one is present where the row is.
    """
    present = torch.cat([tokens.row_present.unsqueeze(1), tokens.present], dim=1)
    return Tokens(torch.cat([token_B1W, tokens.values], dim=1), present)


def levels_to_span(num_steps: int, kernel_size: int) -> int:
    """Return the number of levels with which the receptive field of the middle step covers a series.

    Args:
        num_steps: Steps of a median series.
        kernel_size: Kernel size in steps.

    Returns:
        2 to 6.
    """
    needed = math.log2(max(num_steps, 1) / (2 * max(kernel_size - 1, 1)) + 1)
    return min(max(math.ceil(needed), 2), MAX_LEVELS)
