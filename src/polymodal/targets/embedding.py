"""The objective embedding: contrastive learning of a joint space of all streams (torch).

Shape legend: B rows of the batch, S streams, D width of the space.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from polymodal.arrays import Cell
from polymodal.metrics import Measure, measure_rows, score_of
from polymodal.metrics.retrieval import Ranking, RetrievalRows, rank_all
from polymodal.nn.attention import feed_forward
from polymodal.targets.structured import (
    RowContext,
    StructuredHead,
    StructuredPrediction,
    StructuredPredictions,
    StructuredTarget,
    TargetSettings,
    to_structured_predictions,
)
from polymodal.tokens import Fused, Tokens

Vectors = dict[str, NDArray[np.float32]]
"""Stream to unit vector ``[D]``, without the absent streams."""

MAX_EVALUATED_ROWS = 2000
"""Maximum number of rows among which retrieval is evaluated."""
INITIAL_SCALE = 10.0
INITIAL_BIAS = -5.0


class EmbeddingSettings(TargetSettings):
    """Options of the joint space.

    Attributes:
        dim: Width of the space.
        relevance: Column whose equal values count as a match in the evaluation of retrieval.
    """

    dim: int = Field(default=128, ge=2)
    relevance: str = ""


class EmbeddingHead(StructuredHead):
    """A projection of each stream into one space, trained by the pairwise sigmoid loss.

    The loss is that of SigLIP: Zhai et al. 2023, arXiv 2303.15343, equation 1, over every pair of streams; it
    needs no large batch. Differs from the source: pairs with an absent stream are masked, and two rows are a positive
    pair also where their cells of either stream are equal.
    """

    def __init__(self, streams: Sequence[str], width: int, dim: int) -> None:
        """Build the projections.

        Args:
            streams: Names of the streams.
            width: W.
            dim: D.
        """
        super().__init__()
        self.streams = tuple(streams)
        self.projections = nn.ModuleList(feed_forward(width, 2 * dim, dim) for _ in self.streams)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def project(self, streams: Mapping[str, Tokens]) -> tuple[Tensor, Tensor]:
        """Project every stream into the joint space.

        Args:
            streams: Stream to tokens.

        Returns:
            Unit vectors ``[B, S, D]``, and a mask, bool ``[B, S]``, True where the stream is present.
        """
        found = [
            functional.normalize(project(streams[name].pooled()), dim=1)
            for name, project in zip(self.streams, self.projections, strict=True)
        ]
        return torch.stack(found, dim=1), torch.stack([streams[name].row_present for name in self.streams], dim=1)

    def loss(self, fused: Fused, truth: Tensor, smoothing: float) -> Tensor:  # noqa: ARG002
        """Classify pairs of streams as of the same row or of different rows.

        Args:
            fused: The tokens of its streams before fusion are used.
            truth: int64 ``[B, S]``: equal cells of a stream have equal codes.
            smoothing: Not used.

        Returns:
            Loss ``[B]``.
        """
        vectors_BSD, present_BS = self.project(fused.streams)
        losses, counts = vectors_BSD.new_zeros(len(vectors_BSD)), vectors_BSD.new_zeros(len(vectors_BSD))
        for a, b in itertools.combinations(range(len(self.streams)), 2):
            both_B = present_BS[:, a] & present_BS[:, b]
            same_BB = _equal(truth[:, a]) | _equal(truth[:, b])
            pair_B = self._pair_loss(vectors_BSD[:, a], vectors_BSD[:, b], both_B, same_BB)
            losses, counts = losses + torch.where(both_B, pair_B, 0.0), counts + both_B
        return losses / counts.clamp(min=1)

    def _pair_loss(self, first_BD: Tensor, second_BD: Tensor, both_B: Tensor, same_BB: Tensor) -> Tensor:
        logits_BB = first_BD @ second_BD.T * self.log_scale.exp() + self.bias
        losses_BB = -functional.logsigmoid(torch.where(same_BB, logits_BB, -logits_BB))
        losses_BB = torch.where(both_B[:, None] & both_B[None, :], losses_BB, 0.0)
        return (losses_BB.sum(dim=1) + losses_BB.sum(dim=0)) / 2

    def predict(self, fused: Fused) -> list[StructuredPrediction]:
        """Return every row's vectors.

        Args:
            fused: The tokens of its streams before fusion are used.

        Returns:
            B predictions whose values are ``Vectors``.
        """
        vectors_BSD, present_BS = self.project(fused.streams)
        vectors, present = vectors_BSD.float().cpu().numpy(), present_BS.cpu().numpy()
        return [
            StructuredPrediction(
                {name: vectors[row, index] for index, name in enumerate(self.streams) if present[row, index]}
            )
            for row in range(len(vectors))
        ]


def _equal(codes_B: Tensor) -> Tensor:
    return codes_B[:, None] == codes_B[None, :]


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
        return EmbeddingHead(tuple(encoders), width, self.dim)

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
