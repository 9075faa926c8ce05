"""A fusion in which each stream is read in the light of the others: feature-wise modulation (torch).

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
    """A residual block whose features a context scales and shifts.

    Perez et al. 2018, arXiv 1709.07871, equation 2 and figure 3. Differs from the source: layer norm in place of
    batch norm, and the tokens stand side by side without a convolution over places.
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
            context_BC: What scales and shifts them ``[B, C]``.

        Returns:
            ``[B, T, W]``.
        """
        scale_B1W, shift_B1W = self.modulate(context_BC).unsqueeze(1).chunk(2, dim=2)
        x_BTW = self.first(x_BTW)
        read_BTW = (1 + scale_B1W) * self.second(x_BTW) + shift_B1W
        added: Tensor = x_BTW + self.dropout(torch.relu(read_BTW))
        return added


class FilmFusion(Fusion):
    """Each stream's tokens scaled and shifted by the other streams, then pooled and put side by side.

    A question can change what is read from an image before the image is pooled. Each stream gives the mean and the
    largest values of its tokens (Perez et al. 2018, section 2.2, take the largest), for two layers over all streams.
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
        read = [self._read(place, tokens, pooled_BSW) for place, tokens in enumerate(streams)]
        parts_BSW = torch.cat([pool(read), max_pool(read)], dim=1)
        return Fused(self.perceptron(parts_BSW.flatten(1)), join(read))

    def _read(self, place: int, tokens: Tokens, pooled_BSW: Tensor) -> Tokens:
        """Modulate one stream's tokens by all others; a stream without others by itself."""
        others = [other for other in range(len(self.streams)) if other != place] or [place]
        context_BC, values_BTW = pooled_BSW[:, others].flatten(1), tokens.values
        blocks = self.blocks[place]
        for block in blocks if isinstance(blocks, nn.ModuleList) else ():
            values_BTW = block(values_BTW, context_BC)
        return Tokens(values_BTW, tokens.present)
