"""The target vector: a fixed number of numbers in each row, regression on standardised values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.errors import SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.regression import VectorRows
from polymodal.modalities import CellReadError
from polymodal.modalities.vector import read_vector
from polymodal.targets.numeric import NumericTarget
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredPredictions,
    TargetSettings,
    to_structured_predictions,
    values_of,
)

if TYPE_CHECKING:
    from torch import nn

    from polymodal.targets.structured_head import StructuredHead

MIN_STD = 1e-6


@dataclass(frozen=True, kw_only=True)
class VectorTarget(NumericTarget):
    """A column with a fixed number of numbers in each row.

    Attributes:
        mean: Mean of each number over the training cells.
        std: Standard deviation of each, at least ``MIN_STD``.
    """

    mean: list[float]
    std: list[float]

    kind: ClassVar[str] = "vector"
    primary_metric: ClassVar[str] = "rmse"

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: TargetSettings) -> Self:  # noqa: ARG003
        """Fit dimension, means and standard deviations.

        Args:
            cells: Cells of the training rows.
            context: Its ``folder`` is the base of relative paths of ``.npy`` cells.
            settings: Not used: there are no options.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If all vectors are equal.
        """
        found = [value for value in (_read(cell, context) for cell in cells) if isinstance(value, np.ndarray)]
        size = max(Counter(map(len, found)).items(), key=lambda pair: (pair[1], pair[0]), default=(0, 0))[0]
        values = np.array([value for value in found if len(value) == size])
        if len(np.unique(values, axis=0)) < 2:
            raise SchemaError("A vector target needs two different lists of numbers or more. Found fewer.")
        return cls(mean=values.mean(axis=0).tolist(), std=values.std(axis=0).clip(MIN_STD).tolist())

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Standardise the numbers.

        Args:
            cells: Cells of any rows.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            float32 ``[N, D]``, 0 where unknown, and a mask, bool ``[N]``.
        """
        found = [self._read_as_fitted(cell, context) for cell in cells]
        known = np.array([isinstance(value, np.ndarray) for value in found], dtype=np.bool_).reshape(-1)
        truth = np.zeros((len(cells), len(self.mean)), dtype=np.float32)
        for row in np.flatnonzero(known):
            truth[row] = (found[row] - np.array(self.mean)) / np.array(self.std)
        return truth, known

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:
        """List the cells that hold no such vector.

        Args:
            cells: Cells of any rows.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            Row index and reason.
        """
        found = ((row, self._read_as_fitted(cell, context)) for row, cell in enumerate(cells))
        return [(row, value) for row, value in found if isinstance(value, str)]

    def _read_as_fitted(self, cell: Cell, context: RowContext) -> NDArray[np.float64] | str | None:
        value = _read(cell, context)
        if isinstance(value, np.ndarray) and len(value) != len(self.mean):
            return f"holds {len(value)} numbers; expected {len(self.mean)}, as in training"
        return value

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:  # noqa: ARG002
        """Build the layers from the pooled tokens.

        Args:
            width: W.
            encoders: Not used.

        Returns:
            The head.
        """
        from polymodal.targets.vector_head import VectorHead

        return VectorHead(self.read_outputs, width, len(self.mean))

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Undo the standardisation.

        Args:
            outputs: ``standardised`` numbers ``[B, D]``.
            step: Not used.

        Returns:
            A list of numbers a row.
        """
        numbers = outputs["standardised"] * np.array(self.std) + np.array(self.mean)
        return [StructuredPrediction(row) for row in numbers.tolist()]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the true vectors.

        Args:
            cells: Cells of rows in which the truth is known.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            Lists of numbers.
        """
        return [read_vector(cell, context.folder).tolist() for cell in cells]

    def truth_numbers(self, truth: NDArray[Any]) -> NDArray[np.float64]:
        """Undo the standardisation.

        Args:
            truth: Encoded cells ``[N, D]``.

        Returns:
            float64 ``[N, D]``.
        """
        return np.asarray(truth * np.array(self.std) + np.array(self.mean), np.float64)

    def prediction_numbers(self, predictions: StructuredPredictions) -> NDArray[np.float64]:
        """Return the numbers of predictions.

        Args:
            predictions: ``[N]``.

        Returns:
            float64 ``[N, D]``.
        """
        return np.array(values_of(predictions), np.float64).reshape(len(predictions), len(self.mean))

    def from_numbers(self, numbers: NDArray[np.float64]) -> StructuredPredictions:
        """Return predictions of numbers.

        Args:
            numbers: ``[N, D]``.

        Returns:
            ``[N]``.
        """
        return to_structured_predictions([StructuredPrediction(row) for row in numbers.tolist()])

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Compute the errors for rmse and mae over all numbers, and the mean r2 of the numbers.

        Args:
            truth: Lists of numbers.
            predictions: Lists of numbers.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, VectorRows(truth, predictions))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the mean absolute error in units of the standard deviations.

        Args:
            truth: Lists of numbers.
            predictions: Lists of numbers.

        Returns:
            1 without an error, towards 0 with it, ``[N]``.
        """
        error = np.abs(np.array(truth, dtype=float) - np.array(predictions, dtype=float)) / np.array(self.std)
        return np.asarray(1 / (1 + error.reshape(len(truth), -1).mean(axis=1)))

    @property
    def prior(self) -> StructuredPrediction:
        """The training cells' mean."""
        return StructuredPrediction(list(self.mean))


def _read(cell: Cell, context: RowContext) -> NDArray[np.float64] | str | None:
    """Return the numbers, a reason why they cannot be read, or None for an absent cell."""
    if cell is None:
        return None
    try:
        return read_vector(cell, context.folder)
    except CellReadError as error:
        return str(error)
