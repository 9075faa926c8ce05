"""The head of the objective sketch (torch).

Shape legend: B rows of the batch, D numbers of a sketch, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polymodal.nn.attention import feed_forward
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.structured_head import StructuredHead
from polymodal.tokens import Fused

VISIBLE_STREAM_WEIGHT = 0.2
"""Loss weight of rows in which the stream itself is visible: the others shall learn to recover it without."""


class SketchHead(StructuredHead):
    """Two layers from the pooled tokens to a stream's standardised sketch."""

    def __init__(self, read: ReadOutputs, stream: str, width: int, size: int, is_table: bool = False) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            stream: The stream to reconstruct.
            width: W.
            size: D.
            is_table: Whether single cells of the stream are hidden in training, so that rows in which it is visible
                teach how to recover them: such rows have the full weight, and no further stream is hidden for them.
        """
        super().__init__(read)
        self.stream = stream
        self.reads_fewer = not is_table
        self.visible_weight = 1.0 if is_table else VISIBLE_STREAM_WEIGHT
        self.layers = feed_forward(width, 2 * width, size)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Mean squared error over the known numbers.

        Args:
            fused: Output of the fusion.
            truth: Standardised sketches ``[B, D]``, NaN where unknown.
            smoothing: Not used.

        Returns:
            Loss ``[B]``.
        """
        known = ~truth.isnan()
        squared = torch.where(known, (self.layers(fused.pooled) - truth.nan_to_num()).square(), 0.0)
        error = squared.sum(dim=1) / known.sum(dim=1).clamp(min=1)
        if len(fused.streams) <= 1:
            return error
        is_visible = fused.streams[self.stream].row_present
        return torch.where(is_visible, self.visible_weight * error, error)

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute the standardised sketches.

        Args:
            fused: Output of the fusion.

        Returns:
            ``standardised`` ``[B, D]``.
        """
        return {"standardised": self.layers(fused.pooled)}
