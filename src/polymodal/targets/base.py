"""The interface of targets: cells to truth, loss, prediction and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.metrics import primary_metric
from polymodal.targets.structured import StructuredTarget

if TYPE_CHECKING:
    from torch import Tensor, nn

Prediction = NDArray[Any]
"""float64 ``[rows, classes]`` or ``[rows]``; ``StructuredPrediction`` objects ``[rows]`` of a structured target."""


class Target(Protocol):
    """A fitted target; its fields are plain JSON.

    Attributes:
        kind: Name in ``TARGETS``.
        output_dim: Width of the head's output.
        classes: Names of classes or labels, or None for numbers.
    """

    kind: ClassVar[str]

    @property
    def output_dim(self) -> int:
        """Width of the head's output."""

    @property
    def classes(self) -> list[str] | None:
        """Names of classes or labels, or None for numbers."""

    @classmethod
    def fit(cls, cells: Sequence[Cell]) -> Self:
        """Learn classes, counts or scale from the training cells.

        Args:
            cells: Cells of the training rows; None where absent.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If there is nothing to learn, such as one class only.
        """

    def encode(self, cells: Sequence[Cell]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Encode cells as truth for the loss and the metrics.

        Args:
            cells: Cells of any rows.

        Returns:
            Truth ``[rows]`` or ``[rows, labels]``, and a mask, bool ``[rows]``, True where it is known.
        """

    def loss(self, output: Tensor, truth: Tensor, smoothing: float) -> Tensor:
        """Compute each row's loss.

        Args:
            output: Head output ``[B, output_dim]``.
            truth: Encoded cells ``[B]`` or ``[B, labels]``.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``.
        """

    def to_prediction(self, output: NDArray[np.float32]) -> Prediction:
        """Convert head outputs to predictions.

        Args:
            output: ``[rows, output_dim]``.

        Returns:
            Probabilities ``[rows, classes]`` or values ``[rows]``.
        """

    def decode(self, prediction: Prediction) -> list[Cell]:
        """Convert predictions to labels or numbers, plain Python values.

        Args:
            prediction: Probabilities ``[rows, classes]`` or values ``[rows]``.

        Returns:
            One label, list of labels or number a row.
        """

    @property
    def prior(self) -> Prediction:
        """The prediction without any input: ``[classes]`` or ``[1]``."""

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned.

        Returns:
            The same target.
        """


def build_head(target: Target, width: int) -> nn.Module:
    """Build the layer from pooled tokens to a target's output.

    Args:
        target: The fitted target.
        width: Width of the pooled tokens.

    Returns:
        A module from ``[B, width]`` to ``[B, output_dim]``.
    """
    from torch import nn

    from polymodal.nn.layers import Dropout

    return nn.Sequential(nn.LayerNorm(width), Dropout(0.1), nn.Linear(width, target.output_dim))


def primary_metric_of(target: Target | StructuredTarget) -> str:
    """Return the name of a target's primary metric.

    Args:
        target: The fitted target.

    Returns:
        A metric's name.
    """
    if isinstance(target, StructuredTarget):
        return target.primary_metric
    largest = float(target.prior.max()) if target.kind == "category" else 0.0
    return primary_metric(target.kind, target.classes or (), largest)
