"""Fusion by feature-wise linear modulation (FiLM) of each stream by the others (torch).

Shape legend: B rows of the batch, T tokens, W width, S streams, C context width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.fusion.base import Fusion, fusion_mlp, join, max_pool, pool
from polymodal.nn.layers import Dropout
from polymodal.tokens import Fused, Tokens


class FilmBlock(nn.Module):
    """A residual block with feature-wise linear modulation by a context.

    Perez et al. 2018, arXiv 1709.07871, equation 2 and figure 3. Differs from the source: layer norm in place of
    batch norm, and linear layers in place of convolutions.
    """

    def __init__(self, width: int, context_dim: int, dropout: float) -> None:
        """Build the layers.

        Args:
            width: W.
            context_dim: C.
            dropout: Dropout probability.
        """
        super().__init__()
        self.first = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.second = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width, elementwise_affine=False))
        self.modulate = nn.Linear(context_dim, 2 * width)
        self.dropout = Dropout(dropout)

    def forward(self, x_BTW: Tensor, context_BC: Tensor) -> Tensor:
        """Run the block.

        Args:
            x_BTW: One stream's tokens ``[B, T, W]``.
            context_BC: The context ``[B, C]``.

        Returns:
            ``[B, T, W]``.
        """
        scale_B1W, shift_B1W = self.modulate(context_BC).unsqueeze(1).chunk(2, dim=2)
        x_BTW = self.first(x_BTW)
        modulated_BTW = (1 + scale_B1W) * self.second(x_BTW) + shift_B1W
        added: Tensor = x_BTW + self.dropout(torch.relu(modulated_BTW))
        return added


class FilmFusion(Fusion):
    """Each stream's tokens are modulated by the other streams, then pooled and concatenated.

    So a question can condition the features of an image before they are pooled. The mean and the maximum of each
    stream's tokens (Perez et al. 2018, section 2.2, take the maximum) pass through two layers.
    """

    def __init__(self, streams: Sequence[str], width: int, *, depth: int = 2, dropout: float = 0.1) -> None:
        """Build the blocks.

        Args:
            streams: Names of the streams.
            width: W.
            depth: Residual blocks of each stream.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        num_streams = len(self.streams)
        context_dim = max(num_streams - 1, 1) * width
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            nn.ModuleList(FilmBlock(width, context_dim, dropout) for _ in range(depth)) for _ in self.streams
        )
        self.perceptron = fusion_mlp(2 * num_streams * width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by modulation.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the modulated tokens.
        """
        pooled_BSW = self.norm(pool(streams))
        modulated = [self._modulate(index, tokens, pooled_BSW) for index, tokens in enumerate(streams)]
        parts_BSW = torch.cat([pool(modulated), max_pool(modulated)], dim=1)
        return Fused(self.perceptron(parts_BSW.flatten(1)), join(modulated))

    def _modulate(self, index: int, tokens: Tokens, pooled_BSW: Tensor) -> Tokens:
        """Modulate one stream's tokens by all others; a stream without others by itself."""
        others = [other for other in range(len(self.streams)) if other != index] or [index]
        context_BC, values_BTW = pooled_BSW[:, others].flatten(1), tokens.values
        blocks = self.blocks[index]
        for block in blocks if isinstance(blocks, nn.ModuleList) else ():
            values_BTW = block(values_BTW, context_BC)
        return Tokens(values_BTW, tokens.present)
