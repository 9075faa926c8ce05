"""Vector encoders: from ``[B, dim]`` standardised floats to one token (torch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from polymodal.nn.layers import Dropout
from polymodal.tokens import ColumnBatch, Tokens

if TYPE_CHECKING:
    from polymodal.modalities.vector import Vector


def build_mlp(num_in: int, hidden: int, depth: int, width: int, dropout: float) -> nn.Sequential:
    """Build an MLP: hidden layers (linear, layer norm, GELU, dropout) and an output layer.

    Args:
        num_in: Input width.
        hidden: Width of each hidden layer.
        depth: Number of hidden layers.
        width: Output width.
        dropout: Dropout probability of the hidden layers.

    Returns:
        A module from ``[B, num_in]`` to ``[B, width]``.
    """
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(num_in, hidden), nn.LayerNorm(hidden), nn.GELU(), Dropout(dropout)]
        num_in = hidden
    return nn.Sequential(*layers, nn.Linear(num_in, width))


class VectorMLP(nn.Module):
    """An MLP over the values of the vector."""

    def __init__(self, fitted: Vector, width: int, *, hidden: int = 256, depth: int = 1, dropout: float = 0.2) -> None:
        """Build the layers.

        Args:
            fitted: The fitted modality.
            width: Width of the token.
            hidden: Width of each hidden layer.
            depth: Number of hidden layers.
            dropout: Dropout probability of the hidden layers.
        """
        super().__init__()
        self.layers = build_mlp(fitted.dim, hidden, depth, width, dropout)

    def forward(self, column: ColumnBatch) -> Tokens:
        """Encode vectors.

        Args:
            column: Values float32 ``[B, dim]``.

        Returns:
            One token a row, ``[B, 1, W]``.
        """
        present_B1 = column.row_present.unsqueeze(1)
        values = torch.where(present_B1, column.values, 0).float()
        return Tokens(self.layers(values).unsqueeze(1), present_B1)
