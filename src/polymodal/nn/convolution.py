"""Convolutions for training in bfloat16 on a CPU that avoid wrong and slow kernels of oneDNN (torch).

Shape legend: B rows, C input channels, O output channels, M output positions of all rows, K values of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.precision import autocast_disabled, has_correct_bfloat16_convolutions

Sizes = tuple[int, ...]

MIN_CHANNELS, KERNEL_SIZE, MAX_STRIDE = 16, 3, 2
"""Within these bounds all tested bfloat16 convolutions with AMX were correct (docs/performance.md)."""
NUM_CHUNKS, MAX_PATCH_VALUES = 4, 2**25
"""Chunks of positions in a batched product; bfloat16 values of the patches that are laid out at once."""

_convolution_backward = torch.ops.aten.convolution_backward


class _Bfloat16Convolution(torch.autograd.Function):
    """A convolution in bfloat16 with another kernel for the gradient of the weights.

    The threads of oneDNN's bfloat16 kernel for that gradient spin while they wait for each other. If two of them share
    a core, as in a container with fewer cores than threads or beside other processes, it takes 500 ms instead of 2. So
    float32 is used; with AMX, whose kernel writes out of bounds, a matrix product in bfloat16.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sizes,
        padding: Sizes,
        dilation: Sizes,
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
            result = _convolution_backward(
                grad, low, weight.to(torch.bfloat16), None, *ctx.options, [True, False, False]
            )
            grad_x = result[0].to(ctx.dtype)
        has_bias = ctx.bias_sizes is not None
        if has_correct_bfloat16_convolutions(grad.device):
            output_mask = [False, True, has_bias]
            _, grad_weight, grad_bias = _convolution_backward(
                grad.float(), low.float(), weight, ctx.bias_sizes, *ctx.options, output_mask
            )
        else:
            grad_weight = _weight_gradient(grad, low, weight.shape[2:], *ctx.options[:2])
            grad_bias = grad.float().sum((0, *range(2, grad.ndim))) if has_bias else None
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _weight_gradient(grad: Tensor, x: Tensor, size: Sizes, stride: Sizes, padding: Sizes) -> Tensor:
    """Multiply the output's gradient by the patches of the input: bfloat16 to float32 ``[O, C, *size]``."""
    grad, patches = grad.movedim(1, -1), _patches(x, size, stride, padding)
    rows = max(1, MAX_PATCH_VALUES // math.prod(patches.shape[1:]))
    batches = zip(torch.split(grad, rows), torch.split(patches, rows), strict=True)
    first, *others = [_product(g.flatten(0, -2), p.flatten(-len(size) - 1)) for g, p in batches]
    return sum(others, first).view(grad.shape[-1], *size, x.shape[1]).movedim(-1, 1)


def _product(grad_MO: Tensor, patches: Tensor) -> Tensor:
    """Multiply chunks of positions in one batched product, and sum them in float32: ``[O, K]``."""
    patches_MK = patches.flatten(0, -2)
    even = len(patches_MK) // NUM_CHUNKS * NUM_CHUNKS
    chunks = [values[:even].view(NUM_CHUNKS, even // NUM_CHUNKS, values.shape[1]) for values in (grad_MO, patches_MK)]
    sum_OK = (chunks[0].mT @ chunks[1]).sum(dim=0, dtype=torch.float32)
    return sum_OK if even == len(patches_MK) else sum_OK + grad_MO[even:].mT @ patches_MK[even:]


def _patches(x: Tensor, size: Sizes, stride: Sizes, padding: Sizes) -> Tensor:
    """Return the input patch of each output position: a view ``[B, *positions, *size, C]`` of the padded input."""
    sides = [pad for pad in reversed(padding) for _ in range(2)]
    padded = functional.pad(x.movedim(1, -1), (0, 0, *sides)).contiguous()
    for axis, (extent, step) in enumerate(zip(size, stride, strict=True), start=1):
        padded = padded.unfold(axis, extent, step)
    return padded.movedim(1 + len(size), -1)


def _convolve(layer: nn.Conv1d | nn.Conv2d, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return forward(x)
    if not (has_correct_bfloat16_convolutions(x.device) or _is_verified(layer, x)):
        return convolve_float32(layer, x)
    if not torch.is_grad_enabled():
        return forward(x)
    apply: Callable[..., Tensor] = _Bfloat16Convolution.apply
    return apply(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _is_verified(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution is of a kind that was tested to be correct with AMX."""
    is_small = all(size in (1, KERNEL_SIZE) for size in layer.kernel_size) and max(layer.stride) <= MAX_STRIDE
    is_dense = layer.groups == 1 and max(layer.dilation) == 1 and layer.in_channels >= MIN_CHANNELS
    keeps_size = tuple(layer.padding) == tuple(size // 2 for size in layer.kernel_size)
    return is_small and is_dense and keeps_size and x.shape[-1] > layer.stride[-1]


def convolve_float32(layer: Any, x: Tensor) -> Tensor:
    """Compute a convolution in float32, whatever the dtype of the weights and the autocast context.

    Args:
        layer: A convolution of torch or of this module.
        x: Its input.

    Returns:
        float32.
    """
    bias = None if layer.bias is None else layer.bias.float()
    with autocast_disabled(x.device):
        result: Tensor = layer._conv_forward(x.float(), layer.weight.float(), bias)
    return result


class Conv1d(nn.Conv1d):
    """``torch.nn.Conv1d`` with zero padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution.

        Args:
            x: ``[B, C, T]``.

        Returns:
            ``[B, C, T]``; bfloat16 under autocast, unless the kernel may be wrong there.
        """
        return _convolve(self, x, super().forward)


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` with zero padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution.

        Args:
            x: ``[B, C, H, W]``.

        Returns:
            ``[B, C, H, W]``; bfloat16 under autocast, unless the kernel may be wrong there.
        """
        return _convolve(self, x, super().forward)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d`` that always computes in float32."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Compute the convolution.

        Args:
            x: ``[B, C, H, W]``.
            output_size: Height and width of the output, where several are possible.

        Returns:
            float32 ``[B, C, H, W]``.
        """
        with autocast_disabled(x.device):
            return super().forward(x.float(), output_size)
