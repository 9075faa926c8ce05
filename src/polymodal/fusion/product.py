"""Multiplicative fusions: outer product of all streams, in full or low rank, and products of pairs (torch).

Shape legend: B rows of the batch, W width, S streams, R rank, K values of a stream, P products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.fusion.base import Fusion, fusion_mlp, join, pool
from polymodal.nn.layers import Dropout
from polymodal.tokens import Fused, Tokens

MAX_PRODUCTS = 8192
"""Maximum size of the outer product of all streams."""
MIN_FACTORS = 2
"""Minimum number of values of a stream."""


class LowRankFusion(Fusion):
    """The outer product of all streams in low rank: Liu et al. 2018, arXiv 1806.00064, equations 5 to 8.

    Each stream has R linear maps; their outputs are multiplied over the streams and summed over the ranks. Differs
    from the source: layer norm before and after, and the initial weights give the constant 1 of each stream about half
    of its variance, whatever the number of streams.
    """

    def __init__(self, streams: Sequence[str], width: int, *, rank: int = 4, dropout: float = 0.1) -> None:
        """Build the factors.

        Args:
            streams: Names of the streams.
            width: W.
            rank: R.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        self.rank = rank
        self.norm = nn.LayerNorm(width)
        self.factors = nn.ModuleList(nn.Linear(width, rank * width) for _ in self.streams)
        for factor in self.factors:
            nn.init.normal_(factor.weight, std=1 / math.sqrt(width * len(self.streams)))  # type: ignore[arg-type]
            nn.init.ones_(factor.bias)  # type: ignore[arg-type]
        self.ranks = nn.Parameter(torch.randn(rank, 1) / math.sqrt(rank))
        self.close = fusion_mlp(width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by products of linear maps.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        pooled_BSW = self.norm(pool(streams))
        parts = [factor(x_BW) for factor, x_BW in zip(self.factors, pooled_BSW.unbind(1), strict=True)]
        product_BRW = torch.stack(parts).prod(dim=0).view(-1, self.rank, self.width)
        return Fused(self.close((self.ranks * product_BRW).sum(dim=1)), join(streams))


class TensorFusion(Fusion):
    """The outer product of all streams: Zadeh et al. 2017, arXiv 1707.07250, equations 1 and 2.

    A constant 1 is appended to a projection of each stream's pooled vector, so that the product contains every
    stream alone, every pair, and so on. Differs from the source: the projection, which limits the size of the product.
    """

    def __init__(self, streams: Sequence[str], width: int, *, factors: int = 16, dropout: float = 0.1) -> None:
        """Build the projections.

        Args:
            streams: Names of the streams; eight at most.
            width: W.
            factors: K, fewer where the product of all streams would exceed ``MAX_PRODUCTS``.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        num_factors = min(factors, max_factors(len(self.streams)))
        self.norm = nn.LayerNorm(width)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(width, num_factors), nn.LayerNorm(num_factors)) for _ in self.streams
        )
        num_products = (num_factors + 1) ** len(self.streams)
        self.close = nn.Sequential(
            Dropout(dropout), nn.Linear(num_products, width), nn.GELU(), Dropout(dropout), nn.Linear(width, width)
        )

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by the outer product.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        pooled_BSW = self.norm(pool(streams))
        products_BP = pooled_BSW.new_ones(pooled_BSW.shape[0], 1)
        for project, x_BW in zip(self.projections, pooled_BSW.unbind(1), strict=True):
            values_BK = torch.cat([project(x_BW), x_BW.new_ones(x_BW.shape[0], 1)], dim=1)
            products_BP = (products_BP.unsqueeze(2) * values_BK.unsqueeze(1)).flatten(1)
        return Fused(self.close(products_BP), join(streams))


class MatchFusion(Fusion):
    """Products and absolute differences of pairs of streams: Mou et al. 2016, arXiv 1512.08422, section 3.1.

    For every pair of streams, the product and the absolute difference of their pooled vectors, the mean over
    all pairs, concatenated with the vectors themselves. Differs from the source: any number of streams.
    """

    def __init__(self, streams: Sequence[str], width: int, *, dropout: float = 0.1) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        self.norm = nn.LayerNorm(width)
        self.close = fusion_mlp((len(self.streams) + 2) * width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by products and differences.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        pooled_BSW = self.norm(pool(streams))
        pairs = list(itertools.combinations(pooled_BSW.unbind(1), 2)) or [(pooled_BSW[:, 0], pooled_BSW[:, 0])]
        products_BW = torch.stack([a * b for a, b in pairs]).mean(dim=0)
        distances_BW = torch.stack([(a - b).abs() for a, b in pairs]).mean(dim=0)
        return Fused(self.close(torch.cat([pooled_BSW.flatten(1), products_BW, distances_BW], dim=1)), join(streams))


def max_factors(num_streams: int) -> int:
    """Return the largest number of values of each stream with an outer product within ``MAX_PRODUCTS``.

    Args:
        num_streams: S.

    Returns:
        K, the largest with ``(K + 1) ** S`` within the bound.

    Raises:
        ConfigError: If not even ``MIN_FACTORS`` values do.
    """
    factors = MIN_FACTORS
    if (factors + 1) ** num_streams > MAX_PRODUCTS:
        most = int(math.log(MAX_PRODUCTS, MIN_FACTORS + 1))
        raise ConfigError(
            f"The fusion 'tensor' multiplies all streams and takes {most} at most. Got {num_streams} streams instead. "
            "Choose --fusion low_rank, which multiplies any number of them, or put columns together with --stream."
        )
    while (factors + 2) ** num_streams <= MAX_PRODUCTS:
        factors += 1
    return factors
