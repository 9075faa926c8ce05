"""Fusions by self-attention over the tokens of all streams (torch).

Shape legend: B rows of the batch, T tokens, N bottleneck tokens, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.fusion.base import Fusion, join, pool
from polymodal.nn.attention import Transformer, TransformerLayer
from polymodal.nn.layers import Dropout, small_parameter
from polymodal.tokens import Fused, Tokens


class TransformerFusion(Fusion):
    """A class token and all streams' tokens through transformer layers.

    After Vaswani et al. 2017, arXiv 1706.03762, with the class and segment embeddings of Devlin
    et al. 2019, arXiv 1810.04805. Differs from the sources: pre-norm, and the class token starts
    from the streams' pooled tokens, so that the layers start from a concatenation.
    """

    def __init__(
        self, streams: Sequence[str], width: int, *, depth: int = 2, num_heads: int = 4, dropout: float = 0.1
    ) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            depth: Transformer layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
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
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            The class token's output ``[B, W]`` and, with ``gives_tokens``, the other tokens' outputs.
        """
        class_B1W = self.summarise(pool(streams).flatten(1)).unsqueeze(1)
        typed = [
            Tokens(tokens.values + kind, tokens.present) for tokens, kind in zip(streams, self.stream_SW, strict=True)
        ]
        always_B1 = torch.ones(class_B1W.shape[:2], dtype=torch.bool, device=class_B1W.device)
        everything = join([Tokens(class_B1W, always_B1), *typed])
        mixed_BTW = self.layers(everything.values, everything.present, None if self.gives_tokens else 1)
        tokens = Tokens(mixed_BTW[:, 1:], everything.present[:, 1:]) if self.gives_tokens else None
        return Fused(mixed_BTW[:, 0], tokens)


class BottleneckFusion(Fusion):
    """Attention between streams through a few bottleneck tokens only: Nagrani et al. 2021, arXiv 2107.00135.

    In each layer (equations 8 and 9), each stream's tokens and the bottleneck tokens attend to each other, with
    separate weights for each stream; the next bottleneck is the mean of the streams' outputs for it. Differs from the
    source: the means of the streams' tokens and of the bottleneck are concatenated and pass through an MLP, in place of
    class tokens.
    """

    def __init__(
        self,
        streams: Sequence[str],
        width: int,
        *,
        num_bottlenecks: int = 4,
        depth: int = 2,
        num_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            num_bottlenecks: N, number of bottleneck tokens.
            depth: Layers of each stream.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        self.bottlenecks_NW = small_parameter(num_bottlenecks, width)
        self.layers = nn.ModuleList(
            nn.ModuleList(TransformerLayer(width, num_heads, dropout) for _ in self.streams) for _ in range(depth)
        )
        num_parts = len(self.streams) + 1
        self.norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(num_parts * width, width), nn.GELU(), Dropout(dropout), nn.Linear(width, width)
        )

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse through the bottleneck.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and each stream's tokens after the last layer.
        """
        neck_BNW = self.bottlenecks_NW.expand(streams[0].values.shape[0], -1, -1)
        for layers in self.layers:
            streams, neck_BNW = _exchange(layers, streams, neck_BNW)
        parts_BSW = torch.cat([pool(streams), neck_BNW.mean(dim=1, keepdim=True)], dim=1)
        return Fused(self.perceptron(self.norm(parts_BSW).flatten(1)), join(streams))


def _exchange(layers: nn.Module, streams: list[Tokens], neck_BNW: Tensor) -> tuple[list[Tokens], Tensor]:
    """Run one layer of every stream with the bottleneck."""
    always_BN = torch.ones(neck_BNW.shape[:2], dtype=torch.bool, device=neck_BNW.device)
    neck, mixed, necks = Tokens(neck_BNW, always_BN), [], []
    for layer, tokens in zip(layers.children(), streams, strict=True):
        both = join([neck, tokens])
        mixed_BTW = layer(both.values, both.present)
        necks.append(mixed_BTW[:, : neck_BNW.shape[1]])
        mixed.append(Tokens(mixed_BTW[:, neck_BNW.shape[1] :], tokens.present))
    return mixed, torch.stack(necks).mean(dim=0)
