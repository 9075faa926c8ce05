"""Fusions in which all streams' tokens look at each other (torch).

Shape legend: B rows of the batch, T tokens, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.fusion.base import Fusion, join, pool
from polymodal.layers import Transformer, small_parameter
from polymodal.tokens import Fused, Tokens


class TransformerFusion(Fusion):
    """A class token and all streams' tokens through transformer layers.

    After Vaswani et al. 2017, arXiv 1706.03762, with the class and segment embeddings of Devlin
    et al. 2019, arXiv 1810.04805. Differs from the sources: pre-norm, and the class token starts
    from the streams' pooled tokens, so that the layers only have to learn what a concatenation lacks.
    """

    def __init__(self, streams: Sequence[str], width: int, depth: int, num_heads: int, dropout: float) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            depth: Transformer layers.
            num_heads: Heads of each layer; divides the width.
            dropout: Share of values set to zero in training.
        """
        super().__init__(streams, width)
        self.stream_SW = small_parameter(len(self.streams), width)
        self.summarise = nn.Sequential(
            nn.LayerNorm(len(self.streams) * width), nn.Linear(len(self.streams) * width, width)
        )
        self.layers = Transformer(width, depth, num_heads, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by self-attention.

        Args:
            streams: Tokens of each stream, filled.
            row_present_BS: Not used: the missing tokens say it.

        Returns:
            The class token's output ``[B, W]`` and the other tokens' outputs.
        """
        class_B1W = self.summarise(pool(streams).flatten(1)).unsqueeze(1)
        typed = [
            Tokens(tokens.values + kind, tokens.present) for tokens, kind in zip(streams, self.stream_SW, strict=True)
        ]
        always_B1 = torch.ones(class_B1W.shape[:2], dtype=torch.bool, device=class_B1W.device)
        everything = join([Tokens(class_B1W, always_B1), *typed])
        mixed_BTW = self.layers(everything.values, everything.present)
        return Fused(mixed_BTW[:, 0], Tokens(mixed_BTW[:, 1:], everything.present[:, 1:]))


def build_transformer_fusion(
    streams: Sequence[str], width: int, *, depth: int = 2, num_heads: int = 4, dropout: float = 0.1
) -> nn.Module:
    """Build the late transformer.

    Args:
        streams: Names of the streams.
        width: W.
        depth: Transformer layers.
        num_heads: Heads of each layer; divides the width.
        dropout: Share of values set to zero in training.

    Returns:
        The fusion.
    """
    return TransformerFusion(streams, width, depth, num_heads, dropout)
