"""Targets whose answer is more than a row of numbers: texts, boxes, vectors, series, pictures.

Such a target has one answer a row from the fused streams. It has no streams' own heads and takes no
part in the decision level; how good one stream is alone is found by hiding the others.

Shape legend: B rows of the batch, N rows of a table, R resamples.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from polymodal.arrays import Cell, Column
from polymodal.data.schema.schema import StreamSchema
from polymodal.metrics import Measure
from polymodal.nn.affine import Warp, WarpLimits
from polymodal.tokens import Fused


@dataclass(frozen=True)
class StructuredPrediction:
    """What a target says of one row.

    Attributes:
        value: Plain Python: a text, a list of numbers, a list of boxes.
        confidence: How sure it is, 0 to 1; None where it has no such number.
    """

    value: Cell
    confidence: float | None = None


StructuredPredictions = NDArray[np.object_]
"""One ``StructuredPrediction`` a row: ``[N]``."""


def to_structured_predictions(predictions: Sequence[StructuredPrediction]) -> StructuredPredictions:
    """Put answers into an array.

    Args:
        predictions: One a row.

    Returns:
        Object array ``[N]``.
    """
    array = np.empty(len(predictions), dtype=object)
    array[:] = list(predictions)
    return array


@dataclass(frozen=True)
class RowContext:
    """The raw cells around a target, for one whose truth depends on them (boxes: the picture's size).

    Attributes:
        cells: Column to the raw cells of the same rows.
        folder: Where relative paths start.
        columns: Stream to arrays, of the whole table.
        rows: int64, the rows of those arrays that are meant; None for all.
        streams: The schema's streams, in their order; given when fitting.
        shapes: Stream to the shape of one decoded cell, where there are arrays.
    """

    cells: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    folder: Path | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    rows: NDArray[np.int64] | None = None
    streams: tuple[StreamSchema, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def row_present(self) -> dict[str, NDArray[np.bool_]]:
        """Return where each stream is there: stream to bool ``[N]``."""
        found = {stream: column.row_present for stream, column in self.columns.items()}
        return found if self.rows is None else {stream: present[self.rows] for stream, present in found.items()}


class TargetSettings(BaseModel):
    """Options of a kind of target, from ``target_settings`` of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StructuredHead(nn.Module, ABC):
    """The part of the network that learns and gives a structured target's answers.

    Attributes:
        uses_autocast: Whether its layers run under autocast in training, like encoders and fusion, because they are
            expensive; its loss gets float32 outputs all the same. Other heads compute in float32.
        reads_tokens: Whether it reads the tokens after fusion, which are not computed otherwise.
    """

    uses_autocast = False
    reads_tokens = False

    @abstractmethod
    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:
        """Compute each row's loss.

        Args:
            fused: What the fusion made of the streams.
            truth: Encoded cells ``[B, ...]``.
            smoothing: Share of the label mass spread over all classes.

        Returns:
            Loss ``[B]``; finite also where the truth is not known.
        """

    @abstractmethod
    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Predict each row.

        Args:
            fused: What the fusion made of the streams.

        Returns:
            B answers, before the target's ``postprocess``.
        """

    def notices(self, truth: NDArray[Any], context: RowContext) -> list[str]:  # noqa: ARG002
        """Say what the user should know of the training rows, now that the network is there.

        Args:
            truth: Encoded cells of the training rows in which the truth is known ``[N, ...]``.
            context: The arrays of the same rows.

        Returns:
            Sentences without the full stop, written to follow "The target 'NAME': ".
        """
        return []


@dataclass(frozen=True)
class StructuredTarget(ABC):
    """A fitted structured target; its fields are plain JSON, and its settings where it has some.

    Attributes:
        kind: Name in ``TARGETS``.
        details: Modalities whose fine places or steps the head reads (``Tokens.detail``).
        min_steps: Steps a balanced run takes at least, however few the rows.
        primary_metric: The metric that stands for it.
        training: Training options it wants where the user leaves them open.
        Settings: Its options.
        classes: None: there are no probabilities of classes.
        by_stream: Whether it can be judged with streams hidden.
        has_confidence: Whether its answers say how sure they are.
        gives_records: Whether its answers are lists of dictionaries.
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
        """Learn from the training cells.

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
        """Turn cells into what the loss compares with.

        Args:
            cells: Cells of any rows.
            context: The other columns of the same rows.

        Returns:
            Truth ``[N, ...]`` and, bool ``[N]``, where it is known.
        """

    def invalid_cells(self, cells: Sequence[Cell], context: RowContext) -> list[tuple[int, str]]:  # noqa: ARG002
        """Name the cells that hold something, but no truth.

        Args:
            cells: Cells of any rows.
            context: The other columns of the same rows.

        Returns:
            Row from 0 and reason, written to follow "row R, column C: ".
        """
        return []

    def notices(self) -> list[str]:
        """Say what the user should know of the fitted target.

        Returns:
            Sentences without the full stop, written to follow "The target 'NAME': ".
        """
        return []

    def reads_detail(self, stream: str, modality: str) -> bool:  # noqa: ARG002
        """Tell whether the head reads a stream's fine places or steps.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            True for those whose encoder shall give them.
        """
        return modality in self.details

    def stream_settings(self, stream: str, modality: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Tell which settings of a stream the target wants where neither the user nor a checkpoint says otherwise.

        Args:
            stream: The stream's name.
            modality: Its modality.

        Returns:
            Option of the modality to value.
        """
        return {}

    @property
    def warp_limits(self) -> Mapping[str, WarpLimits]:
        """Streams whose pictures are augmented by an affine transformation that the truth gets too, with its ranges."""
        return {}

    def warp_truth(self, stream: str, truth: Tensor, warp: Warp) -> Tensor:  # noqa: ARG002
        """Apply the affine transformation of the pictures of a training batch to the truth.

        Args:
            stream: The transformed stream, one of any target's ``warp_limits``.
            truth: Encoded cells ``[B, ...]``.
            warp: The transformation.

        Returns:
            The truth of the transformed pictures.
        """
        return truth

    @abstractmethod
    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:
        """Build the head.

        Args:
            width: Width of the tokens.
            encoders: Stream to its encoder. The head reads what it needs from them, such as the
                grid of a picture's places; in a batch without the stream, ``Fused.details`` lacks it.

        Returns:
            The head.

        Raises:
            ConfigError: If no stream offers what the head needs.
        """

    @abstractmethod
    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Read the true answers, in the form of ``StructuredPrediction.value``.

        Args:
            cells: Cells of rows in which the truth is known.
            context: The other columns of the same rows.

        Returns:
            One a row.
        """

    def postprocess(self, predictions: Sequence[StructuredPrediction], context: RowContext) -> StructuredPredictions:  # noqa: ARG002
        """Bring a head's answers into the units of the column.

        Args:
            predictions: What the head says.
            context: The other columns of the same rows.

        Returns:
            ``[N]``.
        """
        return to_structured_predictions(predictions)

    @property
    def evaluated_without(self) -> frozenset[str]:
        """Streams that are hidden when a target that is not judged by stream is judged."""
        return frozenset()

    @abstractmethod
    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Prepare the metrics of some rows.

        Args:
            truth: References ``[N]``.
            predictions: Values of the answers ``[N]``.

        Returns:
            From row weights ``[R, N]`` to metrics ``[R]``, all of them named in ``METRICS``; ``measure_rows`` makes
            it from the functions that ``METRICS`` has for the kind.
        """

    @abstractmethod
    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Grade each answer, for the gallery.

        Args:
            truth: References ``[N]``.
            predictions: Values of the answers ``[N]``.

        Returns:
            0 (all wrong) to 1 (all right), ``[N]``.
        """

    def per_label(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Score each label by itself, where answers have labels.

        Args:
            truth: References ``[N]``.
            predictions: Values of the answers ``[N]``.

        Returns:
            One entry a label: ``label``, ``support``, and metrics, the most telling one last.
        """
        return []

    def report_sections(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> dict[str, Any]:
        """Return what else the report says of the answers.

        Args:
            truth: References ``[N]``.
            predictions: Values of the answers ``[N]``.

        Returns:
            Section of the evaluation to plain JSON.
        """
        per_label = self.per_label(truth, predictions)
        return {"per_label": per_label} if per_label else {}

    def prior_predictions(self, predictions: StructuredPredictions) -> StructuredPredictions:
        """Return what an answer without any input would be, for the baseline.

        Args:
            predictions: The answers ``[N]``.

        Returns:
            ``[N]``.
        """
        return to_structured_predictions([self.prior] * len(predictions))

    @property
    @abstractmethod
    def prior(self) -> StructuredPrediction:
        """What is answered where nothing is known."""

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


def values_of(answers: StructuredPredictions) -> list[Cell]:
    """Return the answers' values.

    Args:
        answers: ``[N]``.

    Returns:
        Plain values.
    """
    return [answer.value for answer in answers]
