"""The head of the target series (torch).

Shape legend: B rows of the batch, S steps, C channels, Q queries, W width.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from polymodal.nn.attention import feed_forward
from polymodal.nn.layers import small_parameter
from polymodal.targets.decoder import Decoder
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.structured_head import StructuredHead
from polymodal.tokens import Fused

MAX_QUERIES = 128


class SeriesHead(StructuredHead):
    """A decoder with a learned query for each time step and cross-attention to the fused tokens.

    After the decoder of Carion et al. 2020, arXiv 2005.12872, section 3.2. Differs from the source: the fused vector is
    added to every query, beyond 128 steps a query predicts several consecutive steps, and the output of a two-layer MLP
    of the fused vector is added, which trains faster.
    """

    reads_tokens = True

    def __init__(
        self,
        read: ReadOutputs,
        width: int,
        num_steps: int,
        num_channels: int,
        *,
        depth: int,
        num_heads: int,
        dropout: float,
    ) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            width: W.
            num_steps: S.
            num_channels: C.
            depth: Decoder layers.
            num_heads: Attention heads; the width must be a multiple of it.
            dropout: Dropout probability.
        """
        super().__init__(read)
        self.num_steps, self.num_channels = num_steps, num_channels
        self.steps_of_query = math.ceil(num_steps / MAX_QUERIES)
        self.queries_QW = small_parameter(math.ceil(num_steps / self.steps_of_query), width)
        self.begin = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.decoder = Decoder(width, depth, num_heads, dropout)
        self.project = nn.Linear(width, self.steps_of_query * num_channels)
        self.direct = feed_forward(width, 2 * width, num_steps * num_channels)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Mean squared error of the standardised numbers over the steps of the truth.

        Args:
            fused: Output of the fusion.
            truth: Standardised numbers and, as the last channel, a mask, 1 where the step is present ``[B, S, C + 1]``.
            smoothing: Not used: numbers have no classes.

        Returns:
            Loss ``[B]``; 0 where no step is known.
        """
        values_BSC, present_BS = truth[:, :, :-1], truth[:, :, -1]
        error_BS = (self._standardised(fused) - values_BSC).square().mean(dim=2)
        return (error_BS * present_BS).sum(dim=1) / present_BS.sum(dim=1).clamp(min=1)

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute the standardised numbers.

        Args:
            fused: Output of the fusion.

        Returns:
            ``standardised`` ``[B, S, C]``.
        """
        return {"standardised": self._standardised(fused)}

    def _standardised(self, fused: Fused) -> Tensor:
        queries_BQW = self.queries_QW + self.begin(fused.pooled).unsqueeze(1)
        hidden_BQW, _ = self.decoder(queries_BQW, self.decoder.project_memory(fused.read_tokens()))
        all_steps = (len(self.queries_QW) * self.steps_of_query, self.num_channels)
        output_BSC: Tensor = self.project(hidden_BQW).flatten(1).unflatten(1, all_steps)
        direct_BSC: Tensor = self.direct(fused.pooled).unflatten(1, (self.num_steps, self.num_channels))
        return direct_BSC + output_BSC[:, : self.num_steps]
