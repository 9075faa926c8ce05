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
"""Names of query, key and value projections in ``transformers``."""
ALPHA = 16.0
DEFAULT_RANK = 8


class LowRank(nn.Module):
    """The low-rank update of a linear layer's output: ``alpha / r * B A x``, equation 3 of the paper.

    Its initial value is zero, so that training starts from the checkpoint's outputs.
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
        """Return the update.

        Args:
            x: ``[..., num_in]``, input of the linear layer.

        Returns:
            ``[..., num_out]``.
        """
        return functional.linear(functional.linear(x, self.down), self.scale * self.up)


def add_adapters(backbone: nn.Module, rank: int) -> nn.ModuleDict:
    """Freeze a checkpoint and add a low-rank adapter to each query, key and value projection.

    The adapters are forward hooks: the modules and weights of the checkpoint are unchanged, so that it can be saved and
    loaded without them.

    Args:
        backbone: The checkpoint; modified in place.
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
            "Choose tuning=frozen or tuning=full."
        )
    return adapters


def _attach(layer: nn.Linear, rank: int) -> LowRank:
    adapter = LowRank(layer.in_features, layer.out_features, rank)
    layer.register_forward_hook(partial(_add, adapter))  # not a closure: deepcopy must copy the adapter of the hook
    return adapter


def _add(adapter: LowRank, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    added: Tensor = output + adapter(inputs[0])
    return added
