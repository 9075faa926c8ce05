"""The head of the target vector (torch).

Shape legend: B rows of the batch, D numbers, W width.
"""

from __future__ import annotations

from torch import Tensor

from polymodal.nn.attention import feed_forward
from polymodal.targets.predictions import ReadOutputs
from polymodal.targets.structured_head import StructuredHead
from polymodal.tokens import Fused


class VectorHead(StructuredHead):
    """Two layers from the pooled tokens to the standardised numbers."""

    def __init__(self, read: ReadOutputs, width: int, size: int) -> None:
        """Build the layers.

        Args:
            read: ``read_outputs`` of the target.
            width: W.
            size: D.
        """
        super().__init__(read)
        self.layers = feed_forward(width, 2 * width, size)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Mean squared error of the standardised numbers.

        Args:
            fused: Output of the fusion.
            truth: Standardised numbers ``[B, D]``.
            smoothing: Not used: numbers have no classes.

        Returns:
            Loss ``[B]``.
        """
        output: Tensor = self.layers(fused.pooled)
        return (output - truth).square().mean(dim=1)

    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute the standardised numbers.

        Args:
            fused: Output of the fusion.

        Returns:
            ``standardised`` ``[B, D]``.
        """
        return {"standardised": self.layers(fused.pooled)}
