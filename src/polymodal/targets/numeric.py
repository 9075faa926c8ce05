"""The interface of structured targets that are a fixed number of numbers: vectors, series, images.

Baselines can predict them, and the ensemble can average them.

Shape legend: N rows, D numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.targets.structured import StructuredPredictions, StructuredTarget, to_structured_predictions


@dataclass(frozen=True)
class NumericTarget(StructuredTarget):
    """A structured target whose truth and predictions are D numbers in the units of the column."""

    @abstractmethod
    def truth_numbers(self, truth: NDArray[Any]) -> NDArray[np.float64]:
        """Convert encoded cells to numbers.

        Args:
            truth: Encoded cells ``[N, ...]``.

        Returns:
            float64 ``[N, D]``, NaN where a row has no such number.
        """

    @abstractmethod
    def prediction_numbers(self, predictions: StructuredPredictions) -> NDArray[np.float64]:
        """Convert predictions to numbers.

        Args:
            predictions: ``[N]``, after ``postprocess``.

        Returns:
            float64 ``[N, D]``, without NaN.
        """

    @abstractmethod
    def from_numbers(self, numbers: NDArray[np.float64]) -> StructuredPredictions:
        """Convert numbers to predictions.

        Args:
            numbers: float64 ``[N, D]``, without NaN.

        Returns:
            ``[N]``.
        """

    @property
    def prior_numbers(self) -> NDArray[np.float64]:
        """The numbers of the prior, float64 ``[D]``."""
        return np.asarray(self.prediction_numbers(to_structured_predictions([self.prior]))[0])
