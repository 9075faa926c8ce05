"""Fusions of pooled features: concatenation, sum, gates, attention weights (torch).

Shape legend: B rows of the batch, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polymodal.fusion.base import Fusion, fusion_mlp, join, pool
from polymodal.nn.layers import Dropout
from polymodal.tokens import Fused, Tokens


class ConcatFusion(Fusion):
    """Concatenation of all streams' pooled tokens, then two layers."""

    def __init__(self, streams: Sequence[str], width: int, *, dropout: float = 0.1) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        self.fusion_mlp = fusion_mlp(len(self.streams) * width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by concatenation.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        return Fused(self.fusion_mlp(pool(streams).flatten(1)), join(streams))


class SumFusion(Fusion):
    """Sum of a linear projection of each stream's pooled token, then two layers.

    The simplest of the fusions that Baltrusaitis et al. 2019, arXiv 1705.09406, section 3.1, call joint.
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
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in self.streams)
        self.fusion_mlp = fusion_mlp(width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by addition.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        parts = zip(self.projections, self.norm(pool(streams)).unbind(1), strict=True)
        total_BW = torch.stack([project(x_BW) for project, x_BW in parts]).sum(dim=0)
        return Fused(self.fusion_mlp(total_BW), join(streams))


class GatedFusion(Fusion):
    """The gated multimodal unit: Arevalo et al. 2017, arXiv 1702.01992, equations 1 to 6.

    Each stream's pooled vector goes through tanh; a sigmoid gate, computed from all streams,
    scales each of its values. Differs from the source: any number of streams, each with its own gate.
    """

    def __init__(self, streams: Sequence[str], width: int, *, dropout: float = 0.1) -> None:
        """Build the gates.

        Args:
            streams: Names of the streams.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        num_streams = len(self.streams)
        self.norm = nn.LayerNorm(width)
        self.candidates = nn.ModuleList(nn.Linear(width, width) for _ in self.streams)
        self.gates = nn.Linear(num_streams * width, num_streams * width)
        self.dropout = Dropout(dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by gates.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: Not used: absent streams are replaced already.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        pooled_BSW = self.norm(pool(streams))
        parts = zip(self.candidates, pooled_BSW.unbind(1), strict=True)
        candidates_BSW = torch.tanh(torch.stack([candidate(x_BW) for candidate, x_BW in parts], dim=1))
        gates_BSW = torch.sigmoid(self.gates(pooled_BSW.flatten(1))).view_as(pooled_BSW)
        return Fused(self.dropout((gates_BSW * candidates_BSW).sum(dim=1)), join(streams))


class AttentionFusion(Fusion):
    """A weighted mean of the streams; the weights are a softmax over present streams.

    The score of a stream is computed by an MLP from its pooled vector and the mean of all streams, after
    Bahdanau et al. 2015, arXiv 1409.0473, equations 5 and 6. The weight of an absent stream is exactly 0.
    """

    def __init__(self, streams: Sequence[str], width: int, *, dropout: float = 0.1) -> None:
        """Build the scores.

        Args:
            streams: Names of the streams.
            width: W.
            dropout: Dropout probability.
        """
        super().__init__(streams, width)
        self.norm = nn.LayerNorm(width)
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in self.streams)
        self.score = nn.Sequential(nn.Linear(2 * width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.fusion_mlp = fusion_mlp(width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:
        """Fuse by attention weights.

        Args:
            streams: Tokens of each stream; absent streams are replaced by their missing token.
            row_present_BS: bool ``[B, S]``.

        Returns:
            Pooled ``[B, W]``, the streams' tokens and the weights ``[B, S]``; all weights are 0
            where every stream is absent.
        """
        parts = zip(self.projections, self.norm(pool(streams)).unbind(1), strict=True)
        values_BSW = torch.stack([project(x_BW) for project, x_BW in parts], dim=1)
        context_BSW = values_BSW.mean(dim=1, keepdim=True).expand_as(values_BSW)
        scores_BS = self.score(torch.cat([values_BSW, context_BSW], dim=2)).squeeze(2)
        weights_BS = softmax_present(scores_BS, row_present_BS)
        mixed_BW = (weights_BS.unsqueeze(2) * values_BSW).sum(dim=1)
        return Fused(mixed_BW + self.fusion_mlp(mixed_BW), join(streams), weights_BS)


def softmax_present(scores_BS: Tensor, present_BS: Tensor) -> Tensor:
    """Return the softmax over present entries; the others get exactly 0.

    Args:
        scores_BS: ``[B, S]``.
        present_BS: bool ``[B, S]``.

    Returns:
        ``[B, S]``; a row without any present entry is all zeros.
    """
    lowest = torch.finfo(scores_BS.dtype).min
    weights_BS = torch.softmax(torch.where(present_BS, scores_BS, lowest), dim=1)
    return torch.where(present_BS, weights_BS, 0)
