"""The objective embedding: contrastive learning of a joint space of all streams.

Shape legend: B rows of the batch, S streams, D width of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polymodal.arrays import Cell
from polymodal.metrics import Measure, measure_rows, score_of
from polymodal.metrics.retrieval import Ranking, RetrievalRows, rank_all
from polymodal.targets.predictions import Outputs, Step
from polymodal.targets.structured import (
    RowContext,
    StructuredPrediction,
    StructuredPredictions,
    StructuredTarget,
    TargetSettings,
    to_structured_predictions,
)

if TYPE_CHECKING:
    from torch import nn

    from polymodal.targets.structured_head import StructuredHead

Vectors = dict[str, NDArray[np.float32]]
"""Stream to unit vector ``[D]``, without the absent streams."""

MAX_EVALUATED_ROWS = 2000
"""Maximum number of rows among which retrieval is evaluated."""


class EmbeddingSettings(TargetSettings):
    """Options of the joint space.

    Attributes:
        dim: Width of the space.
        relevance: Column whose equal values count as a match in the evaluation of retrieval.
    """

    dim: int = Field(default=128, ge=2)
    relevance: str = ""


@dataclass(frozen=True, kw_only=True)
class EmbeddingTarget(StructuredTarget):
    """A joint space in which the streams of a row are close.

    Attributes:
        dim: Width of the space.
        columns: Stream to its columns.
        relevance: Column whose equal values count as a match in the evaluation; "": only the row itself is one.
    """

    dim: int
    columns: dict[str, list[str]]
    relevance: str = ""

    kind: ClassVar[str] = "embedding"
    primary_metric: ClassVar[str] = "map"
    by_stream: ClassVar[bool] = False
    Settings: ClassVar[type[TargetSettings]] = EmbeddingSettings

    @classmethod
    def fit(cls, cells: Sequence[Cell], context: RowContext, settings: Any) -> Self:  # noqa: ARG003
        """Store the options; nothing is fitted.

        Args:
            cells: Not used: there is no column.
            context: Its streams.
            settings: Width of the space and relevance column.

        Returns:
            The target.
        """
        columns = {stream.name: list(stream.columns) for stream in context.streams}
        return cls(dim=settings.dim, columns=columns, relevance=settings.relevance)

    def encode(self, cells: Sequence[Cell], context: RowContext) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Encode which rows have equal cells of a stream.

        Args:
            cells: Not used: there is no column.
            context: The streams' cells and arrays.

        Returns:
            int64 ``[N, S]``, equal codes where a stream's cells are equal, and a mask, bool ``[N]``, True where two
            streams are present. Files are equal if their paths are; arrays and other objects are equal to no other.
        """
        found = [[context.cells.get(name, [None] * len(cells)) for name in names] for names in self.columns.values()]
        codes = [_codes(list(zip(*columns, strict=True))) for columns in found]
        return np.array(codes, dtype=np.int64).reshape(len(codes), len(cells)).T, _pairs(context, len(cells))

    def build_head(self, width: int, encoders: Mapping[str, nn.Module]) -> StructuredHead:
        """Build the projections.

        Args:
            width: W.
            encoders: Stream to its encoder.

        Returns:
            The head.
        """
        from polymodal.targets.embedding_head import EmbeddingHead

        return EmbeddingHead(self.read_outputs, tuple(encoders), width, self.dim)

    def read_outputs(self, outputs: Outputs, step: Step | None = None) -> list[StructuredPrediction]:  # noqa: ARG002
        """Return every row's vectors.

        Args:
            outputs: Unit ``vectors`` ``[B, S, D]`` and ``present``, bool ``[B, S]``.
            step: Not used.

        Returns:
            B predictions whose values are ``Vectors``.
        """
        vectors, present, streams = outputs["vectors"], outputs["present"], list(enumerate(self.columns))
        return [
            StructuredPrediction({name: vectors[row, index] for index, name in streams if present[row, index]})
            for row in range(len(vectors))
        ]

    def references(self, cells: Sequence[Cell], context: RowContext) -> list[Cell]:
        """Return the relevance label of each row; without a relevance column each row has its own.

        Args:
            cells: One a row.
            context: Holds the relevance column, where there is one.

        Returns:
            A label a row.
        """
        labels = context.cells.get(self.relevance) if self.relevance else None
        if labels is None:
            return list(range(len(cells)))
        return [f"row {place}" if label is None else str(label) for place, label in enumerate(labels)]

    def measure(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> Measure:
        """Rank the rows for recall, median rank and mean average precision, averaged over all directions.

        Args:
            truth: A label a row.
            predictions: Vectors a row.

        Returns:
            A function of row weights ``[R, N]``.
        """
        return measure_rows(self.kind, RetrievalRows(_rankings(truth, predictions)))

    def report_sections(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> dict[str, Any]:
        """Compute the metrics of each direction.

        Args:
            truth: A label a row.
            predictions: Vectors a row.

        Returns:
            ``pairs``: direction to metrics.
        """
        rankings = _rankings(truth, predictions)
        alone = {name: measure_rows(self.kind, RetrievalRows({name: ranking})) for name, ranking in rankings.items()}
        return {"pairs": {name: score_of(measure, len(truth)) for name, measure in alone.items()}}

    def row_scores(self, truth: Sequence[Cell], predictions: Sequence[Cell]) -> NDArray[np.float64]:
        """Score each row by the mean average precision of its queries.

        Args:
            truth: A label a row.
            predictions: Vectors a row.

        Returns:
            ``[N]``; 0 for rows without a query.
        """
        sums, counts = np.zeros(len(truth)), np.zeros(len(truth))
        for ranking in _rankings(truth, predictions).values():
            sums[ranking.rows] += ranking.precision
            counts[ranking.rows] += 1
        return sums / np.maximum(counts, 1)

    def prior_predictions(self, predictions: StructuredPredictions) -> StructuredPredictions:
        """Return equal vectors, so that the ranking is random.

        Args:
            predictions: The model's predictions ``[N]``.

        Returns:
            ``[N]``.
        """
        return to_structured_predictions(
            [StructuredPrediction({name: np.ones_like(v) for name, v in one.value.items()}) for one in predictions]
        )

    @property
    def prior(self) -> StructuredPrediction:
        """No vectors."""
        return StructuredPrediction({})


def _codes(cells: Sequence[tuple[Cell, ...]]) -> list[int]:
    codes: dict[Any, int] = {}
    return [codes.setdefault(cell if _is_value(cell) else row, row) for row, cell in enumerate(cells)]


def _is_value(cell: tuple[Cell, ...]) -> bool:
    return all(isinstance(part, str | bytes | int | float | None) for part in cell)


def _pairs(context: RowContext, num_rows: int) -> NDArray[np.bool_]:
    present = list(context.row_present().values())
    return np.sum(present, axis=0) >= 2 if present else np.zeros(num_rows, dtype=np.bool_)


def _rankings(truth: Sequence[Cell], predictions: Sequence[Cell]) -> dict[str, Ranking]:
    rows = np.arange(len(truth))
    if len(rows) > MAX_EVALUATED_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(rows), MAX_EVALUATED_ROWS, replace=False))
    kept = set(rows.tolist())
    codes: dict[Cell, int] = {}
    labels = np.array([codes.setdefault(label, len(codes)) for label in truth], dtype=np.int64).reshape(-1)
    return rank_all([predictions[row] if row in kept else {} for row in range(len(truth))], labels)
