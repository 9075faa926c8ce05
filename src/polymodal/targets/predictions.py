"""Predictions of structured targets, and the arrays that they are read from.

Shape legend: B rows of the batch, N rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell


@dataclass(frozen=True)
class StructuredPrediction:
    """The prediction of one row.

    Attributes:
        value: Plain Python: a text, a list of numbers, a list of boxes.
        confidence: 0 to 1; None where the target gives none.
    """

    value: Cell
    confidence: float | None = None


StructuredPredictions = NDArray[np.object_]
"""One ``StructuredPrediction`` a row: ``[N]``."""

Outputs = Mapping[str, NDArray[Any]]
"""Name to array ``[B, ...]``: the outputs of a head, or the inputs and outputs of a step."""

Step = Callable[[Outputs], Outputs]
"""Runs the graph of ``StructuredHead.build_step`` once."""


class ReadOutputs(Protocol):
    """``read_outputs`` of a structured target."""

    def __call__(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:
        """Convert the outputs of a head to predictions.

        Args:
            outputs: The outputs.
            step: Runs the graph of the head's ``build_step``, of a head that has one.

        Returns:
            B predictions.
        """


def to_structured_predictions(predictions: Sequence[StructuredPrediction]) -> StructuredPredictions:
    """Convert a list of predictions to an array.

    Args:
        predictions: One a row.

    Returns:
        Object array ``[N]``.
    """
    array = np.empty(len(predictions), dtype=object)
    array[:] = list(predictions)
    return array


def values_of(predictions: StructuredPredictions) -> list[Cell]:
    """Return the values of predictions.

    Args:
        predictions: ``[N]``.

    Returns:
        Plain values.
    """
    return [prediction.value for prediction in predictions]
