"""The interface of the heads of structured targets (torch).

Shape legend: B rows of the batch, N rows of a table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.targets.predictions import Outputs, ReadOutputs, StructuredPrediction
from polymodal.targets.row_context import RowContext
from polymodal.tokens import Fused


class StepGraph(nn.Module, ABC):
    """One step of reading the outputs of a head, such as the next token of a text, as a module for export."""

    @abstractmethod
    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the step.

        Args:
            inputs: Input name to tensor ``[N, ...]``.

        Returns:
            Output name to tensor ``[N, ...]``.
        """

    @abstractmethod
    def example_inputs(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Build inputs to trace the step with, of which all free sizes differ and are 2 or more.

        Args:
            outputs: Output of ``StructuredHead.outputs`` for 2 rows or more.

        Returns:
            Input name to tensor.
        """

    @abstractmethod
    def free_axes(self, name: str) -> dict[int, str]:
        """Return which sizes of an input are free.

        Args:
            name: Name of the input.

        Returns:
            Axis to the name of its size; equal names are equal sizes.
        """


class StructuredHead(nn.Module, ABC):
    """The head of a structured target: computes its loss and the arrays that its predictions are read from.

    Attributes:
        uses_autocast: Whether its layers run under autocast in training, like encoders and fusion, because they are
            expensive; its loss gets float32 outputs all the same. Other heads compute in float32.
        reads_fewer: Whether it learns from rows of which one more stream is hidden, where there are such ones.
        reads_tokens: Whether it reads the tokens after fusion; fusions compute them only for such heads.
    """

    uses_autocast = False
    reads_fewer = False
    reads_tokens = False

    def __init__(self, read: ReadOutputs) -> None:
        """Store how outputs are read.

        Args:
            read: ``read_outputs`` of the target.
        """
        super().__init__()
        self.read = read

    @abstractmethod
    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:
        """Compute each row's loss.

        Args:
            fused: Output of the fusion.
            truth: Encoded cells ``[B, ...]``.
            smoothing: Label-smoothing factor.

        Returns:
            Loss ``[B]``; finite also where the truth is not known.
        """

    @abstractmethod
    def outputs(self, fused: Fused) -> dict[str, Tensor]:
        """Compute what the predictions are read from: the part of inference that is exported as a graph.

        Args:
            fused: Output of the fusion.

        Returns:
            Name to tensor ``[B, ...]``.
        """

    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Predict each row.

        Args:
            fused: Output of the fusion.

        Returns:
            B predictions, before the target's ``postprocess``.
        """
        return self.read(to_arrays(self.outputs(fused)))

    def build_step(self) -> StepGraph | None:
        """Build the graph that the target runs again and again while it reads the outputs.

        Returns:
            A module that shares the weights of the head; None where one pass is enough.
        """
        return None

    def notices(self, truth: NDArray[Any], context: RowContext) -> list[str]:  # noqa: ARG002
        """Return notices about the training rows that depend on the built network.

        Args:
            truth: Encoded cells of the training rows in which the truth is known ``[N, ...]``.
            context: The arrays of the same rows.

        Returns:
            Sentences without the full stop, written to follow "The target 'NAME': ".
        """
        return []


def to_arrays(outputs: Mapping[str, Tensor]) -> Outputs:
    """Convert outputs to numpy arrays.

    Args:
        outputs: Name to tensor on any device.

    Returns:
        Name to array; numbers as float32.
    """
    floats = {name: value.float() if value.is_floating_point() else value for name, value in outputs.items()}
    return {name: value.detach().cpu().numpy() for name, value in floats.items()}
