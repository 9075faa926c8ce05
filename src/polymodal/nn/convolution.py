"""Convolutions that learn in bfloat16 on a CPU: right, and without waiting for each other's threads (torch).

Shape legend: B rows, C channels in, O channels out, M places of the result in all rows, K values under a filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.precision import exact, has_sound_convolutions

Numbers = tuple[int, ...]

FEWEST_CHANNELS, LONGEST_FILTER, LARGEST_STRIDE = 16, 3, 2
"""Within these, bfloat16 convolutions of processors with AMX were right wherever tried (docs/performance.md)."""
PARTS, SEEN_AT_ONCE = 4, 2**25
"""Stretches of places that are multiplied side by side, and how many values of 16 bits are laid out for that."""

_differentiate = torch.ops.aten.convolution_backward


class _Lowered(torch.autograd.Function):
    """A convolution in bfloat16 whose weights get their gradient otherwise.

    The bfloat16 kernel for that gradient lets threads wait for each other in a loop. Where two of them share a core,
    as in a container with fewer cores than threads or beside other work, it takes 500 ms in place of 2. So float32 is
    used; with AMX, whose kernel writes where it must not, one product of matrices in bfloat16.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Numbers,
        padding: Numbers,
        dilation: Numbers,
        groups: int,
    ) -> Tensor:
        low = x.to(torch.bfloat16)
        ctx.save_for_backward(low, weight)
        ctx.dtype, ctx.bias_sizes = x.dtype, None if bias is None else list(bias.shape)
        ctx.options = (stride, padding, dilation, False, (0,) * len(stride), groups)
        low_bias = None if bias is None else bias.to(torch.bfloat16)
        return torch.convolution(low, weight.to(torch.bfloat16), low_bias, *ctx.options)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (low, weight) = grads, ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            found = _differentiate(grad, low, weight.to(torch.bfloat16), None, *ctx.options, [True, False, False])
            grad_x = found[0].to(ctx.dtype)
        has_bias = ctx.bias_sizes is not None
        if has_sound_convolutions(grad.device):
            wanted = [False, True, has_bias]
            _, grad_weight, grad_bias = _differentiate(
                grad.float(), low.float(), weight, ctx.bias_sizes, *ctx.options, wanted
            )
        else:
            grad_weight = _weight_gradient(grad, low, weight.shape[2:], *ctx.options[:2])
            grad_bias = grad.float().sum((0, *range(2, grad.ndim))) if has_bias else None
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _weight_gradient(grad: Tensor, x: Tensor, size: Numbers, stride: Numbers, padding: Numbers) -> Tensor:
    """Multiply what filters were to answer by what they saw: bfloat16 to float32 ``[O, C, *size]``."""
    answers, seen = grad.movedim(1, -1), _seen(x, size, stride, padding)
    rows = max(1, SEEN_AT_ONCE // math.prod(seen.shape[1:]))
    parts = zip(torch.split(answers, rows), torch.split(seen, rows), strict=True)
    first, *others = [_product(answered.flatten(0, -2), seen.flatten(-len(size) - 1)) for answered, seen in parts]
    return sum(others, first).view(grad.shape[1], *size, x.shape[1]).movedim(-1, 1)


def _product(answers_MO: Tensor, seen: Tensor) -> Tensor:
    """Multiply stretches of places side by side, and add them up in float32: ``[O, K]``."""
    seen_MK = seen.flatten(0, -2)
    even = len(seen_MK) // PARTS * PARTS
    parts = [values[:even].view(PARTS, even // PARTS, values.shape[1]) for values in (answers_MO, seen_MK)]
    summed_OK = (parts[0].mT @ parts[1]).sum(dim=0, dtype=torch.float32)
    return summed_OK if even == len(seen_MK) else summed_OK + answers_MO[even:].mT @ seen_MK[even:]


def _seen(x: Tensor, size: Numbers, stride: Numbers, padding: Numbers) -> Tensor:
    """Find what lies under a filter at each place: a view ``[B, *places, *size, C]`` of padded cells."""
    sides = [pad for pad in reversed(padding) for _ in range(2)]
    last = functional.pad(x.movedim(1, -1), (0, 0, *sides)).contiguous()
    for axis, (extent, step) in enumerate(zip(size, stride, strict=True), start=1):
        last = last.unfold(axis, extent, step)
    return last.movedim(1 + len(size), -1)


def _convolve(layer: nn.Conv1d | nn.Conv2d, x: Tensor, plain: Callable[[Tensor], Tensor]) -> Tensor:
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return plain(x)
    if not (has_sound_convolutions(x.device) or _is_usual(layer, x)):
        return convolve_exactly(layer, x)
    if not torch.is_grad_enabled():
        return plain(x)
    apply: Callable[..., Tensor] = _Lowered.apply
    return apply(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _is_usual(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution is of the kind that is right with AMX: within the bounds, several values in a line."""
    is_near = all(size in (1, LONGEST_FILTER) for size in layer.kernel_size) and max(layer.stride) <= LARGEST_STRIDE
    is_plain = layer.groups == 1 and max(layer.dilation) == 1 and layer.in_channels >= FEWEST_CHANNELS
    keeps_size = tuple(layer.padding) == tuple(size // 2 for size in layer.kernel_size)
    return is_near and is_plain and keeps_size and x.shape[-1] > layer.stride[-1]


def convolve_exactly(layer: Any, x: Tensor) -> Tensor:
    """Convolve in float32, whatever the weights and the context are.

    Args:
        layer: One of torch's convolutions, or of ours.
        x: What it convolves.

    Returns:
        float32.
    """
    bias = None if layer.bias is None else layer.bias.float()
    with exact(x.device):
        found: Tensor = layer._conv_forward(x.float(), layer.weight.float(), bias)
    return found


class Conv1d(nn.Conv1d):
    """``torch.nn.Conv1d``, padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: ``[B, C, T]``.

        Returns:
            ``[B, C, T]``; bfloat16 where it learns in lower precision, unless its convolutions are unsound there.
        """
        return _convolve(self, x, super().forward)


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d``, padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: ``[B, C, H, W]``.

        Returns:
            ``[B, C, H, W]``; bfloat16 where it learns in lower precision, unless its convolutions are unsound there.
        """
        return _convolve(self, x, super().forward)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d`` that always computes in float32."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve.

        Args:
            x: ``[B, C, H, W]``.
            output_size: Height and width of the result, where several are possible.

        Returns:
            float32 ``[B, C, H, W]``.
        """
        with exact(x.device):
            return super().forward(x.float(), output_size)
