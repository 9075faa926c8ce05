"""Layers and functions that encoders, fusions and heads have in common (torch).

Shape legend: B rows of the batch, T steps, K pooled tokens, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from polymodal.tokens import ColumnBatch


def lengths_in_use(column: ColumnBatch) -> Tensor:
    """Return the length of each row.

    Args:
        column: Cells of variable length; without lengths, all steps are in use.

    Returns:
        int64 ``[B]``, 0 for absent rows.
    """
    lengths = column.lengths
    if lengths is None:
        lengths = torch.full((column.values.shape[0],), column.values.shape[1], device=column.values.device)
    return torch.where(column.row_present, lengths, 0)


def steps_present(lengths: Tensor, num_steps: int) -> Tensor:
    """Return the mask of the steps in use of padded rows.

    Args:
        lengths: int64 ``[B]``.
        num_steps: T, the padded length.

    Returns:
        bool ``[B, T]``; False in padding.
    """
    return torch.arange(num_steps, device=lengths.device) < lengths.unsqueeze(1)


def pool_steps(values_BTW: Tensor, lengths: Tensor, max_tokens: int) -> tuple[Tensor, Tensor]:
    """Pool each row to at most ``max_tokens`` tokens, the means of equal segments of its steps.

    A row of ``max_tokens`` steps or fewer is unchanged; padding is ignored.

    Args:
        values_BTW: ``[B, T, W]``; finite everywhere.
        lengths: int64 ``[B]``, steps in use.
        max_tokens: Largest number of tokens of a row.

    Returns:
        Values ``[B, K, W]``, zeros in padding, and the mask of the tokens in use, bool ``[B, K]``.
    """
    num_steps = values_BTW.shape[1]
    num_pooled = torch.sym_min(max_tokens, num_steps)  # type: ignore[no-untyped-call]
    index = torch.arange(num_pooled, device=lengths.device)
    num_tokens = lengths.clamp(max=max_tokens).unsqueeze(1)
    divisor = num_tokens.clamp(min=1)
    start = index * lengths.unsqueeze(1) // divisor
    stop = ((index + 1) * lengths.unsqueeze(1) + divisor - 1) // divisor
    step = torch.arange(num_steps, device=lengths.device)
    present_BK = index < num_tokens
    inside_BKT = (step >= start.unsqueeze(2)) & (step < stop.unsqueeze(2)) & present_BK.unsqueeze(2)
    weights_BKT = inside_BKT.to(values_BTW.dtype) / (stop - start).clamp(min=1).unsqueeze(2)
    return weights_BKT @ values_BTW, present_BK


def pooling_matrix(num_in: int, num_out: int) -> Tensor:
    """Return adaptive average pooling as a matrix.

    Args:
        num_in: Values to pool.
        num_out: Means.

    Returns:
        float32 ``[num_out, num_in]``; rows sum to 1.
    """
    spans = [(out * num_in // num_out, -(-(out + 1) * num_in // num_out)) for out in range(num_out)]
    return torch.tensor([[(low <= place < high) / (high - low) for place in range(num_in)] for low, high in spans])


def split_channels(values_BTF: Tensor, channels: int) -> Tensor:
    """Move the channels of a sound, concatenated in every frame, to an axis of their own.

    Args:
        values_BTF: ``[B, T, channels * features]``.
        channels: Channels of the sound.

    Returns:
        ``[B, channels, T, features]``.
    """
    num_rows, num_steps, num_features = values_BTF.shape
    return values_BTF.reshape(num_rows, num_steps, channels, num_features // channels).transpose(1, 2)


def sinusoidal_positions(num_positions: int, width: int) -> Tensor:
    """Return fixed position embeddings: Vaswani et al. 2017, arXiv 1706.03762, section 3.5.

    Args:
        num_positions: T.
        width: W, even or odd.

    Returns:
        ``[T, W]``, sines in the even and cosines in the odd columns.
    """
    position = torch.arange(num_positions).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    table = torch.zeros(num_positions, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)[:, : width // 2]
    return table


def small_parameter(*shape: int) -> nn.Parameter:
    """Return a parameter with small random initial values, as for embeddings and learned tokens.

    Args:
        *shape: Its shape.

    Returns:
        The parameter, initialised from a normal distribution of standard deviation 0.02.
    """
    return nn.Parameter(torch.randn(shape) * 0.02)


class Dropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014, JMLR 15) with 16 random bits a value, which takes a third of the time on a CPU.

    Differs from the source: the probability is rounded to a multiple of 1 / 65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Set random values to zero and scale the others up.

        Args:
            x: Any shape.

        Returns:
            The same shape and dtype.
        """
        levels = 2**16
        dropped = round(self.p * levels)
        if not self.training or dropped in (0, levels) or x.device.type != "cpu":
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - levels // 2
        return x * kept.to(x.dtype).mul_(levels / (levels - dropped))


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018, arXiv 1803.08494), in float32 also under bfloat16 autocast on a CPU.

    There, torch's bfloat16 kernel is slow with channels last, and a change of layout costs more than one of dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each row independently.

        Args:
            x: ``[B, C, ...]``.

        Returns:
            The same shape and memory format; bfloat16 under autocast on a CPU, else the same dtype.
        """
        if x.device.type != "cpu":
            return super().forward(x)
        normalised = super().forward(x.float() if x.dtype == torch.bfloat16 else x)
        return normalised.to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype)


def use_channels_last(module: nn.Module) -> None:
    """Convert a module to the memory format ``channels_last``, which is faster.

    Args:
        module: Convolutions over pictures.
    """
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class MaskedGroupNorm(GroupNorm):
    """Group normalisation (Wu and He 2018, arXiv 1803.08494) over the steps in use.

    Differs from the source: padding is ignored in mean and variance, and stays zero.
    """

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Normalise each row independently.

        Args:
            x: ``[B, C, T, ...]``.
            keep: float ``[B, 1, T, ...]`` (trailing sizes 1); 1 where a step is in use, else 0. None: all are.

        Returns:
            The shape of ``x``, zero in padding.
        """
        if keep is None:
            return super().forward(x)
        axes = tuple(range(2, x.ndim))
        x, keep = x.float(), keep.float()
        x = x * keep
        count = keep.sum(axes) * math.prod(x.shape[3:])
        mean_BG = self._group_mean(x.sum(axes) / count.clamp(min=1))
        square_BG = self._group_mean((x * x).sum(axes) / count.clamp(min=1))
        scale_BG = torch.rsqrt((square_BG - mean_BG * mean_BG).clamp(min=0) + self.eps)
        scale_BC = self._to_channels(scale_BG) * self.weight
        shift_BC = self.bias - self._to_channels(mean_BG) * scale_BC
        shape = (*scale_BC.shape, *(1,) * len(axes))
        return (x * scale_BC.reshape(shape) + shift_BC.reshape(shape)) * keep

    def _group_mean(self, x_BC: Tensor) -> Tensor:
        group_size = x_BC.shape[1] // self.num_groups
        return x_BC.view(x_BC.shape[0], self.num_groups, group_size).mean(dim=2)

    def _to_channels(self, x_BG: Tensor) -> Tensor:
        return x_BG.repeat_interleave(len(self.weight) // self.num_groups, dim=1)


def num_groups(num_channels: int) -> int:
    """Choose the number of groups of a group norm: at most 8.

    Args:
        num_channels: C.

    Returns:
        The largest divisor of C up to 8.
    """
    return max(groups for groups in range(1, 9) if num_channels % groups == 0)
