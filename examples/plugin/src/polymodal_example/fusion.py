"""A fusion that takes the median of the streams (torch).

Shape legend: B rows of the batch, S streams, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from polymodal.fusion import Fusion, FusionEntry
from polymodal.fusion.base import fusion_mlp, join, pool
from polymodal.tokens import Fused, Tokens


class MedianFusion(Fusion):
    """Each value's median over the streams, then two layers: one stream that is off cannot move it far."""

    def __init__(self, streams: Sequence[str], width: int, *, dropout: float = 0.1) -> None:
        """Build the layers.

        Args:
            streams: Names of the streams.
            width: W.
            dropout: Share of values set to zero in training.
        """
        super().__init__(streams, width)
        self.norm = nn.LayerNorm(width)
        self.layers = fusion_mlp(width, width, dropout)

    def fuse(self, streams: list[Tokens], row_present_BS: Tensor) -> Fused:  # noqa: ARG002
        """Fuse by medians.

        Args:
            streams: Tokens of each stream, filled.
            row_present_BS: Not used: a learned token stands in for an absent stream.

        Returns:
            Pooled ``[B, W]`` and the streams' tokens.
        """
        median_BW = self.norm(pool(streams)).quantile(0.5, dim=1)
        return Fused(self.layers(median_BW), join(streams))


MEDIAN = FusionEntry(MedianFusion, "feature", "each value's median over the streams", "Huber 1981")
