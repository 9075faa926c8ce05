"""Convolution over packed sequences with max-over-time pooling (torch).

Shape legend: B rows of the batch, N steps in use of all rows, P positions of the concatenated rows, W width of a step,
F filter sizes, C filters of each size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.tokens import rounded_up


@dataclass(frozen=True)
class PackedSteps:
    """The steps in use of padded rows, concatenated.

    Attributes:
        values: ``[N, W]``.
        row: int64 ``[N]``, the row of each.
        time: int64 ``[N]``, its position in the row.
        lengths: int64 ``[B]``, length of each row; some of its steps may be masked.
    """

    values: Tensor
    row: Tensor
    time: Tensor
    lengths: Tensor

    @classmethod
    def pack(cls, values_BTW: Tensor, inside_BT: Tensor, lengths: Tensor) -> PackedSteps:
        """Pack the steps in use of padded rows.

        Args:
            values_BTW: ``[B, T, W]``.
            inside_BT: bool ``[B, T]``, which steps are in use.
            lengths: int64 ``[B]``, length of each row.

        Returns:
            The steps.
        """
        row_N, time_N = inside_BT.nonzero(as_tuple=True)
        return cls(values_BTW[row_N, time_N], row_N, time_N, lengths)

    def to_padded(self, num_steps: int) -> Tensor:
        """Scatter the steps to padded rows.

        Args:
            num_steps: T.

        Returns:
            ``[B, T, W]``, zero elsewhere.
        """
        width = self.values.shape[1]
        flat = self.values.new_zeros(len(self.lengths) * num_steps, width)
        flat = flat.index_copy(0, self.row * num_steps + self.time, self.values)
        return flat.view(len(self.lengths), num_steps, width)


class NgramConvolution(nn.Module):
    """Filters of several sizes and max-over-time pooling with ReLU: Kim 2014, arXiv 1408.5882, figure 1.

    Only steps in use are computed, as matrix products over all rows concatenated with zero padding between them: on a
    CPU half of the time of convolutions over padded rows. Masked steps count as zeros.
    """

    def __init__(self, width: int, num_filters: int, sizes: Sequence[int]) -> None:
        """Build the filters.

        Args:
            width: W.
            num_filters: C.
            sizes: Kernel sizes; an even kernel covers one more step after than before the current one.
        """
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size * width, num_filters) for size in sizes)
        self.sizes = tuple(sizes)
        self.gap = max(sizes) // 2

    def forward(self, steps: PackedSteps) -> Tensor:
        """Convolve and pool.

        Args:
            steps: The rows.

        Returns:
            float32 ``[B, F, C]``, at least 0.
        """
        num_rows = len(steps.lengths)
        begin_B = (steps.lengths + self.gap).cumsum(0) - steps.lengths
        position_N = begin_B[steps.row] + steps.time
        num_windows = rounded_up(int(steps.lengths.sum()) + max(num_rows - 1, 0) * self.gap)
        num_positions = num_windows + 2 * self.gap
        concatenated_PW = steps.values.new_zeros(num_positions, steps.values.shape[1]).index_copy(
            0, position_N, steps.values
        )
        row_P = steps.row.new_full((num_windows,), num_rows)  # the index num_rows collects padding
        row_P[position_N - self.gap] = steps.row
        last = num_positions - self.gap
        around = {shift: concatenated_PW[self.gap + shift : last + shift] for shift in range(-self.gap, self.gap + 1)}
        found = []
        for size, layer in zip(self.sizes, self.layers, strict=True):
            window = torch.cat([around[shift] for shift in range(-((size - 1) // 2), size // 2 + 1)], dim=1)
            largest = _MaxOverTime.apply(layer(window), row_P, num_rows + 1)  # type: ignore[no-untyped-call]
            found.append(largest[:num_rows])
        return torch.stack(found, dim=1).float()

    def convolve_padded(self, values_BTW: Tensor, inside_BT: Tensor) -> Tensor:
        """Convolve and pool padded rows without operations whose output shapes depend on values, for exported graphs.

        Args:
            values_BTW: ``[B, T, W]``.
            inside_BT: bool ``[B, T]``, which steps are in use; the others count as zeros.

        Returns:
            ``[B, F, C]``, at least 0: the same as ``forward`` of the packed steps.
        """
        num_steps, inside_BT1 = values_BTW.shape[1], inside_BT.unsqueeze(2)
        padded_BPW = functional.pad(torch.where(inside_BT1, values_BTW, 0), (0, 0, self.gap, self.gap))
        around = [padded_BPW[:, start : start + num_steps] for start in range(2 * self.gap + 1)]
        found = []
        for size, layer in zip(self.sizes, self.layers, strict=True):
            first = self.gap - (size - 1) // 2
            window_BTW = torch.cat(around[first : first + size], dim=2)
            found.append(torch.where(inside_BT1, layer(window_BTW), 0).amax(dim=1).relu())
        return torch.stack(found, dim=1).float()


class _MaxOverTime(torch.autograd.Function):
    """The maximum of each row, at least 0; the gradient goes to all values that equal it.

    The gradient of ``torch.scatter_reduce`` is divided among them, which takes three more passes.
    """

    @staticmethod
    def forward(ctx: Any, values_PC: Tensor, row_P: Tensor, num_rows: int) -> Tensor:
        """Return the maximum of each row ``[num_rows, C]``."""
        nothing = values_PC.new_zeros(num_rows, values_PC.shape[1])
        largest = nothing.scatter_reduce(0, row_P.unsqueeze(1).expand_as(values_PC), values_PC, "amax")
        ctx.save_for_backward(values_PC, row_P, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradients of the values."""
        values_PC, row_P, largest = ctx.saved_tensors
        return torch.where(values_PC == largest[row_P], grad[row_P], 0), None, None
