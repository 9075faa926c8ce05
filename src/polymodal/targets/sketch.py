"""The objective sketch: reconstruction of a stream's sketch from the other streams or from itself.

Shape legend: B rows of the batch, N rows of a table, D numbers of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polymodal.arrays import Cell
from polymodal.data.sketches import SketchLayout, sketch
from polymodal.metrics import Measure, measure_rows
from polymodal.metrics.regression import SketchRows
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredTarget,
    TargetSettings,
)

if TYPE_CHECKING:
    from torch import nn

    from polymodal.targets.structured_head import StructuredHead

MIN_SCALE = 1e-6
MAX_FITTED_ROWS = 2000


class SketchSettings(TargetSettings):
    """Options of reconstruction.

    Attributes:
        stream: Name of the stream.
        recovered: Whether it is recovered from other streams.
        seed: Seed of the sample of rows to fit on.
        resolution: As of ``SketchLayout``.
        cardinalities: As of ``SketchLayout``.
    """

    stream: str
    recovered: bool = False
    seed: int = 0
    resolution: int = SketchLayout.resolution
    cardinalities: list[int] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SketchTarget(StructuredTarget):
    """A stream's sketch.

    Attributes:
        stream: The stream to reconstruct.
        modality: Its modality.
        mean: Mean of each number over the training rows.
        scale: Standard deviation of all numbers about their means.
        recovered: Whether it is recovered from other streams; ``polymodal.model.judge_recovery`` judges it then.
        resolution: As of ``SketchLayout``.
        cardinalities: As of ``SketchLayout``.
    """

    stream: str
    modality: str
    mean: list[float] = field(repr=False)
    scale: float
    recovered: bool
    resolution: int = SketchLayout.resolution
    cardinalities: list[int] = field(default_factory=list)

    kind: ClassVar[str] = "sketch"
    primary_metric: ClassVar[str] = "r2"
    by_stream: ClassVar[bool] = False
    Settings: ClassVar[type[TargetSettings]] = SketchSettings

    @property
    def layout(self) -> SketchLayout:
        """What the numbers of the sketch stand for."""
        return SketchLayout(self.resolution, tuple(self.cardinalities))

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: SketchSettings) -> Self:  # noqa: ARG003
        """Fit mean and scale of the sketches of training rows.

        Args:
            cells: Not used: there is no column.
            context: The streams and their arrays, and which rows are for training.
            settings: The options.

        Returns:
            The fitted target.
        """
        column = context.columns[settings.stream]
        rows = np.arange(len(column)) if context.rows is None else context.rows
        usable = rows[column.row_present[rows]]
        if len(usable) > MAX_FITTED_ROWS:
            usable = np.sort(np.random.default_rng(settings.seed).choice(usable, MAX_FITTED_ROWS, replace=False))
        modality = next(stream.modality for stream in context.streams if stream.name == settings.stream)
        layout = SketchLayout(settings.resolution, tuple(settings.cardinalities))
        found = sketch(modality, column.take(usable), layout).astype(np.float64)
        known = ~np.isnan(found)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, found, 0).sum(axis=0) / count
        scale = float(np.sqrt(np.where(known, (found - mean) ** 2, 0).sum() / max(known.sum(), 1)))
        scale = scale if scale > MIN_SCALE else 1.0
        return cls(
            stream=settings.stream,
            modality=modality,
            mean=mean.tolist(),
            scale=scale,
            recovered=settings.recovered,
            resolution=settings.resolution,
            cardinalities=settings.cardinalities,
        )

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Standardise the sketches.

        Args:
            cells: Not used: there is no column.
            context: The streams' arrays.

        Returns:
            float32 ``[N, D]``, NaN where unknown, and a mask, bool ``[N]``, True where the stream is present.
        """
        truth = self._truth(context, len(cells))
        return truth, np.asarray(~np.isnan(truth).all(axis=1))

    def _truth(self, context: RowContext, num_rows: int) -> NDArray[np.float32]:
        column = context.columns.get(self.stream)
        if column is None:
            return np.full((num_rows, len(self.mean)), np.nan, dtype=np.float32)
        found = sketch(self.modality, column if context.rows is None else column.take(context.rows), self.layout)
        return np.asarray((found - np.array(self.mean)) / self.scale, dtype=np.float32)

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:  # noqa: ARG002
        """Build the layers.

        Args:
            width: W.
            encoders: Not used.

        Returns:
            The head.
        """
        from polymodal.targets.sketch_head import SketchHead

        return SketchHead(self.read_outputs, self.stream, width, len(self.mean), is_table=bool(self.cardinalities))

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Return standardised sketches.

        Args:
            outputs: ``standardised`` sketches ``[B, D]``.
            step: Not used.

        Returns:
            Predictions whose values are float32 ``[D]``.
        """
        return [StructuredPrediction(row) for row in outputs["standardised"]]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the standardised sketches.

        Args:
            cells: One a row.
            context: The streams' arrays.

        Returns:
            float32 ``[D]`` a row.
        """
        return list(self._truth(context, len(cells)))

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Compute the errors for the explained variance and the rmse, in units of ``scale``.

        Args:
            truth: Standardised sketches.
            predictions: Standardised sketches.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, SketchRows(truth, predictions))

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the mean squared error.

        Args:
            truth: Standardised sketches.
            predictions: Standardised sketches.

        Returns:
            1 without an error, towards 0 with it, ``[N]``.
        """
        error = [np.nanmean((predicted - true) ** 2) for true, predicted in zip(truth, predictions, strict=True)]
        return np.asarray(1 / (1 + np.array(error, dtype=np.float64)))

    def prior_predictions(self, predictions: Any) -> Any:
        """Return the mean sketch.

        Args:
            predictions: The model's predictions ``[N]``.

        Returns:
            ``[N]``.
        """
        priors = np.empty(len(predictions), dtype=object)
        priors[:] = [self.prior] * len(predictions)
        return priors

    @property
    def prior(self) -> StructuredPrediction:
        """The mean sketch, which is zero when standardised."""
        return StructuredPrediction(np.zeros(len(self.mean), dtype=np.float32))

    def unstandardised(self, value: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return a sketch in the units of the stream's arrays.

        Args:
            value: Standardised ``[..., D]``.

        Returns:
            ``[..., D]``.
        """
        return np.asarray(value * self.scale + np.array(self.mean))
