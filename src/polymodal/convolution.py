"""Convolutions that learn in bfloat16 on a CPU without waiting for each other's threads (torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.precision import exact, has_sound_convolutions

Numbers = tuple[int, ...]


class _Lowered(torch.autograd.Function):
    """A convolution in bfloat16 whose weights get their gradient in float32.

    The bfloat16 kernel for that gradient lets threads wait for each other in a loop. Where two of them share a core,
    as in a container with fewer cores than threads or beside other work, it takes 500 ms in place of 2.
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
        differentiate = torch.ops.aten.convolution_backward
        grad_x = None
        if ctx.needs_input_grad[0]:
            wanted = [True, False, False]
            grad_x, _, _ = differentiate(grad, low, weight.to(torch.bfloat16), None, *ctx.options, wanted)
            grad_x = grad_x.to(ctx.dtype)
        wanted = [False, True, ctx.bias_sizes is not None]
        _, grad_weight, grad_bias = differentiate(
            grad.float(), low.float(), weight, ctx.bias_sizes, *ctx.options, wanted
        )
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _convolve(layer: nn.Conv1d | nn.Conv2d, x: Tensor, plain: Callable[[Tensor], Tensor]) -> Tensor:
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return plain(x)
    if not has_sound_convolutions(x.device):
        return convolve_exactly(layer, x)
    if not torch.is_grad_enabled():
        return plain(x)
    apply: Callable[..., Tensor] = _Lowered.apply
    return apply(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


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
