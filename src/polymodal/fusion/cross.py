"""Fusions by cross-attention: of directed pairs of streams, and of latents (torch).

Shape legend: B rows of the batch, T query tokens, K key tokens, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.fusion.base import Fusion, fusion_mlp, join, pool
from polymodal.nn.attention import Attention, Transformer, TransformerLayer, feed_forward
from polymodal.nn.layers import Dropout, small_parameter
from polymodal.tokens import Fused, Tokens


class CrossLayer(nn.Module):
    """A pre-norm transformer layer with cross-attention in place of self-attention.

    Vaswani et al. 2017, arXiv 1706.03762, section 3.2.3; pre-norm as in Tsai et al. 2019, arXiv 1906.00295, eq. 4.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        """Build the projections.

        Args:
            width: W.
            num_heads: H; the width must be a multiple of it.
            dropout: Dropout probability.

        Raises:
            ConfigError: If the width is not a multiple of the number of heads.
        """
        super().__init__()
        self.query_norm, self.key_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.feed_forward = feed_forward(width, 2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x_BTW: Tensor, source: Tokens) -> Tensor:
        """Run the layer.

        Args:
            x_BTW: Queries ``[B, T, W]``.
            source: Keys and values ``[B, K, W]``; at least one token present in each row.

        Returns:
            ``[B, T, W]``.
        """
        keys_values = self.attention.keys_values(self.key_norm(source.values))
        x_BTW = x_BTW + self.dropout(self.attention(self.query_norm(x_BTW), keys_values, source.present, causal=False))
        fed: Tensor = x_BTW + self.dropout(self.feed_forward(x_BTW))
        return fed


class CrossAttentionFusion(Fusion):
    """Cross-attention from every stream to every other: Tsai et al. 2019, arXiv 1906.00295, figure 2.

    Each directed pair of streams has its own cross-attention layers. A stream's outputs of all its pairs are
    concatenated and pass through self-attention; the means of all streams pass through two layers. Differs from the
    source: a linear layer projects the concatenation to width W, and means are used in place of the last tokens.
    """

    def __init__(
        self, streams: Sequence[str], width: int, *, depth: int = 1, num_heads: int = 4, dropout: float = 0.1
    ) -> None:
        """Build the layers of each directed pair.

        Args:
            streams: Names of the streams.
            width: W.
            depth: Layers of each pair.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        num_streams = len(self.streams)
        self.pairs = [(to, source) for to in range(num_streams) for source in range(num_streams) if to != source]
        self.layers = nn.ModuleList(
            nn.ModuleList(CrossLayer(width, num_heads, dropout) for _ in range(depth)) for _ in self.pairs
        )
        self.joins = nn.ModuleList(nn.Linear(max(num_streams - 1, 1) * width, width) for _ in self.streams)
        self.mixers = nn.ModuleList(Transformer(width, 1, num_heads, dropout) for _ in self.streams)
        self.perceptron = fusion_mlp(num_streams * width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by attention between pairs.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and every stream's tokens after cross-attention.
        """
        attended: list[list[Tensor]] = [[] for _ in streams]
        for (to, source), layers in zip(self.pairs, self.layers, strict=True):
            values_BTW = streams[to].values
            for layer in layers if isinstance(layers, nn.ModuleList) else ():
                values_BTW = layer(values_BTW, streams[source])
            attended[to].append(values_BTW)
        mixed = [
            Tokens(mix(merge(torch.cat(found or [tokens.values], dim=2)), tokens.present), tokens.present)
            for found, tokens, merge, mix in zip(attended, streams, self.joins, self.mixers, strict=True)
        ]
        return Fused(self.perceptron(pool(mixed).flatten(1)), join(mixed))


class LatentFusion(Fusion):
    """Cross-attention from a few learned latents to all tokens: Jaegle et al. 2021, arXiv 2103.03206, figure 1.

    The cost is linear in the number of tokens. Cross-attention and self-attention of the latents alternate ``depth``
    times with the same weights, as in the source; the mean of the latents is the fused vector.
    """

    def __init__(
        self,
        streams: Sequence[str],
        width: int,
        *,
        num_latents: int = 16,
        depth: int = 2,
        num_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            num_latents: Number of latents.
            depth: Repetitions of cross-attention and self-attention.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        self.depth = depth
        self.stream_SW = small_parameter(len(self.streams), width)
        self.latents_LW = small_parameter(num_latents, width)
        self.look = CrossLayer(width, num_heads, dropout)
        self.think = TransformerLayer(width, num_heads, dropout)
        self.norm = nn.LayerNorm(width)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by latents.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        everything = join(
            [Tokens(part.values + kind, part.present) for part, kind in zip(streams, self.stream_SW, strict=True)]
        )
        latents_BLW = self.latents_LW.expand(everything.values.shape[0], -1, -1)
        present_BL = torch.ones(latents_BLW.shape[:2], dtype=torch.bool, device=latents_BLW.device)
        for _ in range(self.depth):
            latents_BLW = self.think(self.look(latents_BLW, everything), present_BL)
        return Fused(self.norm(latents_BLW).mean(dim=1), join(streams))
