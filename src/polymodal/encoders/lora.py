"""Low-rank adapters for frozen checkpoints: Hu et al. 2021, arXiv 2106.09685 (torch)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.errors import ConfigError

ATTENTION_PROJECTIONS = frozenset(
    {"query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin", "qkv", "query_key_value"}
)
"""What the layers that make queries, keys and values are called in ``transformers``."""
ALPHA = 16.0
DEFAULT_RANK = 8


class LowRank(nn.Module):
    """What is added to a linear layer's answer: ``alpha / r * B A x``, equation 3 of the paper.

    It starts as zero, so that training starts from the checkpoint as it is.
    """

    def __init__(self, num_in: int, num_out: int, rank: int) -> None:
        """Build both factors.

        Args:
            num_in: Input width.
            num_out: Output width.
            rank: r.
        """
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, num_in))
        self.up = nn.Parameter(torch.zeros(num_out, rank))
        self.scale = ALPHA / rank
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return the addition.

        Args:
            x: ``[..., num_in]``, what the linear layer reads.

        Returns:
            ``[..., num_out]``.
        """
        return functional.linear(functional.linear(x, self.down), self.scale * self.up)


def add_adapters(backbone: nn.Module, rank: int) -> nn.ModuleDict:
    """Freeze a checkpoint and add a low-rank adapter to each of its attentions' query, key and value layers.

    The adapters are joined by hooks: the checkpoint's own modules and weights stay what they are,
    so that it can be saved and loaded as before.

    Args:
        backbone: The checkpoint; is changed.
        rank: r of every adapter.

    Returns:
        The adapters by the name of their layer, with ``-`` in place of dots.

    Raises:
        ConfigError: If the checkpoint has no such layers.
    """
    backbone.requires_grad_(False)
    adapters = nn.ModuleDict()
    for name, layer in backbone.named_modules():
        if name.split(".")[-1] in ATTENTION_PROJECTIONS and isinstance(layer, nn.Linear):
            adapters[name.replace(".", "-")] = _attach(layer, rank)
    if not adapters:
        kind = type(backbone).__name__
        raise ConfigError(
            f"The checkpoint's model {kind} has no attention layers that low-rank adapters could be added to. "
            "Take tuning=frozen or tuning=full."
        )
    return adapters


def _attach(layer: nn.Linear, rank: int) -> LowRank:
    adapter = LowRank(layer.in_features, layer.out_features, rank)
    layer.register_forward_hook(partial(_add, adapter))  # not a closure: a copy's hook must know the copied adapter
    return adapter


def _add(adapter: LowRank, _: nn.Module, inputs: tuple[Any, ...], answer: Tensor) -> Tensor:
    added: Tensor = answer + adapter(inputs[0])
    return added
