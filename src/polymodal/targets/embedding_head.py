"""The head of the objective embedding (torch).

Shape legend: B rows of the batch, S streams, D width of the space, W width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.attention import feed_forward
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.structured_head import StructuredHead
from polymodal.tokens import Fused, Tokens

INITIAL_SCALE = 10.0
INITIAL_BIAS = -5.0


class EmbeddingHead(StructuredHead):
    """A projection of each stream into one space, trained by the pairwise sigmoid loss.

    The loss is that of SigLIP: Zhai et al. 2023, arXiv 2303.15343, equation 1, over every pair of streams; it
    needs no large batch. Differs from the source: pairs with an absent stream are masked, and two rows are a positive
    pair also where their cells of either stream are equal.
    """

    def __init__(self, read: ReadOutputs, streams: Sequence[str], width: int, dim: int) -> None:
        """Build the projections.

        Args:
            read: ``read_outputs`` of the target.
            streams: Names of the streams.
            width: W.
            dim: D.
        """
        super().__init__(read)
        self.streams = tuple(streams)
        self.projections = nn.ModuleList(feed_forward(width, 2 * dim, dim) for _ in self.streams)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def project(self, streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Project every stream into the joint space.

        Args:
            streams: Stream to tokens.

        Returns:
            Unit vectors ``[B, S, D]``, and a mask, bool ``[B, S]``, True where the stream is present.
        """
        found = [
            functional.normalize(project(streams[name].pooled()), dim=1)
            for name, project in zip(self.streams, self.projections, strict=True)
        ]
        return torch.stack(found, dim=1), torch.stack([streams[name].row_present for name in self.streams], dim=1)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Classify pairs of streams as of the same row or of different rows.

        Args:
            fused: The tokens of its streams before fusion are used.
            truth: int64 ``[B, S]``: equal cells of a stream have equal codes.
            smoothing: Not used.

        Returns:
            Loss ``[B]``.
        """
        vectors_BSD, present_BS = self.project(fused.streams)
        losses, counts = vectors_BSD.new_zeros(len(vectors_BSD)), vectors_BSD.new_zeros(len(vectors_BSD))
        for a, b in itertools.combinations(range(len(self.streams)), 2):
            both_B = present_BS[:, a] & present_BS[:, b]
            same_BB = _equal(truth[:, a]) | _equal(truth[:, b])
            pair_B = self._pair_loss(vectors_BSD[:, a], vectors_BSD[:, b], both_B, same_BB)
            losses, counts = losses + torch.where(both_B, pair_B, 0.0), counts + both_B
        return losses / counts.clamp(min=1)

    def _pair_loss(self, first_BD: Tensor, second_BD: Tensor, both_B: Tensor, same_BB: Tensor) -> Tensor:
        logits_BB = first_BD @ second_BD.T * self.log_scale.exp() + self.bias
        losses_BB = -functional.logsigmoid(torch.where(same_BB, logits_BB, -logits_BB))
        losses_BB = torch.where(both_B[:, None] & both_B[None, :], losses_BB, 0.0)
        return (losses_BB.sum(dim=1) + losses_BB.sum(dim=0)) / 2

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Project every stream into the joint space.

        Args:
            fused: The tokens of its streams before fusion are used.

        Returns:
            Unit ``vectors`` ``[B, S, D]`` and ``present``, bool ``[B, S]``, True where the stream is present.
        """
        vectors_BSD, present_BS = self.project(fused.streams)
        return {"vectors": vectors_BSD, "present": present_BS}


def _equal(codes_B: Tensor) -> Tensor:
    return codes_B[:, None] == codes_B[None, :]
