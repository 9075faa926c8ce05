"""Filters over neighbouring steps of rows of different lengths (torch).

Shape legend: B rows of the batch, N steps in use of all rows, P places of the line they lie in, W width of a step,
F sizes of filters, C filters of a size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.tokens import rounded_up


@dataclass(frozen=True)
class PackedSteps:
    """The steps in use of padded rows, one after the other.

    Attributes:
        values: ``[N, W]``.
        row: int64 ``[N]``, the row of each.
        time: int64 ``[N]``, its place in the row.
        lengths: int64 ``[B]``, places of each row; not all of them need to be in use.
    """

    values: Tensor
    row: Tensor
    time: Tensor
    lengths: Tensor

    @classmethod
    def pack(cls, values_BTW: Tensor, inside_BT: Tensor, lengths: Tensor) -> PackedSteps:
        """Take the steps in use out of padded rows.

        Args:
            values_BTW: ``[B, T, W]``.
            inside_BT: bool ``[B, T]``, which steps are in use.
            lengths: int64 ``[B]``, places of each row.

        Returns:
            The steps.
        """
        row_N, time_N = inside_BT.nonzero(as_tuple=True)
        return cls(values_BTW[row_N, time_N], row_N, time_N, lengths)

    def to_padded(self, num_steps: int) -> Tensor:
        """Put the steps back to their places.

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
    """Filters of several sizes, and each one's maximum over time in a row: Kim 2014, arXiv 1408.5882, figure 1.

    Only steps in use are computed, in matrix products over a line in which all rows lie, parted by empty places: on a
    CPU half of the time of convolutions over padded rows. A place that is not in use counts as zeros.
    """

    def __init__(self, width: int, num_filters: int, sizes: Sequence[int]) -> None:
        """Build the filters.

        Args:
            width: W.
            num_filters: C.
            sizes: Steps that filters look at; of an even number, one more lies ahead than behind.
        """
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size * width, num_filters) for size in sizes)
        self.sizes = tuple(sizes)
        self.gap = max(sizes) // 2

    def forward(self, steps: PackedSteps) -> Tensor:
        """Find the maximum over time.

        Args:
            steps: The rows.

        Returns:
            float32 ``[B, F, C]``, at least 0.
        """
        num_rows = len(steps.lengths)
        begin_B = (steps.lengths + self.gap).cumsum(0) - steps.lengths
        place_N = begin_B[steps.row] + steps.time
        num_windows = rounded_up(int(steps.lengths.sum()) + max(num_rows - 1, 0) * self.gap)
        num_places = num_windows + 2 * self.gap
        line_PW = steps.values.new_zeros(num_places, steps.values.shape[1]).index_copy(0, place_N, steps.values)
        row_P = steps.row.new_full((num_windows,), num_rows)  # what is not in use is of one row more
        row_P[place_N - self.gap] = steps.row
        last = num_places - self.gap
        around = {shift: line_PW[self.gap + shift : last + shift] for shift in range(-self.gap, self.gap + 1)}
        found = []
        for size, layer in zip(self.sizes, self.layers, strict=True):
            window = torch.cat([around[shift] for shift in range(-((size - 1) // 2), size // 2 + 1)], dim=1)
            largest = _MaxOverTime.apply(layer(window), row_P, num_rows + 1)  # type: ignore[no-untyped-call]
            found.append(largest[:num_rows])
        return torch.stack(found, dim=1).float()


class _MaxOverTime(torch.autograd.Function):
    """The largest answer of each row, at least 0; all answers that are as large as it get its gradient.

    Torch's own gradient divides it among them, which takes three passes more.
    """

    @staticmethod
    def forward(ctx: Any, answers_PC: Tensor, row_P: Tensor, num_rows: int) -> Tensor:
        """Find each row's largest answers ``[num_rows, C]``."""
        nothing = answers_PC.new_zeros(num_rows, answers_PC.shape[1])
        largest = nothing.scatter_reduce(0, row_P.unsqueeze(1).expand_as(answers_PC), answers_PC, "amax")
        ctx.save_for_backward(answers_PC, row_P, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Give the gradients to the answers."""
        answers_PC, row_P, largest = ctx.saved_tensors
        return torch.where(answers_PC == largest[row_P], grad[row_P], 0), None, None
