"""The target series: numbers of several time steps in each row, such as a forecast.

Shape legend: N rows, B rows of a batch, S steps, C channels, W width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polymodal.arrays import Cell
from polymodal.errors import SchemaError
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.series import SeriesRows
from polymodal.modalities import CellReadError
from polymodal.modalities.array_files import load_named_numbers, read_content
from polymodal.modalities.logger_files import without_time
from polymodal.modalities.vector import read_numbers
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
Floats = NDArray[np.float64]


class SeriesTargetSettings(TargetSettings):
    """Options of series.

    Attributes:
        max_steps: Maximum number of steps; longer cells are invalid.
        depth: Decoder layers.
        num_heads: Attention heads; the width must be a multiple of it.
        dropout: Dropout probability.
    """

    max_steps: int = Field(default=4096, ge=1, le=16_384)
    depth: int = Field(default=2, ge=1, le=24)
    num_heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class SeriesTarget(NumericTarget):
    """A column with numbers of several steps in each row, each step of one channel or several.

    Every prediction has as many steps as the longest training cell. Where the truth is shorter, only its steps take
    part in the loss and the metrics.

    Attributes:
        mean: Mean of each step and channel over the training cells that have the step, ``[S][C]``.
        std: Standard deviation from this mean of each channel, at least ``MIN_STD``.
        is_flat: Whether cells are lists of numbers, not lists of lists.
        num_shorter: Training cells with fewer steps than the longest.
        settings: Options.
    """

    mean: list[list[float]]
    std: list[float]
    is_flat: bool
    num_shorter: int
    settings: SeriesTargetSettings

    kind: ClassVar[str] = "series"
    primary_metric: ClassVar[str] = "rmse"
    Settings: ClassVar[type[TargetSettings]] = SeriesTargetSettings

    @property
    def mean_SC(self) -> Floats:  # noqa: N802
        """Mean of each step and channel, float64 ``[S, C]``."""
        return np.array(self.mean)

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: SeriesTargetSettings) -> Self:
        """Fit length, channels, means and standard deviations.

        Args:
            cells: Cells of the training rows.
            context: Its ``folder`` is the base of relative paths of ``.npy`` cells.
            settings: Options.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If all series are equal.
        """
        read = (_read(cell, context, settings.max_steps) for cell in cells)
        found = [value for value in read if isinstance(value, np.ndarray)]
        channels = Counter(value.shape[1:] for value in found)
        shape = max(channels, key=lambda one: (channels[one], one), default=())
        found = [_as_2d(value) for value in found if _as_2d(value).shape[1] == math.prod(shape)]
        if len({value.tobytes() for value in found}) < 2:
            raise SchemaError("A series target needs two different series of numbers or more. Found fewer.")
        mean_SC, std_C = _mean_and_std(found)
        return cls(
            mean=mean_SC.tolist(),
            std=std_C.tolist(),
            is_flat=not shape,
            num_shorter=sum(len(value) < len(mean_SC) for value in found),
            settings=settings,
        )

    def notices(self) -> list[str]:
        """Return that lengths differ, and how shorter series are treated."""
        if not self.num_shorter:
            return []
        return [
            f"the training series have different lengths. Predictions have {len(self.mean):,} steps, as the longest; "
            f"{self.num_shorter:,} training series are shorter, and only their steps count in loss and metrics"
        ]

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Standardise the numbers.

        Args:
            cells: Cells of any rows.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            float32 ``[N, S, C + 1]``, the last channel 1 where the step is present, else all 0; and a mask,
            bool ``[N]``.
        """
        found = [self._read_as_fitted(cell, context) for cell in cells]
        known = np.array([isinstance(value, np.ndarray) for value in found], dtype=np.bool_).reshape(-1)
        mean_SC = self.mean_SC
        truth = np.zeros((len(cells), len(mean_SC), mean_SC.shape[1] + 1), dtype=np.float32)
        for row in np.flatnonzero(known):
            length = len(found[row])
            truth[row, :length, :-1] = (found[row] - mean_SC[:length]) / np.array(self.std)
            truth[row, :length, -1] = 1.0
        return truth, known

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:
        """List the cells that hold no such series.

        Args:
            cells: Cells of any rows.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            Row index and reason.
        """
        found = ((row, self._read_as_fitted(cell, context)) for row, cell in enumerate(cells))
        return [(row, value) for row, value in found if isinstance(value, str)]

    def _read_as_fitted(self, cell: Cell, context: RowContext) -> Any:
        """Return the numbers ``[steps, C]``, a reason why they cannot be read, or None for an absent cell."""
        value = _read(cell, context, self.settings.max_steps)
        if not isinstance(value, np.ndarray):
            return value
        steps, channels = _as_2d(value).shape
        if channels != len(self.std):
            return f"has {channels} channels; expected {len(self.std)}, as in training"
        if steps > len(self.mean):
            return f"has {steps:,} steps; predictions have {len(self.mean):,}, as the longest training cell"
        return _as_2d(value)

    def to_cell(self, values_SC: Floats) -> list[Any]:
        """Convert numbers to a cell in the form of the column.

        Args:
            values_SC: Numbers ``[S, C]``.

        Returns:
            A list of numbers, or of lists of numbers.
        """
        listed: list[Any] = (values_SC[:, 0] if self.is_flat else values_SC).tolist()
        return listed

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:  # noqa: ARG002
        """Build the decoder.

        Args:
            width: W.
            encoders: Not used.

        Returns:
            The head.
        """
        from polymodal.targets.series_head import SeriesHead

        options = self.settings
        return SeriesHead(
            self.read_outputs,
            width,
            len(self.mean),
            len(self.std),
            depth=options.depth,
            num_heads=options.num_heads,
            dropout=options.dropout,
        )

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Undo the standardisation.

        Args:
            outputs: ``standardised`` numbers ``[B, S, C]``.
            step: Not used.

        Returns:
            A list of steps a row.
        """
        numbers_BSC = outputs["standardised"] * np.array(self.std) + self.mean_SC
        return [StructuredPrediction(self.to_cell(row_SC)) for row_SC in numbers_BSC]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the true series.

        Args:
            cells: Cells of rows in which the truth is known.
            context: Its ``folder`` is the base of relative paths.

        Returns:
            Lists of numbers, or of lists of numbers.
        """
        return [self.to_cell(_as_2d(_numbers(cell, context))) for cell in cells]

    def truth_numbers(self, truth: NDArray[Any]) -> Floats:
        """Undo the standardisation.

        Args:
            truth: Encoded cells ``[N, S, C + 1]``.

        Returns:
            float64 ``[N, S * C]``, step by step, NaN where a series is shorter.
        """
        values = truth[..., :-1].astype(np.float64) * np.array(self.std) + self.mean_SC
        return np.where(truth[..., -1:] > 0, values, np.nan).reshape(len(truth), -1)

    def prediction_numbers(self, predictions: StructuredPredictions) -> Floats:
        """Return the numbers of predictions.

        Args:
            predictions: ``[N]``.

        Returns:
            float64 ``[N, S * C]``, step by step.
        """
        return np.array(values_of(predictions), np.float64).reshape(len(predictions), self.mean_SC.size)

    def from_numbers(self, numbers: Floats) -> StructuredPredictions:
        """Return predictions of numbers.

        Args:
            numbers: ``[N, S * C]``.

        Returns:
            ``[N]``.
        """
        rows = numbers.reshape(len(numbers), *self.mean_SC.shape)
        return to_structured_predictions([StructuredPrediction(self.to_cell(row_SC)) for row_SC in rows])

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Compute the errors for rmse and mae over all numbers of the truth, and the mean r2 of the channels.

        Args:
            truth: Series.
            predictions: Series, none shorter than its truth.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, SeriesRows(truth, predictions, len(self.std)))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the mean absolute error in units of the standard deviations.

        Args:
            truth: Series.
            predictions: Series.

        Returns:
            1 without an error, towards 0 with it, ``[N]``.
        """
        pairs = [
            [_as_2d(np.array(cell, dtype=float)) for cell in pair] for pair in zip(truth, predictions, strict=True)
        ]
        errors = [np.abs(predicted[: len(true)] - true) / self.std for true, predicted in pairs]
        return np.array([1 / (1 + error.mean()) for error in errors])

    @property
    def prior(self) -> StructuredPrediction:
        """The mean of each step of the training cells."""
        return StructuredPrediction(self.to_cell(self.mean_SC))


def _as_2d(values: Floats) -> Floats:
    return values.reshape(len(values), -1)


def _mean_and_std(cells: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return the mean of each step and channel ``[S, C]`` and each channel's standard deviation from it ``[C]``."""
    total = np.zeros((max(map(len, cells)), cells[0].shape[1]))
    count = np.zeros((len(total), 1))
    for value in cells:
        total[: len(value)] += value
        count[: len(value)] += 1
    mean_SC = total / count
    squared_C = np.sum([((value - mean_SC[: len(value)]) ** 2).sum(axis=0) for value in cells], axis=0)
    return mean_SC, np.sqrt(squared_C / count.sum()).clip(MIN_STD)


def _read(cell: Cell, context: RowContext, max_steps: int) -> Floats | str | None:
    """Return ``[steps]`` or ``[steps, channels]``, a reason why they cannot be read, or None for an absent cell."""
    if cell is None:
        return None
    try:
        values = _numbers(cell, context)
    except CellReadError as error:
        return str(error)
    if values.ndim not in (1, 2):
        return f"is an array of shape {list(values.shape)}; expected [steps] or [steps, channels]"
    if len(values) > max_steps:
        return f"has {len(values):,} steps; the option max_steps allows {max_steps:,}"
    return values


def _numbers(cell: Cell, context: RowContext) -> Floats:
    """Read numbers like the modality series, from files too; missing numbers are an error."""
    content, _ = read_content(cell, context.folder)
    return read_numbers(without_time(*load_named_numbers(content))[0] if isinstance(content, bytes) else content, None)
