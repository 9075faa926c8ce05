"""The interface of structured targets: texts, boxes, vectors, series, images.

A structured target is predicted from the fused tokens. It has no heads on single streams: the score of one stream alone
is measured with all others hidden. Those that are numbers (``numeric``) have baselines and an ensemble.

Shape legend: B rows of the batch, N rows of a table, R resamples.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from polymodal.arrays import Cell
from polymodal.metrics import Measure
from polymodal.targets.predictions import (
    Outputs,
    Step,
    StructuredPrediction,
    StructuredPredictions,
    to_structured_predictions,
    values_of,
)
from polymodal.targets.row_context import RowContext

if TYPE_CHECKING:
    from torch import Tensor, nn

    from polymodal.nn.affine import Warp, WarpLimits
    from polymodal.targets.structured_head import StructuredHead

__all__ = [
    "RowContext",
    "StructuredPrediction",
    "StructuredPredictions",
    "StructuredTarget",
    "TargetSettings",
    "to_structured_predictions",
    "values_of",
]


class TargetSettings(BaseModel):
    """Options of a kind of target, from ``target_settings`` of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class StructuredTarget(ABC):
    """A fitted structured target; its fields are plain JSON, and its settings where it has some.

    Attributes:
        kind: Name in ``TARGETS``.
        details: Modalities of which the head reads ``Tokens.detail``.
        min_steps: Minimum number of training steps of a run with default settings.
        primary_metric: Name of the metric used for early stopping and comparisons.
        training: Defaults of training options; what the user sets overrides them.
        Settings: Its options.
        classes: None: there are no probabilities of classes.
        by_stream: Whether it is evaluated with all but one stream hidden.
        has_confidence: Whether its predictions have a confidence.
        gives_records: Whether the values of its predictions are lists of dictionaries.
    """

    kind: ClassVar[str]
    details: ClassVar[frozenset[str]] = frozenset()
    min_steps: ClassVar[int] = 0
    primary_metric: ClassVar[str]
    training: ClassVar[Mapping[str, Any]] = {}
    Settings: ClassVar[type[TargetSettings]] = TargetSettings
    classes: ClassVar[None] = None
    by_stream: ClassVar[bool] = True
    has_confidence: ClassVar[bool] = False
    gives_records: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: Any) -> Self:
        """Fit the target on the training cells.

        Args:
            cells: Cells of the training rows; None where absent.
            context: The other columns of the same rows.
            settings: An instance of ``Settings``.

        Returns:
            The fitted target.

        Raises:
            SchemaError: If there is nothing to learn.
        """

    @abstractmethod
    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Encode cells as truth for the loss.

        Args:
            cells: Cells of any rows.
            context: The other columns of the same rows.

        Returns:
            Truth ``[N, ...]``, and a mask, bool ``[N]``, True where it is known.
        """

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:  # noqa: ARG002
        """List the cells that are not absent but hold no valid truth.

        Args:
            cells: Cells of any rows.
            context: The other columns of the same rows.

        Returns:
            Row index and reason, written to follow "row R, column C: ".
        """
        return []

    def notices(self) -> list[str]:
        """Return notices about the fitted target for the user.

        Returns:
            Sentences without the full stop, written to follow "The target 'NAME': ".
        """
        return []

    def reads_detail(self, stream: str, modality: str) -> bool:  # noqa: ARG002
        """Return whether the head reads the ``Tokens.detail`` of a stream.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            True for streams whose encoder is built with ``detail``.
        """
        return modality in self.details

    def stream_settings(self, stream: str, modality: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Return defaults of a stream's settings; those of the user and of a checkpoint override them.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            Option of the modality to value.
        """
        return {}

    @property
    def warp_limits(self) -> Mapping[str, WarpLimits]:
        """Streams whose training images are transformed together with the truth, to the ranges to sample from."""
        return {}

    def warp_truth(self, stream: str, truth: Tensor, warp: Warp) -> Tensor:  # noqa: ARG002
        """Apply the affine transformation of a training batch's images to its truth.

        Args:
            stream: The transformed stream, one of the ``warp_limits`` of any target.
            truth: Encoded cells ``[B, ...]``.
            warp: The transformation.

        Returns:
            The truth of the transformed images.
        """
        return truth

    @abstractmethod
    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:
        """Build the head.

        Args:
            width: Width of the tokens.
            encoders: Stream to its encoder, from which the head reads attributes such as ``detail_grid``.

        Returns:
            The head.

        Raises:
            ConfigError: If no stream provides what the head needs.
        """

    @abstractmethod
    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:
        """Convert the outputs of the head to predictions, without torch.

        Args:
            outputs: Output of the head's ``outputs``, as arrays.
            step: Runs the graph of the head's ``build_step``, of a head that has one.

        Returns:
            B predictions, before ``postprocess``.
        """

    @abstractmethod
    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the true values, in the form of ``StructuredPrediction.value``.

        Args:
            cells: Cells of rows in which the truth is known.
            context: The other columns of the same rows.

        Returns:
            One a row.
        """

    def postprocess(self, predictions: Sequence[StructuredPrediction], context: RowContext) -> StructuredPredictions:  # noqa: ARG002
        """Convert the head's predictions to the units of the column.

        Args:
            predictions: Output of ``read_outputs``.
            context: The other columns of the same rows.

        Returns:
            ``[N]``.
        """
        return to_structured_predictions(predictions)

    def learned_answer(self, answer: Cell) -> Cell:
        """Return what a student learns from a teacher's answer to a row without a truth.

        Args:
            answer: Value of the teacher's prediction.

        Returns:
            A cell of the target; None where nothing is learned from it.
        """
        return answer

    @abstractmethod
    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Precompute what the metrics of some rows need.

        Args:
            truth: True values ``[N]``, of ``references``.
            predictions: Values of the predictions ``[N]``.

        Returns:
            A function from row weights ``[R, N]`` to metrics ``[R]``, all of them in ``METRICS``; ``measure_rows``
            makes it from the functions that ``METRICS`` has for the kind.
        """

    @abstractmethod
    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row, for the gallery.

        Args:
            truth: True values ``[N]``, of ``references``.
            predictions: Values of the predictions ``[N]``.

        Returns:
            0 (worst) to 1 (best), ``[N]``.
        """

    def per_label(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Compute the metrics of each label, where predictions have labels.

        Args:
            truth: True values ``[N]``, of ``references``.
            predictions: Values of the predictions ``[N]``.

        Returns:
            One entry a label: ``label``, ``support``, and metrics, the most important one last.
        """
        return []

    def report_sections(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> dict[str, Any]:
        """Return further sections of the report.

        Args:
            truth: True values ``[N]``, of ``references``.
            predictions: Values of the predictions ``[N]``.

        Returns:
            Section of the evaluation to plain JSON.
        """
        per_label = self.per_label(truth, predictions)
        return {"per_label": per_label} if per_label else {}

    def prior_predictions(self, predictions: StructuredPredictions) -> StructuredPredictions:
        """Return the predictions of the baseline ``prior``, which uses no input.

        Args:
            predictions: The model's predictions ``[N]``.

        Returns:
            ``[N]``.
        """
        return to_structured_predictions([self.prior] * len(predictions))

    @property
    @abstractmethod
    def prior(self) -> StructuredPrediction:
        """The prediction without any input."""

    def state(self) -> dict[str, Any]:
        """Return the fitted fields as plain JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {n: v.model_dump(mode="json") if isinstance(v, TargetSettings) else v for n, v in fields.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild from ``state``.

        Args:
            state: What ``state`` returned.

        Returns:
            The same target.
        """
        settings = {"settings": cls.Settings(**state["settings"])} if "settings" in state else {}
        return cls(**{**state, **settings})
