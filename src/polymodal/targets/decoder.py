"""A transformer decoder with cross-attention to the fused tokens (torch).

Shape legend: B rows of the batch, T steps of the output, M fused tokens, W width, H heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polymodal.nn.attention import Attention, KeyValue, feed_forward
from polymodal.nn.layers import Dropout
from polymodal.tokens import Tokens


class DecoderLayer(nn.Module):
    """A pre-norm decoder layer: Vaswani et al. 2017, figure 1 (right); norms as in Xiong et al. 2020, figure 1 (b)."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        """Build the layer.

        Args:
            width: W.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__()
        self.own_norm, self.memory_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.own = Attention(width, num_heads)
        self.memory = Attention(width, num_heads)
        self.feed_forward = feed_forward(width, 2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(
        self, x_BTW: Tensor, memory: KeyValue, present: Tensor, past: KeyValue | None, causal: bool
    ) -> tuple[Tensor, KeyValue]:
        """Run the layer on the next steps.

        Args:
            x_BTW: Steps ``[B, T, W]``; with ``past``, one step.
            memory: Keys and values of the fused tokens.
            present: bool ``[B, M]``; at least one True in each row.
            past: Keys and values of the steps before these.
            causal: Whether a step attends to itself and earlier ones only.

        Returns:
            ``[B, T, W]``, and the keys and values of all steps so far.
        """
        normed_BTW = self.own_norm(x_BTW)
        steps = _append(past, self.own.keys_values(normed_BTW))
        x_BTW = x_BTW + self.dropout(self.own(normed_BTW, steps, None, causal and past is None))
        x_BTW = x_BTW + self.dropout(self.memory(self.memory_norm(x_BTW), memory, present, False))
        return x_BTW + self.dropout(self.feed_forward(x_BTW)), steps


def _append(past: KeyValue | None, new: KeyValue) -> KeyValue:
    if past is None:
        return new
    return torch.cat([past[0], new[0]], dim=2), torch.cat([past[1], new[1]], dim=2)


@dataclass(frozen=True)
class Memory:
    """Keys and values of the fused tokens, for cross-attention.

    Attributes:
        layers: Keys and values for each layer.
        present: bool ``[B, M]``; at least one True in each row.
    """

    layers: list[KeyValue]
    present: Tensor


class Decoder(nn.Module):
    """Decoder layers over fused tokens, and the final norm."""

    def __init__(self, width: int, depth: int, num_heads: int, dropout: float) -> None:
        """Build the layers.

        Args:
            width: W.
            depth: Number of layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__()
        self.tokens_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(DecoderLayer(width, num_heads, dropout) for _ in range(depth))

    def project_memory(self, tokens: Tokens) -> Memory:
        """Project the fused tokens to keys and values of all layers.

        Args:
            tokens: ``[B, M, W]``; rows without a present token give finite, meaningless values.

        Returns:
            The memory.
        """
        visible = tokens.present | ~tokens.present.any(dim=1, keepdim=True)
        normed_BMW = self.tokens_norm(tokens.values)
        return Memory([layer.memory.keys_values(normed_BMW) for layer in self._decoder_layers()], visible)

    def forward(
        self, x_BTW: Tensor, memory: Memory, past: Sequence[KeyValue] | None = None, causal: bool = False
    ) -> tuple[Tensor, list[KeyValue]]:
        """Run all layers on the next steps.

        Args:
            x_BTW: Steps ``[B, T, W]``; with ``past``, one step.
            memory: The fused tokens.
            past: What the last call returned, for the steps before these.
            causal: Whether a step attends to itself and earlier ones only.

        Returns:
            ``[B, T, W]``, and each layer's keys and values of all steps so far.
        """
        steps: list[KeyValue] = []
        for index, layer in enumerate(self._decoder_layers()):
            before = None if past is None else past[index]
            x_BTW, known = layer(x_BTW, memory.layers[index], memory.present, before, causal)
            steps.append(known)
        return self.norm(x_BTW), steps

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]
